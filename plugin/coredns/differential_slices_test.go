package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// diffController is the value of managed-by in the slices of this file.
const diffController = "endpointslice-controller.k8s.io"

// diffControlled returns the EndpointSlices that the EndpointSlice controller would write
// for a service: separate ones for each family and each set of port numbers. The code
// follows k8s.io/endpointslice and, on purpose, not headless. Only the number of slices
// is random, as the controller moves endpoints between slices, too.
func diffControlled(r *rand.Rand, svc *corev1.Service, pods []*corev1.Pod, nodes []*corev1.Node) []*discoveryv1.EndpointSlice {
	if len(svc.Spec.Selector) == 0 || svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	var out []*discoveryv1.EndpointSlice
	for _, family := range diffAddressTypes(svc) {
		groups := make(map[string]*discoveryv1.EndpointSlice)
		var ids []string // sorted by first use, as a map's order is random
		for _, pod := range pods {
			// ShouldPodBeInEndpoints, with terminating pods.
			if !selector.Matches(labels.Set(pod.Labels)) || len(pod.Status.PodIPs) == 0 ||
				pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
				continue
			}
			endpoint := diffEndpoint(svc, pod, nodes, family)
			if len(endpoint.Addresses) == 0 {
				continue
			}
			ports := diffEndpointPorts(svc, pod)
			id := diffPortMap(ports)
			if groups[id] == nil {
				groups[id] = &discoveryv1.EndpointSlice{Ports: ports}
				ids = append(ids, id)
			}
			groups[id].Endpoints = append(groups[id].Endpoints, endpoint)
		}
		if len(ids) == 0 { // the controller's placeholder
			ids = append(ids, "")
			groups[""] = new(discoveryv1.EndpointSlice)
		}
		for _, id := range ids {
			for _, part := range diffSplit(r, groups[id].Endpoints) {
				out = append(out, diffSlice(svc, family, len(out), groups[id].Ports, part))
			}
		}
	}
	return out
}

func diffSlice(svc *corev1.Service, family discoveryv1.AddressType, n int, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace,
			// The name has the family, as that of a slice is immutable.
			Name: fmt.Sprintf("%.50s-%s-%d", svc.Name, map[discoveryv1.AddressType]string{
				discoveryv1.AddressTypeIPv4: "v4", discoveryv1.AddressTypeIPv6: "v6"}[family], n),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: svc.Name,
				discoveryv1.LabelManagedBy:   diffController,
			},
		},
		AddressType: family,
		Ports:       ports,
		Endpoints:   endpoints,
	}
}

// diffAddressTypes corresponds to getAddressTypesForService.
func diffAddressTypes(svc *corev1.Service) []discoveryv1.AddressType {
	var out []discoveryv1.AddressType
	for _, f := range svc.Spec.IPFamilies {
		out = append(out, discoveryv1.AddressType(f))
	}
	if len(out) == 0 {
		out = append(out, discoveryv1.AddressTypeIPv4)
		if svc.Spec.ClusterIP == corev1.ClusterIPNone {
			out = append(out, discoveryv1.AddressTypeIPv6)
		}
	}
	return out
}

// diffEndpoint corresponds to podToEndpoint.
func diffEndpoint(svc *corev1.Service, pod *corev1.Pod, nodes []*corev1.Node, family discoveryv1.AddressType) discoveryv1.Endpoint {
	serving := false
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			serving = c.Status == corev1.ConditionTrue
		}
	}
	terminating := pod.DeletionTimestamp != nil
	e := discoveryv1.Endpoint{
		Conditions: discoveryv1.EndpointConditions{
			Ready:       ptr.To(svc.Spec.PublishNotReadyAddresses || serving && !terminating),
			Serving:     ptr.To(serving),
			Terminating: ptr.To(terminating),
		},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name},
	}
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == svc.Name {
		e.Hostname = ptr.To(pod.Spec.Hostname)
	}
	for _, node := range nodes {
		if zone := node.Labels[corev1.LabelTopologyZone]; node.Name == pod.Spec.NodeName && zone != "" {
			e.Zone = &zone
		}
	}
	for _, ip := range pod.Status.PodIPs {
		if netip.MustParseAddr(ip.IP).Is4() == (family == discoveryv1.AddressTypeIPv4) {
			e.Addresses = append(e.Addresses, ip.IP)
		}
	}
	return e
}

// diffEndpointPorts corresponds to getEndpointPorts.
func diffEndpointPorts(svc *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	var out []discoveryv1.EndpointPort
	for _, p := range svc.Spec.Ports {
		if n := diffFindPort(pod, p); n != 0 {
			out = append(out, discoveryv1.EndpointPort{Name: ptr.To(p.Name), Port: ptr.To(n), Protocol: ptr.To(p.Protocol)})
		}
	}
	return out
}

// diffFindPort corresponds to FindPort; zero means no port.
func diffFindPort(pod *corev1.Pod, p corev1.ServicePort) int32 {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntVal
	}
	containers := append([]corev1.Container(nil), pod.Spec.Containers...)
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	for _, c := range containers {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal && port.Protocol == p.Protocol {
				return port.ContainerPort
			}
		}
	}
	return 0
}

func diffPortMap(ports []discoveryv1.EndpointPort) string {
	id := ""
	for _, p := range ports {
		id += fmt.Sprintf("%s/%s/%d ", *p.Name, *p.Protocol, *p.Port)
	}
	return id
}

// diffSplit distributes endpoints over one to three slices.
func diffSplit(r *rand.Rand, endpoints []discoveryv1.Endpoint) [][]discoveryv1.Endpoint {
	if len(endpoints) < 2 || r.IntN(3) > 0 {
		return [][]discoveryv1.Endpoint{endpoints}
	}
	out := make([][]discoveryv1.Endpoint, 2+r.IntN(2))
	for _, e := range endpoints {
		i := r.IntN(len(out))
		out[i] = append(out[i], e)
	}
	return out
}
