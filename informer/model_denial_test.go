package informer

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// denial returns why a host below a headless service is missing, from the full objects. Of several
// reasons it returns the first of the order in which package records lists them.
func (m *model) denial(k object.Key, host string) string {
	service := m.objects[object.Services][k].(*corev1.Service)
	var reasons []records.Reason
	var subdomains []string
	for _, pod := range m.selected(service) {
		if !isNamed(service, pod) && pod.Spec.Hostname == host && host != "" && (!m.podNames || pod.Name != host) {
			subdomains = append(subdomains, pod.Spec.Subdomain)
		}
		publishes := service.Spec.PublishNotReadyAddresses
		terminates := pod.DeletionTimestamp != nil && !publishes
		addrs := podAddrs(service, pod)
		for _, a := range addrs {
			switch {
			case m.label(service, pod, a) != host:
			case terminates:
				reasons = append(reasons, records.Terminating)
			case !isReady(pod) && !publishes:
				reasons = append(reasons, records.NotReady)
			}
		}
		switch {
		case len(addrs) > 0 || m.label(service, pod, netip.Addr{}) != host:
		case terminates:
			reasons = append(reasons, records.Terminating)
		case len(pod.Status.PodIPs) == 0:
			reasons = append(reasons, records.NoAddress)
		default:
			reasons = append(reasons, records.WrongFamily)
		}
	}
	for key, o := range m.objects[object.EndpointSlices] {
		slice := o.(*discoveryv1.EndpointSlice)
		controlled := slice.Labels[discoveryv1.LabelManagedBy] == "endpointslice-controller.k8s.io" && len(service.Spec.Selector) > 0
		if key.Namespace != k.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name || controlled || service.Spec.PublishNotReadyAddresses {
			continue
		}
		for _, e := range slice.Endpoints {
			switch {
			case *e.Hostname != host || e.Conditions.Ready == nil || *e.Conditions.Ready:
			case e.Conditions.Terminating != nil && *e.Conditions.Terminating:
				reasons = append(reasons, records.Terminating)
			default:
				reasons = append(reasons, records.NotReady)
			}
		}
	}
	switch {
	case len(reasons) > 0:
		return slices.Min(reasons).String()
	case len(subdomains) > 0:
		return fmt.Sprintf("subdomain %q", slices.Min(subdomains))
	}
	return "no host"
}

// denialOf returns why the trie has no records of a host, in the model's form.
func denialOf(trie *records.Trie, name string) string {
	var n records.Name
	n.Fold(name)
	node, _ := trie.Find(&n, testZones.Match(name))
	switch d := node.Denial(&n, testZones.Match(name), dns.TypeA); d.Cause {
	case records.HostWithheld:
		return d.Reason.String()
	case records.HostElsewhere:
		return fmt.Sprintf("subdomain %q", d.Subdomain)
	case records.NoHost:
		return "no host"
	default:
		return fmt.Sprint("cause ", d.Cause)
	}
}
