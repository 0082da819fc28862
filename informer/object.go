package informer

import (
	"fmt"
	"net/netip"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/utils/net"
)

// The objects that are kept hold what DNS needs of Kubernetes' own and nothing
// else. They are never written after they were made.
//
// Each is made in one of two ways: by a decode function from protobuf, field by
// field and without the object of Kubernetes, or by a new function from that
// object, which was decoded from JSON or YAML. Both give the same.

// Kind is a kind of object that is watched.
type Kind uint8

// The kinds.
const (
	Services Kind = iota
	Pods
	EndpointSlices
	Namespaces
	kinds
	// leftSlices are the EndpointSlices of the controller where pods are watched. Only
	// the source and the join have this kind, because they are listed apart.
	leftSlices = kinds
)

// String is the kind as the name of its resource.
func (k Kind) String() string {
	return [kinds + 1]string{"services", "pods", "endpointslices", "namespaces", "endpointslices"}[k]
}

// origin is what one list or watch covers: the objects of a kind, of a namespace
// or, if that is empty, of all.
type origin struct {
	kind      Kind
	namespace string
}

// key names an object; namespace is empty for a namespace itself.
type key struct{ namespace, name string }

func (k key) id() key { return k }

// object is a *pod, *service, *endpointSlice or *namespace.
type object interface{ id() key }

// namespace is a Namespace. Only its name matters: the watch selects by label.
type namespace struct{ key }

func newNamespace(n *corev1.Namespace) *namespace { return &namespace{key{name: intern(n.Name)}} }

func decodeNamespace(b []byte) (*namespace, metadata, error) {
	var meta metadata
	m := newMessage("namespace", b)
	for m.next() {
		if m.number == 1 {
			meta.decode(&m)
		}
	}
	if m.err != nil {
		return nil, metadata{}, m.err
	}
	return &namespace{key{name: intern(meta.name)}}, meta, nil
}

// intern returns a copy of s that is held once for all objects.
func intern(s string) string { return unique.Make(s).Value() }

// lower returns s in lower case, as a copy.
func lower(s string) string {
	if l := strings.ToLower(s); l != s {
		return l
	}
	return strings.Clone(s)
}

// parseAddr parses an address as Kubernetes does, which takes leading zeros in IPv4 and
// reads them as decimal. A zone is dropped.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		var ok bool
		if a, ok = netip.AddrFromSlice(utilnet.ParseIPSloppy(s)); !ok {
			return a, false
		}
	}
	return a.Unmap().WithZone(""), true
}

// slim returns what is kept of an object of Kubernetes.
func slim(obj runtime.Object) (object, metadata, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return newPod(o), newMetadata(&o.ObjectMeta), nil
	case *corev1.Service:
		return newService(o), newMetadata(&o.ObjectMeta), nil
	case *discoveryv1.EndpointSlice:
		return newEndpointSlice(o), newMetadata(&o.ObjectMeta), nil
	case *corev1.Namespace:
		return newNamespace(o), newMetadata(&o.ObjectMeta), nil
	}
	return nil, metadata{}, fmt.Errorf("keep object: %T is none that is watched", obj)
}
