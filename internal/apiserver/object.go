package apiserver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"
)

// kind is a kind of object that the server serves.
type kind struct {
	schema.GroupVersionKind
	path       string // of the API group
	resource   string
	namespaced bool
	example    Object
	// fields are the selectable fields besides name and namespace.
	fields map[string]func(Object) string
}

var kinds = []kind{
	{
		corev1.SchemeGroupVersion.WithKind("Service"), "/api/v1", "services", true, &corev1.Service{},
		map[string]func(Object) string{
			"spec.clusterIP": func(o Object) string { return o.(*corev1.Service).Spec.ClusterIP },
			"spec.type":      func(o Object) string { return string(o.(*corev1.Service).Spec.Type) },
		},
	},
	{
		corev1.SchemeGroupVersion.WithKind("Pod"), "/api/v1", "pods", true, &corev1.Pod{},
		map[string]func(Object) string{
			"spec.nodeName": func(o Object) string { return o.(*corev1.Pod).Spec.NodeName },
			"status.phase":  func(o Object) string { return string(o.(*corev1.Pod).Status.Phase) },
			"status.podIP":  func(o Object) string { return o.(*corev1.Pod).Status.PodIP },
		},
	},
	{
		corev1.SchemeGroupVersion.WithKind("Namespace"), "/api/v1", "namespaces", false, &corev1.Namespace{},
		map[string]func(Object) string{
			"status.phase": func(o Object) string { return string(o.(*corev1.Namespace).Status.Phase) },
		},
	},
	{
		corev1.SchemeGroupVersion.WithKind("Node"), "/api/v1", "nodes", false, &corev1.Node{}, nil,
	},
	{
		discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), "/apis/discovery.k8s.io/v1", "endpointslices", true, &discoveryv1.EndpointSlice{},
		nil,
	},
	{
		schema.GroupVersion(mcsv1beta1.GroupVersion).WithKind(mcsv1beta1.ServiceImportKindName), importsPath, "serviceimports", true, &mcsv1beta1.ServiceImport{}, nil,
	},
}

// metadata returns the kind in the form in which a client gets it that wants only the metadata.
func (k *kind) metadata() *kind {
	partial := *k
	partial.GroupVersionKind = metav1.SchemeGroupVersion.WithKind(partialKind)
	partial.example = &metav1.PartialObjectMetadata{}
	return &partial
}

const partialKind = "PartialObjectMetadata"

func (k *kind) is(o Object) bool { return reflect.TypeOf(o) == reflect.TypeOf(k.example) }

func (k *kind) selectable(field string) bool {
	return k.fields[field] != nil || field == "metadata.name" || field == "metadata.namespace"
}

// stored is an object as the server stores it. It is immutable.
type stored struct {
	key            string // namespace/name
	namespace      string
	labels, fields set
	raw            []byte // in protobuf, without the envelope that names the kind; of a custom resource, in JSON
	json           []byte // the damaged object in JSON, or nil
	failure        error  // instead of an object: the error that ends the watches
}

// set are labels or fields. They are few, and a slice takes a third of the memory of a map.
type set []pair

type pair struct{ key, value string }

// Lookup implements labels.Labels.
func (s set) Lookup(key string) (string, bool) {
	for _, p := range s {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

// Has implements labels.Labels and fields.Fields.
func (s set) Has(key string) bool {
	_, ok := s.Lookup(key)
	return ok
}

// Get implements labels.Labels and fields.Fields.
func (s set) Get(key string) string {
	value, _ := s.Lookup(key)
	return value
}

// encode returns the stored form of an object at a version. It sets the version in a
// shallow copy of the object.
func (k *kind) encode(o Object, version int64) *stored {
	bare := reflect.New(reflect.TypeOf(o).Elem())
	bare.Elem().Set(reflect.ValueOf(o).Elem())
	o = bare.Interface().(Object)
	o.SetResourceVersion(formatVersion(version))
	o.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
	var raw []byte
	var err error
	if k.isCustom() {
		raw, err = json.Marshal(o)
	} else {
		raw, err = o.(interface{ Marshal() ([]byte, error) }).Marshal()
	}
	if err != nil {
		panic(fmt.Sprintf("stand-in API server: encode %s %s: %v", k.Kind, key(o), err))
	}
	s := &stored{key: key(o), namespace: o.GetNamespace(), raw: raw}
	for name, value := range o.GetLabels() {
		s.labels = append(s.labels, pair{name, value})
	}
	s.fields = append(s.fields, pair{"metadata.name", o.GetName()}, pair{"metadata.namespace", o.GetNamespace()})
	for name, value := range k.fields {
		s.fields = append(s.fields, pair{name, value(o)})
	}
	s.labels, s.fields = slices.Clip(s.labels), slices.Clip(s.fields)
	return s
}

// decode returns a copy of an object. In protobuf, every kind begins with its metadata.
func (k *kind) decode(s *stored) (Object, error) {
	o := k.empty()
	var err error
	if k.isCustom() {
		err = json.Unmarshal(s.raw, o)
		o.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind) // it may be stored in another version
	} else {
		err = o.(interface{ Unmarshal([]byte) error }).Unmarshal(s.raw)
	}
	if err != nil {
		return nil, fmt.Errorf("decode %s %s: %w", k.Kind, s.key, err)
	}
	return o, nil
}

// bytes returns an object in protobuf. One that is damaged stays as it is.
func (k *kind) bytes(s *stored) ([]byte, error) {
	if k.Kind != partialKind || s.json != nil {
		return s.raw, nil
	}
	o, err := k.decode(s)
	if err != nil {
		return nil, err
	}
	return o.(interface{ Marshal() ([]byte, error) }).Marshal()
}

// text returns an object in JSON.
func (k *kind) text(s *stored, encoder runtime.Encoder) ([]byte, error) {
	if s.json != nil {
		return s.json, nil
	}
	o, err := k.decode(s)
	if err != nil {
		return nil, err
	}
	return runtime.Encode(encoder, o)
}

func (k *kind) empty() Object {
	o := reflect.New(reflect.TypeOf(k.example).Elem()).Interface().(Object)
	o.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
	return o
}

// bookmark returns an object with nothing but a version. An annotation marks the one at the
// end of the initial events.
func (k *kind) bookmark(version int64, initialEventsEnd bool) Object {
	o := k.empty()
	o.SetResourceVersion(formatVersion(version))
	if initialEventsEnd {
		o.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return o
}

// list is a list of encoded objects of any kind.
type list struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []json.RawMessage `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (l *list) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = slices.Clone(l.Items)
	return &c
}

// Marshal is for the serializer of protobuf. The lists of all kinds have the same two
// fields, with the items as bytes.
func (l *list) Marshal() ([]byte, error) {
	meta, err := l.ListMeta.Marshal()
	if err != nil {
		return nil, err
	}
	size := len(meta) + 16
	for _, item := range l.Items {
		size += len(item) + 8
	}
	out := protowire.AppendBytes(protowire.AppendTag(make([]byte, 0, size), 1, protowire.BytesType), meta)
	for _, item := range l.Items {
		out = protowire.AppendBytes(protowire.AppendTag(out, 2, protowire.BytesType), item)
	}
	return out, nil
}

// sortStored sorts objects by name, as kube-apiserver does.
func sortStored(objects []*stored) {
	slices.SortFunc(objects, func(a, b *stored) int { return strings.Compare(a.key, b.key) })
}
