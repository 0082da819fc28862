package informer

import (
	"testing"

	kruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// pipeline is the part of an informer between the bytes of a watch and the trie.
type pipeline struct {
	*Informer
	decoder  kruntime.Decoder
	batch    []event
	expected *model // after the events in batch and before
}

func newPipeline(h *history) *pipeline {
	p := &pipeline{
		Informer: &Informer{joiner: newJoiner(records.New(), h.podNames, h.selectNamespaces), hooks: quietHooks(),
			missing: make(map[object.Origin]bool), synced: make(chan struct{}), complete: make(chan struct{})},
		expected: newModel(h),
	}
	p.joiner.addressed, p.joiner.naming.zonal = h.addressed, h.zonal
	p.joiner.trie.EnableZones() // without zones, all endpoints are in none
	c := object.NewCodec(p.joiner.reuse, p.joiner.naming.zonal)
	info, _ := kruntime.SerializerInfoForMediaType(c.SupportedMediaTypes(), kruntime.ContentTypeProtobuf)
	p.decoder = c.DecoderToVersion(info.Serializer, nil)
	for _, k := range p.expected.watched() {
		p.missing[object.Origin{Kind: k}] = true
	}
	return p
}

// decode passes an object through protobuf.
func (p *pipeline) decode(t testing.TB, o any) object.Object {
	slim, _, err := p.decoder.Decode(fixture.Encode(t, o.(kruntime.Object)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slim.(*object.Decoded).Object
}
