package object

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
	Kinds
	// LeftoverSlices are the EndpointSlices of the controller where pods are watched. Only
	// the source and the join have this kind, because they are listed apart.
	LeftoverSlices = Kinds
)

// String is the kind as the name of its resource.
func (k Kind) String() string {
	return [Kinds + 1]string{"services", "pods", "endpointslices", "namespaces", "endpointslices"}[k]
}

// Origin is what one list or watch covers: the objects of a kind, of a namespace
// or, if that is empty, of all.
type Origin struct {
	Kind      Kind
	Namespace string
}

// Key names an object; namespace is empty for a namespace itself.
type Key struct{ Namespace, Name string }

func (k Key) ID() Key { return k }

// String is the key as kubectl writes it.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Object is a *pod, *service, *endpointSlice or *namespace.
type Object interface{ ID() Key }

// Namespace is a Namespace. Only its name matters: the watch selects by label.
type Namespace struct{ Key }

func NewNamespace(n *corev1.Namespace) *Namespace { return &Namespace{Key{Name: intern(n.Name)}} }

func decodeNamespace(b []byte) (*Namespace, metadata, error) {
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
	return &Namespace{Key{Name: intern(meta.name)}}, meta, nil
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

// ParseAddr parses an address as Kubernetes does, which takes leading zeros in IPv4 and
// reads them as decimal. A zone is dropped.
func ParseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		var ok bool
		if a, ok = netip.AddrFromSlice(utilnet.ParseIPSloppy(s)); !ok {
			return a, false
		}
	}
	return a.Unmap().WithZone(""), true
}

// newObject returns what is kept of an object of Kubernetes.
func newObject(obj runtime.Object) (Object, metadata, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return NewPod(o), newMetadata(&o.ObjectMeta), nil
	case *corev1.Service:
		return NewService(o), newMetadata(&o.ObjectMeta), nil
	case *discoveryv1.EndpointSlice:
		return NewEndpointSlice(o), newMetadata(&o.ObjectMeta), nil
	case *corev1.Namespace:
		return NewNamespace(o), newMetadata(&o.ObjectMeta), nil
	}
	return nil, metadata{}, fmt.Errorf("decode object: %T is not a watched kind", obj)
}
