package informer

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/headless-dns/headless/records"
)

// sliceController is who manages the slices that are made from pods. Where pods
// are watched, those do not count: the pods tell the same, and sooner. See leftovers for
// the exception.
const sliceController = "endpointslice-controller.k8s.io"

// endpointSlice is what is kept of an EndpointSlice.
type endpointSlice struct {
	key
	service    string
	controlled bool // the EndpointSlice controller manages it
	endpoints  []endpoint
	ports      *records.PortList
}

func (s *endpointSlice) equal(t *endpointSlice) bool {
	return s == t || s.key == t.key && s.service == t.service && s.controlled == t.controlled &&
		s.ports.Equal(t.ports) && slices.Equal(s.endpoints, t.endpoints)
}

// endpoint is an address of an EndpointSlice.
type endpoint struct {
	addr        netip.Addr
	hostname    string
	pod         string // if it has no hostname
	ready       bool
	terminating bool
}

// without returns the endpoints of s but those that the other slice has, too, at
// its beginning or end; other may be nil. What a.without(b) and b.without(a) leave
// out is the same. The controller writes a slice as a whole for each change of one
// endpoint, and keeps their order.
func (s *endpointSlice) without(other *endpointSlice) []endpoint {
	if other == nil || s.service != other.service || s.controlled != other.controlled || !s.ports.Equal(other.ports) {
		return s.endpoints
	}
	a, b := s.endpoints, other.endpoints
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a
}

// newEndpointSlice returns what is kept of an EndpointSlice.
func newEndpointSlice(s *discoveryv1.EndpointSlice) *endpointSlice {
	out := &endpointSlice{
		key:     key{intern(s.Namespace), strings.Clone(s.Name)},
		service: intern(s.Labels[discoveryv1.LabelServiceName]),

		controlled: s.Labels[discoveryv1.LabelManagedBy] == sliceController,
	}
	var ports []records.Port
	for _, p := range s.Ports {
		ports = appendPort(ports, p)
	}
	out.ports = records.NewPortList(ports)
	for _, e := range s.Endpoints {
		ep := endpoint{
			ready:       e.Conditions.Ready == nil || *e.Conditions.Ready,
			terminating: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
		}
		if e.Hostname != nil {
			ep.hostname = *e.Hostname
		}
		if e.TargetRef != nil {
			ep.pod = e.TargetRef.Name
		}
		first := len(out.endpoints)
		for _, address := range e.Addresses {
			out.addAddress(address)
		}
		out.describe(first, ep)
	}
	return out
}

func appendPort(ports []records.Port, p discoveryv1.EndpointPort) []records.Port {
	if p.Port == nil { // any port: there is no record for it
		return ports
	}
	out := records.Port{Number: uint16(*p.Port), Protocol: protocol("")}
	if p.Name != nil {
		out.Name = intern(strings.ToLower(*p.Name))
	}
	if p.Protocol != nil {
		out.Protocol = protocol(string(*p.Protocol))
	}
	return append(ports, out)
}

// addAddress adds an endpoint of which the rest is not yet known. Names, of the
// deprecated address type FQDN, are no addresses.
func (s *endpointSlice) addAddress(address string) {
	if a, ok := parseAddr(address); ok {
		s.endpoints = append(s.endpoints, endpoint{addr: a})
	}
}

// describe fills in the rest of the endpoints from the first on. The strings of
// e may be borrowed.
func (s *endpointSlice) describe(first int, e endpoint) {
	if first == len(s.endpoints) {
		return
	}
	if e.hostname != "" {
		e.hostname, e.pod = lower(e.hostname), ""
	}
	e.pod = strings.Clone(e.pod)
	for i := first; i < len(s.endpoints); i++ {
		e.addr = s.endpoints[i].addr
		s.endpoints[i] = e
	}
}

// decodeEndpointSlice reads an EndpointSlice from protobuf. The field numbers are
// those of k8s.io/api/discovery/v1/generated.proto.
func decodeEndpointSlice(b []byte) (*endpointSlice, metadata, error) {
	var meta metadata
	s := new(endpointSlice)
	var ports []records.Port
	m := newMessage("EndpointSlice", b)
	for m.next() {
		switch m.number {
		case 1:
			meta.decode(&m)
		case 2:
			s.decodeEndpoint(&m)
		case 3:
			ports = appendPort(ports, decodePort(&m))
		}
	}
	if m.err != nil {
		return nil, metadata{}, m.err
	}
	s.key = key{intern(meta.namespace), strings.Clone(meta.name)}
	s.ports = records.NewPortList(ports)
	s.service = intern(meta.label(discoveryv1.LabelServiceName))
	s.controlled = meta.label(discoveryv1.LabelManagedBy) == sliceController
	return s, meta, nil
}

func (s *endpointSlice) decodeEndpoint(outer *message) {
	first := len(s.endpoints)
	e := endpoint{ready: true}
	m := newMessage("endpoint", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			s.addAddress(m.string())
		case 2:
			e.decodeConditions(&m)
		case 3:
			e.hostname = m.string()
		case 4:
			e.decodeTargetRef(&m)
		}
	}
	outer.ended(&m)
	s.describe(first, e)
}

func (e *endpoint) decodeConditions(outer *message) {
	m := newMessage("conditions", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			e.ready = m.bool()
		case 3:
			e.terminating = m.bool()
		}
	}
	outer.ended(&m)
}

func (e *endpoint) decodeTargetRef(outer *message) {
	m := newMessage("target reference", outer.embedded())
	for m.next() {
		if m.number == 3 {
			e.pod = m.string()
		}
	}
	outer.ended(&m)
}

func decodePort(outer *message) discoveryv1.EndpointPort {
	var p discoveryv1.EndpointPort
	m := newMessage("endpoint port", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			name := m.string()
			p.Name = &name
		case 2:
			protocol := corev1.Protocol(m.string())
			p.Protocol = &protocol
		case 3:
			port := m.number32()
			p.Port = &port
		}
	}
	outer.ended(&m)
	return p
}
