package informer

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
)

// decodedAll returns objects as the codec decodes them.
func decodedAll(t testing.TB, objects ...runtime.Object) []any {
	t.Helper()
	c := object.NewCodec(func(o object.Object) object.Object { return o }, false)
	info, _ := runtime.SerializerInfoForMediaType(c.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	d := c.DecoderToVersion(info.Serializer, nil)
	var out []any
	for _, o := range objects {
		got, _, err := d.Decode(fixture.Encode(t, o), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got)
	}
	return out
}

// TestStore calls the store as a reflector does, also with objects that the stand-in API
// server does not send.
func TestStore(t *testing.T) {
	p, err := newProbe(Config{Cluster: Cluster{Endpoint: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	stores := map[object.Kind]*store{}
	for _, o := range p.source.origins() {
		stores[o.Kind] = &store{Origin: o, queue: p.queue}
	}
	apply := func() { p.apply(p.queue.drain(nil)) }
	check := func(what, want string) {
		t.Helper()
		if got := answer(p.trie, nginxName, dns.TypeA); got != want {
			t.Errorf("%s: the service has %q, want %q", what, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// The informer serves nothing before every kind is listed.
	must(stores[object.Pods].Replace(decodedAll(t, fixture.Web(0), fixture.Web(1)), "1"))
	must(stores[object.Services].Replace(decodedAll(t, fixture.Nginx()), "1"))
	apply()
	check("not all is listed", "outside")
	must(stores[object.EndpointSlices].Replace(nil, "1"))
	must(stores[object.LeftoverSlices].Replace(nil, "1"))
	apply()
	check("all is listed", "10.244.0.1, 10.244.0.2")
	select {
	case <-p.Synced():
	default:
		t.Error("the informer is not synced")
	}

	// A list replaces all: web-0 was deleted while nobody watched, web-2 was created.
	must(stores[object.Pods].Replace(decodedAll(t, fixture.Web(1), fixture.Web(2)), "2"))
	apply()
	check("a relist", "10.244.0.2, 10.244.0.3")

	// A deletion with only the name, and one of an object that is not stored.
	must(stores[object.Pods].Delete(cache.DeletedFinalStateUnknown{Key: "default/web-1"}))
	must(stores[object.Pods].Delete(decodedAll(t, fixture.Web(7))[0]))
	apply()
	check("a missed deletion", "10.244.0.3")

	// Changes that DNS does not see publish nothing. A drain publishes once.
	before := len(p.published)
	must(stores[object.Pods].Update(decodedAll(t, fixture.Web(2, func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }))[0]))
	must(stores[object.Pods].Update(decodedAll(t, fixture.Web(0, func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} }))[0]))
	must(stores[object.Services].Update(decodedAll(t, fixture.Nginx(func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} }))[0]))
	must(stores[object.Pods].Replace(decodedAll(t, fixture.Web(2)), "3"))
	apply()
	if n := len(p.published); n != before {
		t.Errorf("%d publications without a change", n-before)
	}
	for i := range 5 {
		must(stores[object.Pods].Add(decodedAll(t, fixture.Web(10+i))[0]))
	}
	apply()
	if n := len(p.published); n != before+1 || p.published[n-1] != 1 {
		t.Errorf("five pods of a service in one drain publish %v", p.published[before:])
	}

	// A transformed object is accepted. Anything else is an error.
	slimmed, err := stores[object.Pods].Transformer()(decodedAll(t, fixture.Web(1))[0])
	must(err)
	must(stores[object.Pods].Replace([]any{slimmed}, "4"))
	apply()
	check("a transformed list", "10.244.0.2")
	if err := stores[object.Pods].Add(&corev1.ConfigMap{}); err == nil || !strings.Contains(err.Error(), "ConfigMap") {
		t.Errorf("a ConfigMap is accepted: %v", err)
	}
	if err := stores[object.Pods].Replace([]any{&corev1.ConfigMap{}}, "5"); err == nil {
		t.Error("a list of ConfigMaps is accepted")
	}
	if err := stores[object.Pods].Delete(7); err == nil {
		t.Error("the deletion of a number is accepted")
	}

	// A bookmark counts as received.
	received := p.received[object.Services]
	must(stores[object.Services].Bookmark("9"))
	if p.received[object.Services] != received+1 {
		t.Error("the hook received no bookmark")
	}
}
