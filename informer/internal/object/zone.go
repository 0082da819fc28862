package object

import (
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxZone is the longest zone that a DNS label has room for.
const maxZone = 63

// zoneOf returns the topology zone that a label or a field names, in lower case, or zero for
// none.
func zoneOf(value string) (zone unique.Handle[string]) {
	if value = strings.ToLower(value); value != "" && len(value) <= maxZone {
		zone = unique.Make(value)
	}
	return zone
}

// text returns the string of a handle, or "" for zero.
func text(h unique.Handle[string]) string {
	if h == (unique.Handle[string]{}) {
		return ""
	}
	return h.Value()
}

// Zone returns the topology zone that the pod is labelled with, or "".
func (p *Pod) Zone() string {
	for l := range p.Labels {
		if l.Key == corev1.LabelTopologyZone {
			return text(zoneOf(l.Value))
		}
	}
	return ""
}

// Zone returns the topology zone of the endpoint, or "" if there is none or it was not decoded.
func (e *Endpoint) Zone() string { return text(e.zone) }

// Node is a slim Node: its topology zone, or "".
type Node struct {
	Key
	Zone string
}

// Equal reports whether DNS could not tell two objects apart.
func (n *Node) Equal(m *Node) bool { return *n == *m }

// NewNode returns a slim Node.
func NewNode(o metav1.Object) *Node {
	return &Node{Key{Name: strings.Clone(o.GetName())}, text(zoneOf(o.GetLabels()[corev1.LabelTopologyZone]))}
}

// decodeNode decodes a PartialObjectMetadata or a Node from protobuf. Both begin with the
// metadata.
func decodeNode(b []byte) (*Node, metadata, error) {
	meta, err := decodeMetadata("node", b)
	if err != nil {
		return nil, metadata{}, err
	}
	zone, _ := meta.label(corev1.LabelTopologyZone)
	return &Node{Key{Name: strings.Clone(meta.name)}, text(zoneOf(zone))}, meta, nil
}
