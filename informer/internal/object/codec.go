package object

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"
)

// Scheme has the watched kinds.
var Scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(discoveryv1.AddToScheme(s))
	utilruntime.Must(metav1.AddMetaToScheme(s))
	for _, version := range ImportVersions {
		metav1.AddToGroupVersion(s, version)
		s.AddKnownTypeWithName(version.WithKind(mcsv1beta1.ServiceImportKindName), &importJSON{})
		s.AddKnownTypeWithName(version.WithKind(mcsv1beta1.ServiceImportKindName+"List"), &importListJSON{})
	}
	return s
}()

// codec decodes the responses of an API server. It decodes watched kinds to slim objects:
// protobuf directly, as the full objects take some twenty times the memory, and JSON through
// them. It decodes everything else, above all a Status, as usual. A Broken stands for an
// object that can't be decoded.
type codec struct {
	runtime.NegotiatedSerializer
	// reuse returns the stored object if that equals its argument, else its argument. So a
	// relist of unchanged objects takes no memory.
	reuse func(Object) Object
	zonal bool
}

// NewCodec returns a codec. reuse returns the stored object if that equals its argument, else
// its argument. Only with zonal set, pods have their nodes, and endpoints of slices their zones.
func NewCodec(reuse func(Object) Object, zonal bool) runtime.NegotiatedSerializer {
	return &codec{serializer.NewCodecFactory(Scheme).WithoutConversion(), reuse, zonal}
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (c *codec) SupportedMediaTypes() []runtime.SerializerInfo {
	infos := slices.Clone(c.NegotiatedSerializer.SupportedMediaTypes())
	for i, info := range infos {
		if info.MediaType == runtime.ContentTypeProtobuf && info.StreamSerializer != nil {
			stream := *info.StreamSerializer
			stream.Serializer = &eventDecoder{stream.Serializer}
			infos[i].StreamSerializer = &stream
		}
	}
	return infos
}

// eventDecoder decodes the events of a watch in protobuf. Unlike the usual decoder, it does
// not copy the object, which is decoded before the next event is read.
type eventDecoder struct{ runtime.Serializer }

// Decode implements runtime.Decoder.
func (d *eventDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, ok := into.(*metav1.WatchEvent)
	if !ok {
		return d.Serializer.Decode(data, defaults, into)
	}
	*event = metav1.WatchEvent{}
	m := newMessage("event", data)
	for m.next() {
		switch m.number {
		case 1:
			event.Type = strings.Clone(m.string())
		case 2:
			raw := newMessage("object", m.embedded())
			for raw.next() {
				if raw.number == 1 {
					event.Object.Raw = raw.embedded()
				}
			}
			m.finish(&raw)
		}
	}
	return event, nil, m.err
}

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (c *codec) DecoderToVersion(d runtime.Decoder, v runtime.GroupVersioner) runtime.Decoder {
	return &decoder{fullDecoder: c.NegotiatedSerializer.DecoderToVersion(d, v), reuse: c.reuse, Scratch: NewScratch(c.zonal)}
}

// decoder decodes a response, or the objects of a watch one after another. Each response
// has its own, so it is not safe for concurrent use.
type decoder struct {
	fullDecoder runtime.Decoder
	reuse       func(Object) Object
	Scratch
}

// Decode implements runtime.Decoder. It returns a *Decoded, a *DecodedList or a
// *metav1.Status.
func (d *decoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if raw, ok := bytes.CutPrefix(data, protobufPrefix); ok {
		if out, err := d.decode(raw); out != nil || err != nil {
			return out, nil, err
		}
	}
	full, kind, err := d.fullDecoder.Decode(data, defaults, into)
	if err != nil {
		if out := d.salvage(data, err); out != nil {
			return out, kind, nil
		}
		return nil, kind, err
	}
	out, err := d.convert(full)
	return out, kind, err
}

// protobufPrefix begins every protobuf message of Kubernetes.
var protobufPrefix = []byte("k8s\x00")

// decode decodes a runtime.Unknown in protobuf. For a kind that is not watched, it returns
// neither a result nor an error.
func (d *decoder) decode(data []byte) (runtime.Object, error) {
	var version, kind string
	var raw []byte
	m := newMessage("envelope", data)
	for m.next() {
		switch m.number {
		case 1:
			t := newMessage("type", m.embedded())
			for t.next() {
				switch t.number {
				case 1:
					version = t.string()
				case 2:
					kind = t.string()
				}
			}
			m.finish(&t)
		case 2:
			raw = m.embedded()
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	name, list := strings.CutSuffix(kind, "List")
	k, ok := kindNamed(version, name)
	switch {
	case !ok:
		return nil, nil
	case list:
		return d.decodeList(k, raw)
	}
	return d.decodeObject(k, raw)
}

// kindNamed returns the kind with an API version and name.
func kindNamed(version, name string) (Kind, bool) {
	switch {
	case version == "v1" && name == "Pod":
		return Pods, true
	case version == "v1" && name == "Service":
		return Services, true
	case version == "v1" && name == "Namespace":
		return Namespaces, true
	case version == "meta.k8s.io/v1" && name == "PartialObjectMetadata", // asked for of nodes only
		version == "v1" && name == "Node": // of an API server that sends no metadata alone
		return Nodes, true
	case version == "discovery.k8s.io/v1" && name == "EndpointSlice":
		return EndpointSlices, true
	case name == mcsv1beta1.ServiceImportKindName && slices.ContainsFunc(ImportVersions, func(v schema.GroupVersion) bool { return v.String() == version }):
		return ServiceImports, true
	}
	return 0, false
}

func (d *decoder) decodeObject(k Kind, b []byte) (runtime.Object, error) {
	o, m, err := decodeKind(k, b, &d.Scratch)
	if err == nil {
		return d.wrap(o, &m), nil
	}
	if o := breakObject(b, err); o != nil {
		return o, nil
	}
	// An event of a watch then lacks the changed object and the version to resume at.
	return nil, err
}

// Scratch is memory that Decode reuses for the next object.
type Scratch struct{ pod podFields }

// NewScratch returns an empty Scratch. Only with zonal set, Decode reads the nodes of pods, and
// the zones of slices.
func NewScratch(zonal bool) Scratch { return Scratch{podFields{zonal: zonal}} }

// Decode decodes an object of a kind from protobuf. The object does not reference b.
func Decode(k Kind, b []byte, s *Scratch) (Object, error) {
	o, _, err := decodeKind(k, b, s)
	return o, err
}

func decodeKind(k Kind, b []byte, s *Scratch) (Object, metadata, error) {
	switch k {
	case Pods:
		return decodePod(b, &s.pod)
	case Services:
		return decodeService(b)
	case EndpointSlices, ImportedSlices:
		return decodeEndpointSlice(b, s.pod.zonal)
	case Nodes:
		return decodeNode(b)
	case ServiceImports:
		return decodeServiceImport(b)
	default:
		return decodeNamespace(b)
	}
}

func (d *decoder) decodeList(k Kind, b []byte) (runtime.Object, error) {
	out := new(DecodedList)
	m := newMessage(k.String(), b)
	for m.next() {
		switch m.number {
		case 1:
			if err := out.ListMeta.Unmarshal(m.embedded()); err != nil {
				m.fail("metadata", err)
			}
		case 2:
			b := m.embedded()
			o, meta, err := decodeKind(k, b, &d.Scratch)
			if err == nil {
				out.Items = append(out.Items, d.wrap(o, &meta))
				break
			}
			item := breakObject(b, err)
			if item == nil {
				item = newBroken("", "", "", fmt.Errorf("item %d: %w", len(out.Items), err))
			}
			out.Items = append(out.Items, item)
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	return out, nil
}

// convert returns for a full object what decode returns for its protobuf.
func (d *decoder) convert(obj runtime.Object) (runtime.Object, error) {
	if status, ok := obj.(*metav1.Status); ok {
		return status, nil
	}
	if !meta.IsListType(obj) {
		o, m, err := newObject(obj, d.pod.zonal)
		if err != nil {
			return nil, err
		}
		return d.wrap(o, &m), nil
	}
	list, err := meta.ListAccessor(obj)
	if err != nil {
		return nil, fmt.Errorf("decode %T: %w", obj, err)
	}
	out := &DecodedList{ListMeta: metav1.ListMeta{
		ResourceVersion: list.GetResourceVersion(), Continue: list.GetContinue(), RemainingItemCount: list.GetRemainingItemCount(),
	}}
	err = meta.EachListItem(obj, func(item runtime.Object) error {
		o, m, err := newObject(item, d.pod.zonal)
		if err == nil {
			out.Items = append(out.Items, d.wrap(o, &m))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (d *decoder) wrap(o Object, m *metadata) *Decoded {
	return &Decoded{Object: d.reuse(o), version: strings.Clone(m.version), InitialEvents: m.initialEvents}
}

// Decoded is a slim object with the metadata that a reflector needs.
type Decoded struct {
	Object
	version       string
	InitialEvents bool
}

var _ interface {
	runtime.Object
	metav1.ObjectMetaAccessor
} = (*Decoded)(nil)

// GetObjectKind implements runtime.Object.
func (d *Decoded) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. The copy is shallow, as slim objects are
// immutable.
func (d *Decoded) DeepCopyObject() runtime.Object {
	c := *d
	return &c
}

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (d *Decoded) GetObjectMeta() metav1.Object {
	k := d.ID()
	m := &metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, ResourceVersion: d.version}
	if d.InitialEvents {
		m.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	return m
}

// DecodedList is a list of slim objects.
type DecodedList struct {
	metav1.ListMeta
	Items []*Decoded
}

// GetObjectKind implements runtime.Object.
func (l *DecodedList) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. The items are shared, as slim objects are
// immutable.
func (l *DecodedList) DeepCopyObject() runtime.Object {
	c := &DecodedList{Items: append([]*Decoded(nil), l.Items...)}
	l.ListMeta.DeepCopyInto(&c.ListMeta)
	return c
}
