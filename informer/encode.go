package informer

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// kindOfObject returns the kind of an object.
func kindOfObject(o object) Kind {
	switch o.(type) {
	case *pod:
		return Pods
	case *service:
		return Services
	case *endpointSlice:
		return EndpointSlices
	}
	return Namespaces
}

// appendProtobuf appends an object in protobuf with the fields that are kept. Decoded, it
// is equal.
func appendProtobuf(b []byte, o object) ([]byte, error) {
	var full interface{ Marshal() ([]byte, error) }
	switch o := o.(type) {
	case *pod:
		return o.marshal(b), nil
	case *service:
		full = o.full()
	case *endpointSlice:
		full = o.full()
	case *namespace:
		full = &corev1.Namespace{ObjectMeta: o.meta()}
	}
	message, err := full.Marshal()
	return append(b, message...), err
}

// What full returns has the fields that the new functions read; they make the same
// slim object of it again.

func (k key) meta() metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: k.namespace, Name: k.name} }

// marshal appends a pod in protobuf. There are too many of them for the object of
// Kubernetes, which writes its empty fields, too.
func (p *pod) marshal(b []byte) []byte {
	t := p.template.Value()
	meta := appendText(appendText(nil, 1, p.name()), 3, t.namespace)
	if p.is(podTerminating) {
		meta = appendBytes(meta, 9, nil)
	}
	for l := range p.labels {
		meta = appendBytes(meta, 11, appendText(appendText(nil, 1, l.key), 2, l.value))
	}
	var ports []byte
	for line := range strings.Lines(t.named().lines) {
		p, number := parsePort(line)
		n, _ := strconv.ParseInt(number, 10, 32)
		port := protowire.AppendTag(appendText(nil, 1, p.name), 3, protowire.VarintType)
		ports = appendBytes(ports, 6, appendText(protowire.AppendVarint(port, uint64(n)), 4, p.protocol))
	}
	spec := appendText(appendText(appendBytes(nil, 2, ports), 16, p.hostname()), 17, t.subdomain)
	var status []byte
	if p.is(podFinished) {
		status = appendText(status, 1, string(corev1.PodSucceeded))
	}
	if p.is(podReady) {
		status = appendBytes(status, 2, appendText(appendText(nil, 1, string(corev1.PodReady)), 2, string(corev1.ConditionTrue)))
	}
	for a := range p.addrs {
		status = appendBytes(status, 12, appendText(nil, 1, a.String()))
	}
	return appendBytes(appendBytes(appendBytes(b, 1, meta), 2, spec), 3, status)
}

func appendText(b []byte, number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendBytes(b []byte, number protowire.Number, field []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), field)
}

func (s *service) full() *corev1.Service {
	out := &corev1.Service{
		ObjectMeta: s.meta(),
		Spec:       corev1.ServiceSpec{PublishNotReadyAddresses: s.publishNotReady},
	}
	if s.headless {
		out.Spec.ClusterIP = corev1.ClusterIPNone
	}
	if s.v4 {
		out.Spec.IPFamilies = append(out.Spec.IPFamilies, corev1.IPv4Protocol)
	}
	if s.v6 {
		out.Spec.IPFamilies = append(out.Spec.IPFamilies, corev1.IPv6Protocol)
	}
	if len(out.Spec.IPFamilies) == 0 { // those it has are not known; none at all would be both
		out.Spec.IPFamilies = []corev1.IPFamily{""}
	}
	if len(s.selector) > 0 {
		out.Spec.Selector = make(map[string]string)
		for _, l := range s.selector {
			out.Spec.Selector[l.key] = l.value
		}
	}
	for _, p := range s.ports {
		port := corev1.ServicePort{Name: p.name, Protocol: corev1.Protocol(p.protocol), Port: int32(p.number)}
		if p.target != "" {
			port.TargetPort = intstr.FromString(p.target)
		}
		out.Spec.Ports = append(out.Spec.Ports, port)
	}
	return out
}

func (s *endpointSlice) full() *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{ObjectMeta: s.meta()}
	out.Labels = map[string]string{discoveryv1.LabelServiceName: s.service}
	if s.controlled {
		out.Labels[discoveryv1.LabelManagedBy] = sliceController
	}
	for _, p := range s.ports.Ports() {
		out.Ports = append(out.Ports, discoveryv1.EndpointPort{
			Name: ptr.To(p.Name), Protocol: ptr.To(corev1.Protocol(p.Protocol)), Port: ptr.To(int32(p.Number)),
		})
	}
	for _, e := range s.endpoints {
		full := discoveryv1.Endpoint{
			Addresses:  []string{e.addr.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(e.ready), Terminating: ptr.To(e.terminating)},
		}
		if e.hostname != "" {
			full.Hostname = ptr.To(e.hostname)
		}
		if e.pod != "" {
			full.TargetRef = &corev1.ObjectReference{Name: e.pod}
		}
		out.Endpoints = append(out.Endpoints, full)
	}
	return out
}
