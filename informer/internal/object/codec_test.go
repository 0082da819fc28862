package object

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// TestCodec checks what a reflector gets for each kind and encoding.
func TestCodec(t *testing.T) {
	for _, zonal := range []bool{true, false} {
		testCodec(t, zonal)
	}
}

func testCodec(t *testing.T, zonal bool) {
	c := NewCodec(func(o Object) Object { return o }, zonal)
	mark := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
	node := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", ResourceVersion: "9", Labels: map[string]string{corev1.LabelTopologyZone: "EU-1a"}}}
	zonalPod := fixture.Web(0, func(p *corev1.Pod) { p.Spec.NodeName = "node-1" })
	zonalSlice := fixture.Slice("zonal", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: ptr.To("EU-1a")})
	for _, o := range []fixture.Object{fixture.TypicalPod(3), fixture.Nginx(), fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}}),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "9"}}, node, zonalPod, zonalSlice, mark} {
		for _, info := range c.SupportedMediaTypes() {
			if info.MediaType != runtime.ContentTypeJSON && info.MediaType != runtime.ContentTypeProtobuf {
				continue
			}
			var b bytes.Buffer
			version := corev1.SchemeGroupVersion
			if _, ok := o.(*discoveryv1.EndpointSlice); ok {
				version = discoveryv1.SchemeGroupVersion
			}
			encoder := c.EncoderForVersion(info.Serializer, version)
			if o == node {
				encoder = info.Serializer
			}
			if err := encoder.Encode(o, &b); err != nil {
				t.Fatal(err)
			}
			got, _, err := c.DecoderToVersion(info.Serializer, nil).Decode(b.Bytes(), nil, nil)
			if err != nil {
				t.Fatalf("%s: %T: %v", info.MediaType, o, err)
			}
			clear(b.Bytes()) // as the next event of a watch does
			want, _, err := newObject(o, zonal)
			if err != nil {
				t.Fatal(err)
			}
			if d := got.(*Decoded); !same(d.Object, want, metadata{}, metadata{}) {
				t.Errorf("%s: %T is %+v, want %+v", info.MediaType, o, d.Object, want)
			}
			m, err := meta.Accessor(got)
			if err != nil {
				t.Fatal(err)
			}
			if m.GetName() != o.GetName() || m.GetNamespace() != o.GetNamespace() || m.GetResourceVersion() != o.GetResourceVersion() ||
				!reflect.DeepEqual(m.GetAnnotations(), o.GetAnnotations()) {
				t.Errorf("%s: the metadata of %T are %+v", info.MediaType, o, m)
			}
		}
	}
}

func onNode(p *corev1.Pod) { p.Spec.NodeName = "node-1" }

// TestCodecList checks lists in protobuf and in JSON.
func TestCodecList(t *testing.T) {
	c := NewCodec(func(o Object) Object { return o }, true)
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more", RemainingItemCount: ptr.To[int64](7)},
		Items: []corev1.Pod{*fixture.Web(0, onNode), *fixture.Web(1, onNode)}}
	for _, info := range c.SupportedMediaTypes()[:3] {
		var b bytes.Buffer
		if err := c.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion).Encode(list, &b); err != nil {
			t.Fatal(err)
		}
		got, _, err := c.DecoderToVersion(info.Serializer, nil).Decode(b.Bytes(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := got.(*DecodedList)
		if !reflect.DeepEqual(l.ListMeta, list.ListMeta) || len(l.Items) != 2 {
			t.Fatalf("%s: the list is %+v", info.MediaType, l)
		}
		items, err := meta.ExtractListWithAlloc(got)
		if err != nil || len(items) != 2 {
			t.Fatalf("%s: the items are %v: %v", info.MediaType, items, err)
		}
		for i, item := range items {
			if p := item.(*Decoded).Object.(*Pod); !p.Equal(NewPod(fixture.Web(i, onNode))) {
				t.Errorf("%s: item %d is %+v", info.MediaType, i, p)
			}
		}
	}
}

// TestCodecNodes checks lists of the metadata of nodes, and of nodes, in protobuf and in JSON.
func TestCodecNodes(t *testing.T) {
	if k, ok := kindNamed("meta.k8s.io/v1", "PartialObjectMetadata"); k != Nodes || !ok {
		t.Errorf("metadata alone is decoded as %v, %t", k, ok)
	}
	c := NewCodec(func(o Object) Object { return o }, true)
	meta := metav1.ObjectMeta{Name: "node-1", ResourceVersion: "8", Labels: map[string]string{corev1.LabelTopologyZone: "EU-1a"}}
	for _, list := range []runtime.Object{
		&metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "9"}, Items: []metav1.PartialObjectMetadata{{ObjectMeta: meta}}},
		&corev1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "9"}, Items: []corev1.Node{{ObjectMeta: meta}}},
	} {
		for _, info := range c.SupportedMediaTypes()[:3] {
			var b bytes.Buffer
			if err := info.Serializer.Encode(list, &b); err != nil {
				t.Fatal(err)
			}
			got, _, err := c.DecoderToVersion(info.Serializer, nil).Decode(b.Bytes(), nil, nil)
			if err != nil {
				t.Fatalf("%s: %T: %v", info.MediaType, list, err)
			}
			l := got.(*DecodedList)
			if len(l.Items) != 1 || l.ResourceVersion != "9" || l.Items[0].version != "8" {
				t.Fatalf("%s: %T is %+v", info.MediaType, list, l)
			}
			if n, ok := l.Items[0].Object.(*Node); !ok || !n.Equal(&Node{Key{Name: "node-1"}, "eu-1a"}) {
				t.Errorf("%s: the node of %T is %+v", info.MediaType, list, l.Items[0].Object)
			}
		}
	}
}

// TestCodecStatus checks that an error of the API server is kept.
func TestCodecStatus(t *testing.T) {
	slim, _ := protobufDecoder()
	want := apierrors.NewResourceExpired("too old").ErrStatus
	got, _, err := slim.Decode(fixture.Encode(t, &want), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !apierrors.IsResourceExpired(apierrors.FromObject(got)) {
		t.Errorf("the error is %v", apierrors.FromObject(got))
	}
	got, _, err = slim.Decode([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}`), nil, nil)
	if err == nil {
		t.Errorf("the decoder for protobuf takes JSON: %v", got)
	}
}

// TestCodecErrors checks that decoding errors say where they are.
func TestCodecErrors(t *testing.T) {
	slim, _ := protobufDecoder()
	whole := fixture.Encode(t, fixture.Web(0))
	for _, test := range []struct {
		what string
		data []byte
		want string
	}{
		{"another kind", fixture.Encode(t, &corev1.ConfigMap{}), "decode object: *v1.ConfigMap is not a watched kind"},
		{"a list of another kind", fixture.Encode(t, &corev1.ConfigMapList{Items: []corev1.ConfigMap{{}}}), "*v1.ConfigMap is not a watched kind"},
		{"cut", whole[:len(whole)-20], "decode envelope: field 2: "},
		{"no kind", []byte("k8s\x00\x12\x00"), "Object 'Kind' is missing"},
		{"a wrong type", append([]byte("k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x06"), 0x0a, 0x04, 0x0a, 0x02, 0x08, 0x01), ""},
		{"a name that is a number", append([]byte("k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x04"), 0x0a, 0x02, 0x08, 0x01),
			"decode metadata: field 1: wire type is 0, not 2"},
		{"a list of no items", append([]byte("k8s\x00\x0a\x0d\x0a\x02v1\x12\x07PodList\x12\x02"), 0x10, 0x01),
			"decode pods: field 2: wire type is 0, not 2"},
	} {
		got, _, err := slim.Decode(test.data, nil, nil)
		switch {
		case test.want == "":
			if err != nil {
				t.Errorf("%s: %v", test.what, err)
			}
		case err == nil || !strings.Contains(err.Error(), test.want) || got != nil:
			t.Errorf("%s: %v and error %v, want one with %q", test.what, got, err, test.want)
		}
	}
}

// TestEnvelopeTruncated cuts an object with its envelope at every byte.
func TestEnvelopeTruncated(t *testing.T) {
	slim, full := protobufDecoder()
	whole := fixture.Encode(t, fixture.Web(0))
	for n := range whole {
		// If it ends between two fields, it is another valid message.
		_, _, wantErr := full.Decode(bytes.Clone(whole[:n]), nil, nil)
		if got, _, err := slim.Decode(whole[:n], nil, nil); (err != nil) != (wantErr != nil) {
			t.Errorf("cut at %d of %d: %v and error %v, want %v", n, len(whole), got, err, wantErr)
		}
	}
}

// TestEvent compares decoded events of a watch in protobuf with those of the usual decoder,
// and also the errors.
func TestEvent(t *testing.T) {
	event := &metav1.WatchEvent{Type: "ADDED", Object: runtime.RawExtension{Raw: fixture.Encode(t, fixture.Web(0))}}
	b, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c := NewCodec(func(o Object) Object { return o }, true)
	info, _ := runtime.SerializerInfoForMediaType(c.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	for n := 1; n <= len(b); n++ {
		got, want := metav1.WatchEvent{Type: "before", Object: runtime.RawExtension{Raw: []byte("before")}}, metav1.WatchEvent{}
		wantErr := want.Unmarshal(b[:n])
		_, _, err := info.StreamSerializer.Serializer.Decode(b[:n], nil, &got)
		if (err != nil) != (wantErr != nil) || err == nil && (got.Type != want.Type || !bytes.Equal(got.Object.Raw, want.Object.Raw)) {
			t.Fatalf("cut at %d of %d: %q and error %v, want %q and %v", n, len(b), got.Type, err, want.Type, wantErr)
		}
	}
}
