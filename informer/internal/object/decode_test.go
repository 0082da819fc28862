package object

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// filled returns a random object, and its protobuf.
func filled(t testing.TB, k Kind, seed int64) (fixture.Object, []byte) {
	return fixture.Random(t, int(k), seed)
}

func newKind(k Kind) fixture.Object { return fixture.NewRandom(int(k)) }

// decodeFull decodes through the full object.
func decodeFull(k Kind, b []byte, zonal bool) (Object, metadata, error) {
	o := newKind(k)
	if err := o.Unmarshal(b); err != nil {
		return nil, metadata{}, err
	}
	return newOfKind(k, o, zonal)
}

// newOfKind returns the slim object of a full one of a kind. Of a ServiceImport, as a snapshot has
// it, there is no full one but its metadata.
func newOfKind(k Kind, o fixture.Object, zonal bool) (Object, metadata, error) {
	if k != ServiceImports {
		return newObject(o, zonal)
	}
	meta := &o.(*metav1.PartialObjectMetadata).ObjectMeta
	return NewServiceImport(meta, meta.Labels["type"]), newMetadata(meta), nil
}

// same reports whether two objects are equal, and the fields read from their metadata.
func same(a, b Object, m, n metadata) bool {
	equal := false
	switch a := a.(type) {
	case *Pod:
		equal = a.Equal(b.(*Pod))
	case *Service:
		equal = a.Equal(b.(*Service))
	case *EndpointSlice:
		equal = a.Equal(b.(*EndpointSlice))
	case *Namespace:
		equal = *a == *b.(*Namespace)
	case *Node:
		equal = a.Equal(b.(*Node))
	case *ServiceImport:
		equal = a.Equal(b.(*ServiceImport))
	}
	m.labels, n.labels = nil, nil
	return equal && reflect.DeepEqual(m, n)
}

// checkDecode compares the decoder with the full one on any bytes. As the content of fields
// that are not read does not matter, the full one gets the bytes without them.
func checkDecode(t testing.TB, k Kind, b []byte) {
	t.Helper()
	for _, zonal := range []bool{true, false} {
		checkDecodeZonal(t, k, b, zonal)
	}
}

func checkDecodeZonal(t testing.TB, k Kind, b []byte, zonal bool) {
	t.Helper()
	var want Object
	var wantMeta metadata
	pruned, wantErr := prune(b, fieldsOfKind[k])
	if wantErr == nil {
		want, wantMeta, wantErr = decodeFull(k, pruned, zonal)
	}
	frame := bytes.Clone(b)
	memory := NewScratch(zonal)
	got, gotMeta, err := decodeKind(k, frame, &memory)
	gotMeta = kept(gotMeta)
	for i := range frame { // no string may borrow the frame
		frame[i] = 0xa5
	}
	switch {
	case (err != nil) != (wantErr != nil):
		t.Fatalf("%v %x: the error is %v, the full decoder's is %v", k, b, err, wantErr)
	case err == nil && !same(got, want, gotMeta, wantMeta):
		t.Fatalf("%v %x:\nis   %+v %+v\nwant %+v %+v", k, b, got, gotMeta, want, wantMeta)
	}
}

// kept returns metadata without borrowed strings.
func kept(m metadata) metadata {
	clone := func(s string) string { return string([]byte(s)) }
	return metadata{namespace: clone(m.namespace), name: clone(m.name), version: clone(m.version),
		terminating: m.terminating, initialEvents: m.initialEvents}
}

const decodeSeeds = 300

// TestDecode checks that decoding field by field gives the same object as the full decoder.
func TestDecode(t *testing.T) {
	for k := range Kinds {
		for seed := range int64(decodeSeeds) {
			o, b := filled(t, k, seed)
			zonal := seed%2 == 0
			want, wantMeta, err := newOfKind(k, o, zonal)
			if err != nil {
				t.Fatal(err)
			}
			frame, memory := bytes.Clone(b), NewScratch(zonal)
			got, gotMeta, err := decodeKind(k, frame, &memory)
			if err != nil {
				t.Fatalf("%v, seed %d: %v", k, seed, err)
			}
			gotMeta = kept(gotMeta)
			clear(frame)
			if !same(got, want, gotMeta, wantMeta) {
				t.Fatalf("%v, seed %d:\nis   %+v %+v\nwant %+v %+v", k, seed, got, gotMeta, want, wantMeta)
			}
		}
	}
}

// TestDecodeRewritten decodes valid messages in unusual encodings: with unknown fields, and
// with fields that are split, repeated or in another order, at every level.
func TestDecodeRewritten(t *testing.T) {
	for k := range Kinds {
		for seed := range int64(decodeSeeds) {
			_, b := filled(t, k, seed)
			b = rewrite(rand.New(rand.NewPCG(uint64(seed), 0)), b, fieldsOfKind[k])
			want, wantMeta, err := decodeFull(k, b, true)
			if err != nil {
				t.Fatal(err)
			}
			memory := NewScratch(true)
			got, gotMeta, err := decodeKind(k, b, &memory)
			if err != nil || !same(got, want, kept(gotMeta), wantMeta) {
				t.Fatalf("%v, seed %d: %v\nis   %+v %+v\nwant %+v %+v", k, seed, err, got, gotMeta, want, wantMeta)
			}
		}
	}
}

// TestDecodeMaps checks that of several map entries with one key the last counts, as in
// protobuf's maps.
func TestDecodeMaps(t *testing.T) {
	var meta []byte
	add := func(number protowire.Number, key, value string) {
		e := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
		e = protowire.AppendString(protowire.AppendTag(e, 2, protowire.BytesType), value)
		meta = protowire.AppendBytes(protowire.AppendTag(meta, number, protowire.BytesType), e)
	}
	for i := range 40 { // many, as a short list is sorted by another algorithm
		for _, value := range []string{"first", "second", "last"} {
			add(11, fmt.Sprint("label-", i*7%40), value)
		}
	}
	add(11, corev1.LabelTopologyZone, "first")
	add(11, corev1.LabelTopologyZone, "last")
	add(11, discoveryv1.LabelServiceName, "first")
	add(11, discoveryv1.LabelServiceName, "last")
	for _, value := range []string{"first", "last"} {
		add(11, "type", value)
		add(11, "multicluster.kubernetes.io/source-cluster", value)
	}
	add(12, metav1.InitialEventsAnnotationKey, "true")
	for _, value := range []string{"first", "last"} {
		add(11, "type", value)
		add(11, "multicluster.kubernetes.io/source-cluster", value)
	}
	add(12, metav1.InitialEventsAnnotationKey, "false")
	for k := range Kinds {
		checkDecode(t, k, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), meta))
	}
}

// TestDecodeTruncated cuts objects at every byte.
func TestDecodeTruncated(t *testing.T) {
	for k := range Kinds {
		for seed := range int64(3) {
			o, _ := filled(t, k, seed)
			o.SetManagedFields(nil)
			if p, ok := o.(*corev1.Pod); ok { // else it is too long to cut everywhere
				p.Spec.Volumes, p.Spec.EphemeralContainers, p.Spec.Affinity = nil, nil, nil
				for i := range p.Spec.Containers {
					p.Spec.Containers[i] = corev1.Container{Name: "a", Ports: p.Spec.Containers[i].Ports}
				}
			}
			b, err := o.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			for n := range min(len(b), 8000) {
				checkDecode(t, k, b[:n])
			}
			for n := range min(len(b), 8000) {
				checkDecode(t, k, b[n:])
			}
		}
	}
}

// TestDecodeCorrupt changes bytes at random.
func TestDecodeCorrupt(t *testing.T) {
	for k := range Kinds {
		for seed := range int64(decodeSeeds) {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			_, b := filled(t, k, seed)
			// Otherwise most changes would hit fields that are not read.
			b, err := prune(b, fieldsOfKind[k])
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				checkDecode(t, k, corrupt(rng, b))
			}
		}
	}
}

// FuzzDecode compares the decoder with the full one on any bytes: as an object, as a
// response and as an event of a watch.
func FuzzDecode(f *testing.F) {
	const answer, event = uint8(Kinds), uint8(Kinds) + 1
	for k := range Kinds {
		for seed := range int64(40) {
			_, b := filled(f, k, seed)
			b, err := prune(b, fieldsOfKind[k])
			if err != nil {
				f.Fatal(err)
			}
			if len(b) < 500 { // longer ones slow the fuzzer down
				f.Add(uint8(k), b)
			}
		}
	}
	for _, o := range []kruntime.Object{
		fixture.Web(0), fixture.Nginx(), fixture.Slice("by-hand"), &corev1.Namespace{}, &metav1.PartialObjectMetadata{}, &corev1.Node{}, &corev1.ConfigMap{}, &metav1.Status{Code: 410},
		&corev1.PodList{ListMeta: metav1.ListMeta{Continue: "more", RemainingItemCount: ptr.To[int64](7)}, Items: []corev1.Pod{*fixture.Web(0), *fixture.Web(1)}},
		&corev1.ServiceList{Items: []corev1.Service{*fixture.Nginx()}},
	} {
		b := bytes.TrimPrefix(fixture.Encode(f, o), protobufPrefix)
		f.Add(answer, b)
		e := metav1.WatchEvent{Type: "ADDED", Object: kruntime.RawExtension{Raw: b[:8]}}
		b, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event, b)
	}
	slim, full := protobufDecoder()
	f.Fuzz(func(t *testing.T, k uint8, b []byte) {
		switch k %= event + 1; k {
		case answer:
			checkAnswer(t, slim.(*decoder), full, b)
		case event:
			checkEvent(t, b)
		default:
			checkDecode(t, Kind(k), b)
		}
	})
}

// checkAnswer compares the decoders where both accept a response. The full one reads more
// fields, and accepts field numbers that protobuf does not have. It also accepts a map entry
// whose value is longer than the entry, which must be a Broken.
func checkAnswer(t *testing.T, slim *decoder, full kruntime.Decoder, b []byte) {
	t.Helper()
	envelope := slices.Concat(protobufPrefix, b)
	got, _, err := slim.Decode(envelope, nil, nil)
	o, _, fullErr := full.Decode(envelope, nil, nil)
	if err != nil || fullErr != nil {
		return
	}
	want, err := slim.convert(o)
	if err != nil {
		t.Fatalf("%x is %+v, which should be none: %v", b, got, err)
	}
	equal := false
	switch want := want.(type) {
	case *Decoded:
		equal = sameItem(t, b, got.(*Decoded), want, 0)
	case *DecodedList:
		got := got.(*DecodedList)
		equal = reflect.DeepEqual(readMeta(got.ListMeta), readMeta(want.ListMeta)) && len(got.Items) == len(want.Items)
		for i := range min(len(got.Items), len(want.Items)) {
			equal = equal && sameItem(t, b, got.Items[i], want.Items[i], i)
		}
	case *metav1.Status:
		equal = reflect.DeepEqual(got, want)
	}
	if !equal {
		t.Fatalf("%x:\nis   %+v\nwant %+v", b, got, want)
	}
}

// readMeta returns the metadata of a list without the fields that no reflector reads.
func readMeta(m metav1.ListMeta) metav1.ListMeta {
	return metav1.ListMeta{ResourceVersion: m.ResourceVersion, Continue: m.Continue, RemainingItemCount: m.RemainingItemCount}
}

// sameItem compares an object of a response, or of the list in it at the index.
func sameItem(t *testing.T, envelope []byte, got, want *Decoded, index int) bool {
	t.Helper()
	var u kruntime.Unknown
	if err := u.Unmarshal(envelope); err != nil {
		t.Fatal(err)
	}
	item := u.Raw
	name, list := strings.CutSuffix(u.Kind, "List")
	k, ok := kindNamed(u.APIVersion, name)
	if !ok {
		return sameDecoded(got, want)
	}
	if list {
		item = itemAt(t, u.Raw, index)
	}
	if _, err := prune(item, fieldsOfKind[k]); err == nil {
		return sameDecoded(got, want)
	}
	_, broken := got.Object.(*Broken)
	return broken
}

// itemAt returns the bytes of a list's item.
func itemAt(t *testing.T, list []byte, index int) []byte {
	t.Helper()
	for len(list) > 0 {
		number, kind, n := protowire.ConsumeField(list)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		if number == 2 && kind == protowire.BytesType {
			if index == 0 {
				_, _, tag := protowire.ConsumeTag(list)
				item, _ := protowire.ConsumeBytes(list[tag:])
				return item
			}
			index--
		}
		list = list[n:]
	}
	t.Fatal("the list has no such item")
	return nil
}

func sameDecoded(a, b *Decoded) bool {
	return reflect.TypeOf(a.Object) == reflect.TypeOf(b.Object) && same(a.Object, b.Object, metadata{}, metadata{}) &&
		a.version == b.version && a.InitialEvents == b.InitialEvents
}

// checkEvent compares the decoders on an event.
func checkEvent(t *testing.T, b []byte) {
	t.Helper()
	var got, want metav1.WatchEvent
	pruned, wantErr := prune(b, fieldNumbers{1: nil, 2: {1: nil}})
	if wantErr == nil {
		wantErr = want.Unmarshal(pruned)
	}
	_, _, err := new(eventDecoder).Decode(b, nil, &got)
	switch {
	case (err != nil) != (wantErr != nil):
		t.Fatalf("%x: the error is %v, the full decoder's is %v", b, err, wantErr)
	case err == nil && (got.Type != want.Type || !bytes.Equal(got.Object.Raw, want.Object.Raw)):
		t.Fatalf("%x: is %+v, want %+v", b, got, want)
	}
}

// protobufDecoder returns the decoder for the protobuf of an API server, and the one for
// full objects.
func protobufDecoder() (slim, full kruntime.Decoder) {
	c := NewCodec(func(o Object) Object { return o }, true)
	info, _ := kruntime.SerializerInfoForMediaType(c.SupportedMediaTypes(), kruntime.ContentTypeProtobuf)
	d := c.DecoderToVersion(info.Serializer, nil)
	return d, d.(*decoder).fullDecoder
}

// TestDecodeAllocs limits the allocations for a pod: the pod, its name, the Decoded, and
// the resource version.
func TestDecodeAllocs(t *testing.T) {
	slim, _ := protobufDecoder()
	b := fixture.Encode(t, fixture.TypicalPod(7))
	keep, _, _ := slim.Decode(b, nil, nil) // so that its template is not collected
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := slim.Decode(b, nil, nil); err != nil {
			t.Fatal(err)
		}
	}); n > 4 {
		t.Errorf("a pod takes %v allocations, want 4 at most", n)
	}
	_ = keep.(*Decoded)
}

// TestDecodeForgets checks that no object references the decoded bytes: one object would
// keep those of a whole list.
func TestDecodeForgets(t *testing.T) {
	for k := range Kinds {
		_, b := filled(t, k, 1)
		frame := bytes.Clone(b)
		held := weak.Make(&frame[0])
		f := NewScratch(true)
		o, _, err := decodeKind(k, frame, &f)
		if err != nil {
			t.Fatal(err)
		}
		frame = nil
		runtime.GC()
		if held.Value() != nil {
			t.Errorf("the bytes of %v %v are still referenced", k, o.ID())
		}
		runtime.KeepAlive(&f)
	}
}

func BenchmarkDecode(b *testing.B) {
	slim, full := protobufDecoder()
	data := fixture.Encode(b, fixture.TypicalPod(7))
	keep, _, _ := slim.Decode(data, nil, nil)
	b.Run("slim", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, _, err := slim.Decode(data, nil, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			o, _, err := full.Decode(data, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			_ = NewPod(o.(*corev1.Pod))
		}
	})
	_ = keep.(*Decoded)
}
