package object

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"
)

// KindOf returns the kind of an object.
func KindOf(o Object) Kind {
	switch o := o.(type) {
	case *Pod:
		return Pods
	case *Service:
		return Services
	case *EndpointSlice:
		if o.Imported {
			return ImportedSlices
		}
		return EndpointSlices
	case *Node:
		return Nodes
	case *ServiceImport:
		return ServiceImports
	}
	return Namespaces
}

// Append appends an object in protobuf, with only the fields that are kept. Decode returns
// an equal object.
func Append(b []byte, o Object) ([]byte, error) {
	var full interface{ Marshal() ([]byte, error) }
	switch o := o.(type) {
	case *Pod:
		return o.marshal(b), nil
	case *Service:
		full = o.full()
	case *EndpointSlice:
		full = o.full()
	case *Namespace:
		full = &corev1.Namespace{ObjectMeta: o.meta()}
	case *Node:
		meta := o.meta()
		if o.Zone != "" {
			meta.Labels = map[string]string{corev1.LabelTopologyZone: o.Zone}
		}
		full = &metav1.PartialObjectMetadata{ObjectMeta: meta}
	case *ServiceImport:
		meta := o.meta()
		if o.Headless {
			meta.Labels = map[string]string{typeLabel: string(mcsv1beta1.Headless)}
		}
		full = &metav1.PartialObjectMetadata{ObjectMeta: meta}
	}
	message, err := full.Marshal()
	return append(b, message...), err
}

// The full methods return objects with the fields that the New functions read. Those
// return an equal slim object.

func (k Key) meta() metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name} }

// marshal appends a pod in protobuf. Pods are too many for the detour through the full
// object, which also encodes its empty fields.
func (p *Pod) marshal(b []byte) []byte {
	t := p.Template.Value()
	meta := appendText(appendText(nil, 1, p.Name()), 3, t.namespace)
	if p.has(podTerminating) {
		meta = appendBytes(meta, 9, nil)
	}
	for l := range p.Labels {
		meta = appendBytes(meta, 11, appendText(appendText(nil, 1, l.Key), 2, l.Value))
	}
	var ports []byte
	for line := range strings.Lines(t.NamedPorts().lines) {
		p, number := parsePort(line)
		n, _ := strconv.ParseInt(number, 10, 32)
		port := protowire.AppendTag(appendText(nil, 1, p.Name), 3, protowire.VarintType)
		ports = appendBytes(ports, 6, appendText(protowire.AppendVarint(port, uint64(n)), 4, p.Protocol))
	}
	spec := appendBytes(nil, 2, ports)
	if node := p.Node(); node != "" {
		spec = appendText(spec, 10, node)
	}
	if p.HostNetwork() {
		spec = protowire.AppendVarint(protowire.AppendTag(spec, 11, protowire.VarintType), 1)
	}
	spec = appendText(appendText(spec, 16, p.Hostname()), 17, t.Subdomain)
	var status []byte
	if p.has(podFinished) {
		status = appendText(status, 1, string(corev1.PodSucceeded))
	}
	if p.has(podReady) {
		condition := appendText(appendText(nil, 1, string(corev1.PodReady)), 2, string(corev1.ConditionTrue))
		if p.since > 0 {
			seconds := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(p.since))
			condition = appendBytes(condition, 4, seconds)
		}
		status = appendBytes(status, 2, condition)
	}
	for a := range p.Addrs {
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

func (s *Service) full() *corev1.Service {
	out := &corev1.Service{
		ObjectMeta: s.meta(),
		Spec:       corev1.ServiceSpec{PublishNotReadyAddresses: s.PublishNotReady},
	}
	if s.Hosts != HostsUnset || s.External {
		out.Annotations = make(map[string]string)
	}
	if s.Hosts != HostsUnset {
		out.Annotations[HostsAnnotation] = s.Hosts.String()
	}
	if s.External {
		out.Annotations[ExternalAnnotation] = externalValue
	}
	if s.Headless {
		out.Spec.ClusterIP = corev1.ClusterIPNone
	}
	if s.V4 {
		out.Spec.IPFamilies = append(out.Spec.IPFamilies, corev1.IPv4Protocol)
	}
	if s.V6 {
		out.Spec.IPFamilies = append(out.Spec.IPFamilies, corev1.IPv6Protocol)
	}
	if len(out.Spec.IPFamilies) == 0 { // its families are unknown ones; an empty list would mean both
		out.Spec.IPFamilies = []corev1.IPFamily{""}
	}
	if len(s.Selector) > 0 {
		out.Spec.Selector = make(map[string]string)
		for _, l := range s.Selector {
			out.Spec.Selector[l.Key] = l.Value
		}
	}
	for _, p := range s.Ports {
		port := corev1.ServicePort{Name: p.Name, Protocol: corev1.Protocol(p.Protocol), Port: int32(p.Number)}
		if p.Target != "" {
			port.TargetPort = intstr.FromString(p.Target)
		}
		out.Spec.Ports = append(out.Spec.Ports, port)
	}
	return out
}

func (s *EndpointSlice) full() *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{ObjectMeta: s.meta()}
	switch {
	case s.Imported:
		out.Labels = map[string]string{mcsv1beta1.LabelServiceName: s.Service, mcsv1beta1.LabelSourceCluster: s.Cluster}
	case s.Controlled:
		out.Labels = map[string]string{discoveryv1.LabelServiceName: s.Service, discoveryv1.LabelManagedBy: SliceController}
	default:
		out.Labels = map[string]string{discoveryv1.LabelServiceName: s.Service}
	}
	for _, p := range s.Ports.Ports() {
		out.Ports = append(out.Ports, discoveryv1.EndpointPort{
			Name: ptr.To(p.Name), Protocol: ptr.To(corev1.Protocol(p.Protocol)), Port: ptr.To(int32(p.Number)),
		})
	}
	for _, e := range s.Endpoints {
		full := discoveryv1.Endpoint{
			Addresses:  []string{e.Addr.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(e.Ready), Terminating: ptr.To(e.Terminating)},
		}
		switch {
		case e.Hostname:
			full.Hostname = ptr.To(e.Name)
		case e.Name != "":
			full.TargetRef = &corev1.ObjectReference{Name: e.Name}
		}
		if zone := e.Zone(); zone != "" {
			full.Zone = &zone
		}
		out.Endpoints = append(out.Endpoints, full)
	}
	return out
}
