package object

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Service is a slim Service: the fields that DNS uses.
type Service struct {
	Key
	Headless        bool
	Selector        Selector
	Ports           []ServicePort
	V4, V6          bool // its address families
	PublishNotReady bool
	Hosts           Hosts
	External        bool // it has names in external zones
}

// HostsAnnotation of a Service says which pods give its hosts their addresses.
const HostsAnnotation = "headless-dns.github.io/hosts"

// ExternalAnnotation of a Service gives it names in external zones if its value is "true".
const ExternalAnnotation = "headless-dns.github.io/external"

// externalValue is the one value of ExternalAnnotation that counts.
const externalValue = "true"

// Hosts is the value of HostsAnnotation.
type Hosts uint8

// The values of the annotation.
const (
	HostsUnset     Hosts = iota // there is none
	HostsReady                  // "ready": ready pods
	HostsAddressed              // "addressed": pods with an address, too, until they are ready
	HostsUnknown                // any other
)

func parseHosts(value string) Hosts {
	switch value {
	case "ready":
		return HostsReady
	case "addressed":
		return HostsAddressed
	}
	return HostsUnknown
}

// String returns the value of the annotation, or "unknown" or "".
func (h Hosts) String() string { return [...]string{"", "ready", "addressed", "unknown"}[h] }

// Equal reports whether DNS could not tell two objects apart.
func (s *Service) Equal(t *Service) bool {
	return s == t || s.Key == t.Key && s.Headless == t.Headless && s.V4 == t.V4 && s.V6 == t.V6 &&
		s.PublishNotReady == t.PublishNotReady && s.Hosts == t.Hosts && s.External == t.External &&
		slices.Equal(s.Selector, t.Selector) && slices.Equal(s.Ports, t.Ports)
}

// NewService returns a slim Service.
func NewService(s *corev1.Service) *Service {
	out := &Service{
		Key:             Key{intern(s.Namespace), strings.Clone(s.Name)},
		Headless:        s.Spec.ClusterIP == corev1.ClusterIPNone && s.Spec.Type != corev1.ServiceTypeExternalName,
		Selector:        NewSelector(s.Spec.Selector),
		PublishNotReady: s.Spec.PublishNotReadyAddresses,
		External:        s.Annotations[ExternalAnnotation] == externalValue,
	}
	if value, ok := s.Annotations[HostsAnnotation]; ok {
		out.Hosts = parseHosts(value)
	}
	for _, f := range s.Spec.IPFamilies {
		out.V4 = out.V4 || f == corev1.IPv4Protocol
		out.V6 = out.V6 || f == corev1.IPv6Protocol
	}
	if len(s.Spec.IPFamilies) == 0 { // as the EndpointSlice controller does
		out.V4, out.V6 = true, true
	}
	for _, p := range s.Spec.Ports {
		sp := ServicePort{Name: intern(strings.ToLower(p.Name)), Protocol: protocolName(string(p.Protocol))}
		switch {
		case p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "":
			sp.Target = intern(p.TargetPort.StrVal)
		case p.TargetPort.IntVal != 0:
			sp.Number = uint16(p.TargetPort.IntVal)
		default:
			sp.Number = uint16(p.Port)
		}
		out.Ports = append(out.Ports, sp)
	}
	return out
}

// decodeService decodes a Service from protobuf. Services are few, so it fills a full
// object and calls NewService.
func decodeService(b []byte) (*Service, metadata, error) {
	var meta metadata
	var s corev1.Service
	m := newMessage("service", b)
	for m.next() {
		switch m.number {
		case 1:
			meta.decode(&m)
		case 2:
			decodeServiceSpec(&m, &s.Spec)
		}
	}
	if m.err != nil {
		return nil, metadata{}, m.err
	}
	s.Namespace, s.Name = meta.namespace, meta.name
	out := NewService(&s)
	out.Hosts, out.External = meta.hosts, meta.external
	return out, meta, nil
}

func decodeServiceSpec(outer *message, spec *corev1.ServiceSpec) {
	m := newMessage("spec", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			spec.Ports = append(spec.Ports, decodeServicePort(&m))
		case 2:
			if spec.Selector == nil {
				spec.Selector = make(map[string]string)
			}
			l := m.entry("selector")
			spec.Selector[l.Key] = l.Value
		case 3:
			spec.ClusterIP = m.string()
		case 4:
			spec.Type = corev1.ServiceType(m.string())
		case 13:
			spec.PublishNotReadyAddresses = m.bool()
		case 19:
			spec.IPFamilies = append(spec.IPFamilies, corev1.IPFamily(m.string()))
		}
	}
	outer.finish(&m)
}

func decodeServicePort(outer *message) corev1.ServicePort {
	var p corev1.ServicePort
	m := newMessage("service port", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			p.Name = m.string()
		case 2:
			p.Protocol = corev1.Protocol(m.string())
		case 3:
			p.Port = m.number32()
		case 4:
			decodeIntOrString(&m, &p.TargetPort)
		}
	}
	outer.finish(&m)
	return p
}

func decodeIntOrString(outer *message, v *intstr.IntOrString) {
	m := newMessage("target port", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			if m.expect(protowire.VarintType) {
				v.Type = intstr.Type(m.varint)
			}
		case 2:
			v.IntVal = m.number32()
		case 3:
			v.StrVal = m.string()
		}
	}
	outer.finish(&m)
}
