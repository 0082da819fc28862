package informer

import (
	"encoding/json"
	"testing"

	kruntime "k8s.io/apimachinery/pkg/runtime"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// pipeline is the part of an informer between the bytes of a watch and the trie.
type pipeline struct {
	*Informer
	decoder  kruntime.Decoder // of protobuf
	custom   kruntime.Decoder // of JSON
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
	if h.imports {
		p.joiner.imports = newImports(records.NewClusterset())
	}
	p.joiner.trie.EnableZones() // without zones, all endpoints are in none
	c := object.NewCodec(p.joiner.reuse, p.joiner.naming.zonal)
	info, _ := kruntime.SerializerInfoForMediaType(c.SupportedMediaTypes(), kruntime.ContentTypeProtobuf)
	p.decoder = c.DecoderToVersion(info.Serializer, nil)
	info, _ = kruntime.SerializerInfoForMediaType(c.SupportedMediaTypes(), kruntime.ContentTypeJSON)
	p.custom = c.DecoderToVersion(info.Serializer, nil)
	for _, k := range p.expected.watched() {
		p.missing[object.Origin{Kind: k}] = true
	}
	return p
}

// trieOf returns the trie that has the name of a question.
func (p *pipeline) trieOf(q *question) *records.Trie {
	if q.imported {
		return p.joiner.imports.trie
	}
	return p.joiner.trie
}

// decode passes an object through protobuf or, if it is a custom resource, through JSON.
func (p *pipeline) decode(t testing.TB, o any) object.Object {
	var slim kruntime.Object
	var err error
	if i, ok := o.(*mcsv1beta1.ServiceImport); ok {
		var text []byte
		if text, err = json.Marshal(i); err != nil {
			t.Fatal(err)
		}
		slim, _, err = p.custom.Decode(text, nil, nil)
	} else {
		slim, _, err = p.decoder.Decode(fixture.Encode(t, o.(kruntime.Object)), nil, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return slim.(*object.Decoded).Object
}
