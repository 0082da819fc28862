package informer

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service is what is kept of a Service.
type service struct {
	key
	headless        bool
	selector        selector
	ports           []servicePort
	v4, v6          bool // the families it has
	publishNotReady bool
}

func (s *service) equal(t *service) bool {
	return s == t || s.key == t.key && s.headless == t.headless && s.v4 == t.v4 && s.v6 == t.v6 &&
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

// targetPort is the name of a container's port, with its protocol.
type targetPort struct{ name, protocol string }

func (t targetPort) compare(u targetPort) int {
	return cmp.Or(strings.Compare(t.name, u.name), strings.Compare(t.protocol, u.protocol))
}

func (p servicePort) targetPort() targetPort { return targetPort{p.target, p.protocol} }

// newService returns what is kept of a service.
func newService(s *corev1.Service) *service {
	out := &service{
		key:             key{intern(s.Namespace), strings.Clone(s.Name)},
		headless:        s.Spec.ClusterIP == corev1.ClusterIPNone && s.Spec.Type != corev1.ServiceTypeExternalName,
		selector:        newSelector(s.Spec.Selector),
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
		sp := servicePort{name: intern(strings.ToLower(p.Name)), protocol: protocol(string(p.Protocol))}
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

// decodeService reads a Service from protobuf. As there are few, it fills the
// fields of Kubernetes' own type that newService looks at.
func decodeService(b []byte) (*service, metadata, error) {
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
	return newService(&s), meta, nil
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
			spec.Selector[l.key] = l.value
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
	outer.ended(&m)
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
	outer.ended(&m)
	return p
}

func decodeIntOrString(outer *message, v *intstr.IntOrString) {
	m := newMessage("target port", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			if m.is(protowire.VarintType) {
				v.Type = intstr.Type(m.varint)
			}
		case 2:
			v.IntVal = m.number32()
		case 3:
			v.StrVal = m.string()
		}
	}
	outer.ended(&m)
}
