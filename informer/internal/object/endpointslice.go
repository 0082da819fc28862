package object

import (
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/records"
)

// SliceController manages the slices that are made from pods. Where pods are watched, these
// slices are redundant: the pods have the same data, and sooner.
const SliceController = "endpointslice-controller.k8s.io"

// EndpointSlice is a slim EndpointSlice: the fields that DNS uses.
type EndpointSlice struct {
	Key
	Service    string // the name of the Service or, if the slice is imported, of the ServiceImport
	Controlled bool   // SliceController manages it; never set for an imported slice
	Imported   bool   // it belongs to a ServiceImport
	Cluster    string // the ID of the cluster that it is imported from, or "" if that is invalid
	Endpoints  []Endpoint
	Ports      *records.PortList
}

// Equal reports whether DNS could not tell two objects apart.
func (s *EndpointSlice) Equal(t *EndpointSlice) bool {
	return s == t || s.Key == t.Key && s.sameOwner(t) &&
		s.Ports.Equal(t.Ports) && slices.Equal(s.Endpoints, t.Endpoints)
}

// setOwner sets whose endpoints the slice has, by its labels.
//
// A slice with the label of a multi-cluster service belongs to that alone, and never to an
// ordinary Service: implementations also label it with the name of a Service of their own that
// has no selector. Cilium calls that Service derived-HASH. A slice with the label of the source
// cluster alone belongs to the Service, as those of Cilium's global headless services do.
func (s *EndpointSlice) setOwner(label func(key string) (string, bool)) {
	name, imported := label(mcsv1beta1.LabelServiceName)
	if imported {
		cluster, _ := label(mcsv1beta1.LabelSourceCluster)
		s.Imported, s.Service, s.Cluster = true, intern(name), clusterOf(cluster)
		return
	}
	name, _ = label(discoveryv1.LabelServiceName)
	manager, _ := label(discoveryv1.LabelManagedBy)
	s.Service, s.Controlled = intern(name), manager == SliceController
}

// sameOwner reports whether the endpoints of two slices count for the same names.
func (s *EndpointSlice) sameOwner(t *EndpointSlice) bool {
	return s.Service == t.Service && s.Controlled == t.Controlled && s.Imported == t.Imported && s.Cluster == t.Cluster
}

// Endpoint is one address in an EndpointSlice.
type Endpoint struct {
	Addr        netip.Addr
	Name        string // the hostname in lower case, or the name of the pod, or empty
	zone        unique.Handle[string]
	Hostname    bool // the name is a hostname
	Ready       bool
	Terminating bool
}

// Without returns the endpoints of s except those that it shares with the other slice at
// its beginning or end; other may be nil. a.Without(b) and b.Without(a) leave out the same
// endpoints. The controller writes a slice as a whole when one endpoint changes, and keeps
// the order, so few remain.
func (s *EndpointSlice) Without(other *EndpointSlice) []Endpoint {
	if other == nil || !s.sameOwner(other) || !s.Ports.Equal(other.Ports) {
		return s.Endpoints
	}
	a, b := s.Endpoints, other.Endpoints
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a
}

// NewEndpointSlice returns a slim EndpointSlice.
func NewEndpointSlice(s *discoveryv1.EndpointSlice) *EndpointSlice { return newEndpointSlice(s, true) }

func newEndpointSlice(s *discoveryv1.EndpointSlice, zonal bool) *EndpointSlice {
	out := &EndpointSlice{
		Key: Key{intern(s.Namespace), strings.Clone(s.Name)},
	}
	out.setOwner(func(key string) (string, bool) {
		value, ok := s.Labels[key]
		return value, ok
	})
	var ports []records.Port
	for _, p := range s.Ports {
		ports = appendPort(ports, p)
	}
	out.Ports = records.NewPortList(ports)
	for _, e := range s.Endpoints {
		ep := Endpoint{
			Ready:       e.Conditions.Ready == nil || *e.Conditions.Ready,
			Terminating: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
		}
		var hostname, pod string
		if e.Hostname != nil {
			hostname = *e.Hostname
		}
		if e.TargetRef != nil {
			pod = e.TargetRef.Name
		}
		if zonal && e.Zone != nil {
			ep.zone = zoneOf(*e.Zone)
		}
		first := len(out.Endpoints)
		for _, address := range e.Addresses {
			out.addAddress(address)
		}
		out.complete(first, ep, hostname, pod)
	}
	return out
}

func appendPort(ports []records.Port, p discoveryv1.EndpointPort) []records.Port {
	if p.Port == nil { // it stands for every port, for which DNS has no record
		return ports
	}
	out := records.Port{Number: uint16(*p.Port), Protocol: protocolName("")}
	if p.Name != nil {
		out.Name = intern(strings.ToLower(*p.Name))
	}
	if p.Protocol != nil {
		out.Protocol = protocolName(string(*p.Protocol))
	}
	return append(ports, out)
}

// addAddress adds an endpoint that has only its address so far. It ignores names, which the
// deprecated address type FQDN has.
func (s *EndpointSlice) addAddress(address string) {
	if a, ok := ParseAddr(address); ok {
		s.Endpoints = append(s.Endpoints, Endpoint{Addr: a})
	}
}

// complete fills in the other fields of the endpoints from index first on. The hostname and
// the name of the pod may be borrowed.
func (s *EndpointSlice) complete(first int, e Endpoint, hostname, pod string) {
	if first == len(s.Endpoints) {
		return
	}
	if e.Hostname = hostname != ""; e.Hostname {
		e.Name = lower(hostname)
	} else {
		e.Name = strings.Clone(pod)
	}
	for i := first; i < len(s.Endpoints); i++ {
		e.Addr = s.Endpoints[i].Addr
		s.Endpoints[i] = e
	}
}

// decodeEndpointSlice decodes an EndpointSlice from protobuf. The field numbers are those
// of k8s.io/api/discovery/v1/generated.proto.
func decodeEndpointSlice(b []byte, zonal bool) (*EndpointSlice, metadata, error) {
	var meta metadata
	s := new(EndpointSlice)
	var ports []records.Port
	m := newMessage("EndpointSlice", b)
	for m.next() {
		switch m.number {
		case 1:
			meta.decode(&m)
		case 2:
			s.decodeEndpoint(&m, zonal)
		case 3:
			ports = appendPort(ports, decodePort(&m))
		}
	}
	if m.err != nil {
		return nil, metadata{}, m.err
	}
	s.Key = Key{intern(meta.namespace), strings.Clone(meta.name)}
	s.Ports = records.NewPortList(ports)
	s.setOwner(meta.label)
	return s, meta, nil
}

func (s *EndpointSlice) decodeEndpoint(outer *message, zonal bool) {
	first := len(s.Endpoints)
	var hostname, pod string
	e := Endpoint{Ready: true}
	m := newMessage("endpoint", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			s.addAddress(m.string())
		case 2:
			e.decodeConditions(&m)
		case 3:
			hostname = m.string()
		case 4:
			decodeTargetRef(&m, &pod)
		case 7:
			if zone := m.string(); zonal {
				e.zone = zoneOf(zone)
			}
		}
	}
	outer.finish(&m)
	s.complete(first, e, hostname, pod)
}

func (e *Endpoint) decodeConditions(outer *message) {
	m := newMessage("conditions", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			e.Ready = m.bool()
		case 3:
			e.Terminating = m.bool()
		}
	}
	outer.finish(&m)
}

func decodeTargetRef(outer *message, pod *string) {
	m := newMessage("target reference", outer.embedded())
	for m.next() {
		if m.number == 3 {
			*pod = m.string()
		}
	}
	outer.finish(&m)
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
	outer.finish(&m)
	return p
}
