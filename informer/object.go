package informer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The objects that are kept hold what DNS needs of Kubernetes' own and nothing
// else. They are never written after they were made.

// Kind is a kind of object that is watched.
type Kind uint8

// The kinds.
const (
	Services Kind = iota
	Pods
	EndpointSlices
	Namespaces
	kinds
)

// String is the kind as the name of its resource.
func (k Kind) String() string {
	return [kinds]string{"services", "pods", "endpointslices", "namespaces"}[k]
}

// key names an object; namespace is empty for a namespace itself.
type key struct{ namespace, name string }

func (k key) id() key { return k }

// object is one of the kinds below.
type object interface{ id() key }

// pod is what is kept of a Pod.
type pod struct {
	key
	hostname, subdomain string
	labels              labelSet
	addrs               []netip.Addr
	ports               unique.Handle[string] // see containerPorts
	ready               bool
	terminating         bool
	finished            bool // it runs no more and won't again
}

func (p *pod) equal(q *pod) bool {
	return p.key == q.key && p.hostname == q.hostname && p.subdomain == q.subdomain &&
		p.ready == q.ready && p.terminating == q.terminating && p.finished == q.finished &&
		p.ports == q.ports && slices.Equal(p.labels, q.labels) && slices.Equal(p.addrs, q.addrs)
}

// service is what is kept of a Service.
type service struct {
	key
	headless        bool
	selector        labelSet
	ports           []servicePort
	v4, v6          bool // the families it has
	publishNotReady bool
}

func (s *service) equal(t *service) bool {
	return s.key == t.key && s.headless == t.headless && s.v4 == t.v4 && s.v6 == t.v6 &&
		s.publishNotReady == t.publishNotReady &&
		slices.Equal(s.selector, t.selector) && slices.Equal(s.ports, t.ports)
}

// servicePort is a port of a Service. Its number is the pod's to say where
// target is a name.
type servicePort struct {
	name, protocol string
	target         string
	number         uint16
}

// endpointSlice is what is kept of an EndpointSlice.
type endpointSlice struct {
	key
	service   string
	endpoints []endpoint
	ports     []servicePort // without target
}

func (s *endpointSlice) equal(t *endpointSlice) bool {
	return s.key == t.key && s.service == t.service &&
		slices.Equal(s.ports, t.ports) && slices.Equal(s.endpoints, t.endpoints)
}

// endpoint is an address of an EndpointSlice.
type endpoint struct {
	addr        netip.Addr
	hostname    string
	pod         string
	ready       bool
	terminating bool
}

// namespace is a Namespace. Only its name matters: the watch selects by label.
type namespace struct{ key }

// labelSet is sorted by key.
type labelSet []label

type label struct{ key, value string }

// newLabels returns m sorted. The strings are held once for all objects, but for
// the values that name the object itself, as a StatefulSet labels its pods.
func newLabels(m map[string]string, name string) labelSet {
	if len(m) == 0 {
		return nil
	}
	ls := make(labelSet, 0, len(m))
	for k, v := range m {
		if v == name {
			v = name
		} else {
			v = intern(v)
		}
		ls = append(ls, label{intern(k), v})
	}
	slices.SortFunc(ls, func(a, b label) int { return cmp.Compare(a.key, b.key) })
	return ls
}

// matches tells whether every label of the selector is one of ls. An empty
// selector matches nothing: the service's endpoints are made by hand.
func (selector labelSet) matches(ls labelSet) bool {
	if len(selector) == 0 {
		return false
	}
	for _, want := range selector {
		for len(ls) > 0 && ls[0].key < want.key {
			ls = ls[1:]
		}
		if len(ls) == 0 || ls[0] != want {
			return false
		}
	}
	return true
}

func intern(s string) string { return unique.Make(s).Value() }

func newPod(p *corev1.Pod) *pod {
	name := strings.Clone(p.Name)
	out := &pod{
		key:       key{intern(p.Namespace), name},
		subdomain: intern(strings.ToLower(p.Spec.Subdomain)),
		hostname:  strings.ToLower(p.Spec.Hostname),
		labels:    newLabels(p.Labels, name),
		ports:     containerPorts(&p.Spec),
		ready: slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}),
		terminating: p.DeletionTimestamp != nil,
		finished:    p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	if out.hostname == name {
		out.hostname = name
	}
	ips := p.Status.PodIPs
	if len(ips) == 0 && p.Status.PodIP != "" { // only in manifests
		ips = []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	for _, ip := range ips {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out.addrs = append(out.addrs, a.Unmap().WithZone(""))
		}
	}
	return out
}

// containerPorts writes the named ports of a pod as one string, "name/protocol/
// number" for each, which the pods of one template share.
func containerPorts(spec *corev1.PodSpec) unique.Handle[string] {
	var b strings.Builder
	write := func(ports []corev1.ContainerPort) {
		for _, p := range ports {
			if p.Name != "" {
				fmt.Fprintf(&b, "%s/%s/%d\n", p.Name, protocol(p.Protocol), p.ContainerPort)
			}
		}
	}
	for _, c := range spec.Containers {
		write(c.Ports)
	}
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			write(c.Ports)
		}
	}
	return unique.Make(b.String())
}

// port returns the number of a pod's named port.
func (p *pod) port(name, protocol string) (uint16, bool) {
	for line := range strings.Lines(p.ports.Value()) {
		if rest, ok := strings.CutPrefix(line, name+"/"+protocol+"/"); ok {
			n, err := strconv.ParseUint(rest[:len(rest)-1], 10, 16)
			return uint16(n), err == nil && n > 0
		}
	}
	return 0, false
}

// protocol is a protocol as it stands in names. None is TCP, as the API server
// has it.
func protocol(p corev1.Protocol) string {
	if p == "" {
		p = corev1.ProtocolTCP
	}
	return intern(strings.ToLower(string(p)))
}

func newService(s *corev1.Service) *service {
	out := &service{
		key:             key{intern(s.Namespace), strings.Clone(s.Name)},
		headless:        s.Spec.ClusterIP == corev1.ClusterIPNone && s.Spec.Type != corev1.ServiceTypeExternalName,
		selector:        newLabels(s.Spec.Selector, ""),
		publishNotReady: s.Spec.PublishNotReadyAddresses,
	}
	for _, f := range s.Spec.IPFamilies {
		out.v4 = out.v4 || f == corev1.IPv4Protocol
		out.v6 = out.v6 || f == corev1.IPv6Protocol
	}
	if len(s.Spec.IPFamilies) == 0 { // as the EndpointSlice controller takes it
		out.v4, out.v6 = true, true
	}
	for _, p := range s.Spec.Ports {
		sp := servicePort{name: intern(strings.ToLower(p.Name)), protocol: protocol(p.Protocol)}
		switch {
		case p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "":
			sp.target = intern(p.TargetPort.StrVal)
		case p.TargetPort.IntVal != 0:
			sp.number = uint16(p.TargetPort.IntVal)
		default:
			sp.number = uint16(p.Port)
		}
		out.ports = append(out.ports, sp)
	}
	return out
}

func newEndpointSlice(s *discoveryv1.EndpointSlice) *endpointSlice {
	out := &endpointSlice{
		key:     key{intern(s.Namespace), strings.Clone(s.Name)},
		service: intern(s.Labels[discoveryv1.LabelServiceName]),
	}
	for _, p := range s.Ports {
		if p.Port == nil { // any port: there is no record for it
			continue
		}
		sp := servicePort{number: uint16(*p.Port), protocol: protocol("")}
		if p.Name != nil {
			sp.name = intern(strings.ToLower(*p.Name))
		}
		if p.Protocol != nil {
			sp.protocol = protocol(*p.Protocol)
		}
		out.ports = append(out.ports, sp)
	}
	for _, e := range s.Endpoints {
		ep := endpoint{
			ready:       e.Conditions.Ready == nil || *e.Conditions.Ready,
			terminating: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
		}
		if e.Hostname != nil {
			ep.hostname = strings.ToLower(*e.Hostname)
		}
		if e.TargetRef != nil {
			ep.pod = strings.Clone(e.TargetRef.Name)
		}
		for _, address := range e.Addresses {
			// Names, of the deprecated address type FQDN, are no addresses.
			if a, err := netip.ParseAddr(address); err == nil {
				ep.addr = a.Unmap().WithZone("")
				out.endpoints = append(out.endpoints, ep)
			}
		}
	}
	return out
}

func newNamespace(n *corev1.Namespace) *namespace { return &namespace{key{name: intern(n.Name)}} }

// slim returns what is kept of an object of Kubernetes.
func slim(obj any) (object, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return newPod(o), nil
	case *corev1.Service:
		return newService(o), nil
	case *discoveryv1.EndpointSlice:
		return newEndpointSlice(o), nil
	case *corev1.Namespace:
		return newNamespace(o), nil
	case object: // it is already
		return o, nil
	}
	return nil, fmt.Errorf("keep object: %T is none that is watched", obj)
}
