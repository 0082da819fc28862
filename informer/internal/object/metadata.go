package object

import (
	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// metadata are the fields of an ObjectMeta that are read. Its strings may be borrowed.
type metadata struct {
	namespace, name string
	version         string // of the resource
	labels          []Label
	terminating     bool
	hosts           Hosts // of a Service
	external        bool  // of a Service
	// initialEvents marks the bookmark at the end of the initial events of a watch.
	initialEvents bool
}

func newMetadata(o *metav1.ObjectMeta) metadata {
	m := metadata{
		namespace:     o.Namespace,
		name:          o.Name,
		version:       o.ResourceVersion,
		terminating:   o.DeletionTimestamp != nil,
		initialEvents: o.Annotations[metav1.InitialEventsAnnotationKey] == "true",
	}
	for k, v := range o.Labels {
		m.labels = append(m.labels, Label{k, v})
	}
	return m
}

// label returns the value of a label, and whether there is one. Of several, the last counts, as
// in protobuf's maps.
func (m *metadata) label(key string) (value string, ok bool) {
	for _, l := range m.labels {
		if l.Key == key {
			value, ok = l.Value, true
		}
	}
	return value, ok
}

// decodeMetadata decodes an object of which only the metadata, its first field, is read.
func decodeMetadata(name string, b []byte) (metadata, error) {
	var meta metadata
	m := newMessage(name, b)
	for m.next() {
		if m.number == 1 {
			meta.decode(&m)
		}
	}
	return meta, m.err
}

// decode decodes the field of an object that is its metadata. The field numbers are those
// of k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto.
func (m *metadata) decode(outer *message) {
	o := newMessage("metadata", outer.embedded())
	for o.next() {
		switch o.number {
		case 1:
			m.name = o.string()
		case 3:
			m.namespace = o.string()
		case 6:
			m.version = o.string()
		case 9:
			m.terminating = true
			t := newMessage("deletion timestamp", o.embedded())
			for t.next() { // its presence is enough, but it must be a timestamp
				if t.number <= 2 {
					t.expect(protowire.VarintType)
				}
			}
			o.finish(&t)
		case 11:
			m.labels = append(m.labels, o.entry("label"))
		case 12:
			switch a := o.entry("annotation"); a.Key {
			case metav1.InitialEventsAnnotationKey:
				m.initialEvents = a.Value == "true"
			case HostsAnnotation:
				m.hosts = parseHosts(a.Value)
			case ExternalAnnotation:
				m.external = a.Value == externalValue
			}
		}
	}
	outer.finish(&o)
}
