package informer

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// TestReuse checks that decoding an unchanged object returns the stored one, so that a
// relist takes no memory.
func TestReuse(t *testing.T) {
	i, _ := newWorld(100)
	c := object.NewCodec(i.joiner.reuse, false)
	info, _ := runtime.SerializerInfoForMediaType(c.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	d := c.DecoderToVersion(info.Serializer, nil)
	decode := func(o runtime.Object) object.Object {
		got, _, err := d.Decode(fixture.Encode(t, o), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.(*object.Decoded).Object
	}
	slice := fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}})
	i.apply([]event{eventOf(object.NewPod(fixture.Web(0))), eventOf(object.NewEndpointSlice(slice)), eventOf(object.NewService(fixture.Nginx()))})
	held := i.joiner.namespaces["default"]
	if decode(fixture.Web(0)) != object.Object(held.pods["web-0"]) || decode(fixture.Nginx()) != object.Object(held.services["nginx"].Service) || decode(slice) != object.Object(held.slices["by-hand"]) {
		t.Error("an unchanged object is not reused")
	}
	i.joiner.imports = newImports(records.NewClusterset())
	imported := fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1"))
	if got := decode(imported); got.ID().Name != "c1-a" {
		t.Errorf("an imported slice is %v", got)
	}
	i.apply([]event{importEvent(), eventOf(object.NewEndpointSlice(imported))})
	with := i.joiner.imports.namespaces["default"]
	if decode(imported) != object.Object(with.slices["c1-a"]) || i.joiner.reuse(object.NewServiceImport(fixture.Import("nginx"), "Headless")) != object.Object(with.imports["nginx"]) {
		t.Error("an unchanged import or slice is not reused")
	}
	if other := object.NewServiceImport(fixture.Import("nginx"), "ClusterSetIP"); i.joiner.reuse(other) != object.Object(other) {
		t.Error("a changed import counts as unchanged")
	}
	if got := decode(fixture.Imported("c1-a", "nginx", "c2", hostAt("web-0", "10.1.0.1"))); got == object.Object(with.slices["c1-a"]) {
		t.Error("a slice of another cluster counts as unchanged")
	}
	if decode(fixture.Web(0, fixture.NotReady)) == object.Object(held.pods["web-0"]) {
		t.Error("a changed object counts as unchanged")
	}
	for _, o := range []runtime.Object{fixture.Web(1), fixture.Web(0, func(p *corev1.Pod) { p.Namespace = "prod" })} {
		if got := decode(o); got.ID() == (object.Key{}) {
			t.Errorf("%v is lost", o)
		}
	}
	if got := decode(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}); fmt.Sprint(got.ID()) != "default" {
		t.Errorf("a namespace is %v", got)
	}
}
