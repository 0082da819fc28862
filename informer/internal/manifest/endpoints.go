package manifest

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	endpointsResource = "endpoints"
	// mirrorController manages the slices that are made from Endpoints.
	mirrorController = "endpointslicemirroring-controller.k8s.io"
	// leaderAnnotation marks Endpoints that only hold the lock of a leader election.
	leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"
	// maxMirrored is how many addresses of a subset the controller mirrors by default.
	maxMirrored = 1000
)

// mirror returns the slices that the mirroring controller makes from Endpoints, one for
// each subset, if they are selected. The controller makes none for a service with a
// selector; push leaves those out.
//
//nolint:staticcheck // deprecated, but people still write Endpoints by hand.
func (p *parser) mirror(e *corev1.Endpoints) []object.Object {
	if _, elects := e.Annotations[leaderAnnotation]; elects || e.Labels[discoveryv1.LabelSkipMirror] == "true" {
		return nil
	}
	labels := maps.Clone(e.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[discoveryv1.LabelServiceName] = e.Name
	labels[discoveryv1.LabelManagedBy] = mirrorController
	var out []object.Object
	for i, subset := range e.Subsets {
		s := &discoveryv1.EndpointSlice{}
		s.Namespace, s.Labels = e.Namespace, labels
		if !p.selected.Has(object.EndpointSlices, s) {
			return nil
		}
		// No EndpointSlice can have such a name.
		s.Name = fmt.Sprintf("%s/%s/%d", endpointsResource, e.Name, i)
		for k := range subset.Ports {
			port := &subset.Ports[k]
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &port.Name, Protocol: &port.Protocol, Port: &port.Port})
		}
		// An address that is both ready and not ready counts as not ready.
		type id struct{ ip, uid string }
		idOf := func(a *corev1.EndpointAddress) id {
			if a.TargetRef == nil {
				return id{ip: a.IP}
			}
			return id{a.IP, string(a.TargetRef.UID)}
		}
		unready := make(map[id]bool)
		for k := range subset.NotReadyAddresses {
			unready[idOf(&subset.NotReadyAddresses[k])] = true
		}
		add := func(a *corev1.EndpointAddress, ready bool) {
			if len(s.Endpoints) == maxMirrored {
				return
			}
			endpoint := discoveryv1.Endpoint{Addresses: []string{a.IP}, TargetRef: a.TargetRef}
			endpoint.Conditions.Ready = &ready
			if a.Hostname != "" {
				endpoint.Hostname = &a.Hostname
			}
			s.Endpoints = append(s.Endpoints, endpoint)
		}
		for k := range subset.Addresses {
			if a := &subset.Addresses[k]; !unready[idOf(a)] {
				add(a, true)
			}
		}
		for k := range subset.NotReadyAddresses {
			add(&subset.NotReadyAddresses[k], false)
		}
		out = append(out, object.NewEndpointSlice(s))
	}
	return out
}
