// Package object has slim Kubernetes objects, which hold only what DNS needs, and decodes
// and encodes them.
//
// A slim object is made in one of two ways, with the same result: by a decode function from
// protobuf, field by field and without the full object of Kubernetes, or by a New function
// from the full object, which was decoded from JSON or YAML. Slim objects are immutable.
// Equal strings of different objects are interned, and the data that the pods of a template
// share is stored once.
//
//	kind.go                                 kinds, keys and origins; what all objects have in common
//	pod.go, service.go, endpointslice.go    the slim objects of each kind
//	zone.go                                 topology zones, and the slim objects of nodes
//	serviceimport.go                        multi-cluster services, and what makes a slice an imported one
//	ports.go, label.go                      parts that objects share
//	podfields.go, metadata.go, message.go   how protobuf is decoded
//	codec.go, broken.go                     how the responses of an API server are decoded
//	encode.go                               how objects are encoded for a snapshot
package object

import (
	"fmt"
	"net/netip"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/utils/net"
)

// Kind is a kind of object.
type Kind uint8

// The kinds that are watched. Kinds is their number.
const (
	Services Kind = iota
	Pods
	EndpointSlices
	Namespaces
	Nodes
	ServiceImports // of multi-cluster services (KEP-1645)
	ImportedSlices // EndpointSlices of ServiceImports
	Kinds
	// LeftoverSlices are EndpointSlices of SliceController that are watched apart from the
	// others, for services without a selector. The decoders know only EndpointSlices.
	LeftoverSlices = Kinds
)

// String is the kind as metrics and the log name it: the name of its resource or, for the
// slices that have a watch of their own, importedslices.
func (k Kind) String() string {
	return [Kinds + 1]string{"services", "pods", "endpointslices", "namespaces", "nodes", "serviceimports", "importedslices", "endpointslices"}[k]
}

// Resource is the name of the kind's resource in URLs.
func (k Kind) Resource() string {
	if k == ImportedSlices {
		return EndpointSlices.String()
	}
	return k.String()
}

// Origin is what one list or watch covers: the objects of a kind in one namespace or, if
// that is empty, in all.
type Origin struct {
	Kind      Kind
	Namespace string
}

// Key identifies an object of a kind. The namespace of a Namespace or Node is empty.
type Key struct{ Namespace, Name string }

// ID returns the key itself, for the objects that embed it.
func (k Key) ID() Key { return k }

// String is the key as kubectl writes it.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Object is a *Pod, *Service, *EndpointSlice, *Namespace, *Node, *ServiceImport or *Broken.
type Object interface{ ID() Key }

// Namespace is a Namespace. Only its name is kept, as the watch selects by label.
type Namespace struct{ Key }

// NewNamespace returns a slim Namespace.
func NewNamespace(n *corev1.Namespace) *Namespace { return &Namespace{Key{Name: intern(n.Name)}} }

func decodeNamespace(b []byte) (*Namespace, metadata, error) {
	meta, err := decodeMetadata("namespace", b)
	if err != nil {
		return nil, metadata{}, err
	}
	return &Namespace{Key{Name: intern(meta.name)}}, meta, nil
}

// intern returns a copy of s that all objects share.
func intern(s string) string { return unique.Make(s).Value() }

// lower returns a copy of s in lower case.
func lower(s string) string {
	if l := strings.ToLower(s); l != s {
		return l
	}
	return strings.Clone(s)
}

// ParseAddr parses an address as Kubernetes does: leading zeros in IPv4 are decimal. It
// drops the zone of an IPv6 address.
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

// newObject returns the slim object of a full one. Unless zonal is set, it leaves out what only
// zones need, as the decode functions do.
func newObject(obj runtime.Object, zonal bool) (Object, metadata, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return newPod(o, zonal), newMetadata(&o.ObjectMeta), nil
	case *corev1.Service:
		return NewService(o), newMetadata(&o.ObjectMeta), nil
	case *discoveryv1.EndpointSlice:
		return newEndpointSlice(o, zonal), newMetadata(&o.ObjectMeta), nil
	case *corev1.Namespace:
		return NewNamespace(o), newMetadata(&o.ObjectMeta), nil
	case *metav1.PartialObjectMetadata:
		return NewNode(o), newMetadata(&o.ObjectMeta), nil
	case *importJSON:
		return NewServiceImport(o, o.Spec.Type), newMetadata(&o.ObjectMeta), nil
	case *corev1.Node: // of an API server that sends no metadata alone
		return NewNode(o), newMetadata(&o.ObjectMeta), nil
	}
	return nil, metadata{}, fmt.Errorf("decode object: %T is not a watched kind", obj)
}
