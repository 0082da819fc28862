package informer

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestKnown checks that what is decoded again is what the join holds, and that a
// relist so keeps nothing.
func TestKnown(t *testing.T) {
	i, _ := newWorld(100)
	c := newCodec(i.join.known)
	info, _ := runtime.SerializerInfoForMediaType(c.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	d := c.DecoderToVersion(info.Serializer, nil)
	decode := func(o runtime.Object) object {
		got, _, err := d.Decode(encoded(t, o), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.(*decoded).object
	}
	slice := newSlice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}})
	i.apply([]event{eventOf(newPod(newWeb(0))), eventOf(newEndpointSlice(slice)), eventOf(newService(newNginx()))})
	held := i.join.namespaces["default"]
	if decode(newWeb(0)) != object(held.pods["web-0"]) || decode(newNginx()) != object(held.services["nginx"].service) || decode(slice) != object(held.slices["by-hand"]) {
		t.Error("an object that is held is made anew")
	}
	if decode(newWeb(0, notReady)) == object(held.pods["web-0"]) {
		t.Error("an object that changed is taken for the one that is held")
	}
	for _, o := range []runtime.Object{newWeb(1), newWeb(0, func(p *corev1.Pod) { p.Namespace = "prod" })} {
		if got := decode(o); got.id() == (key{}) {
			t.Errorf("%v is lost", o)
		}
	}
	if got := decode(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}); fmt.Sprint(got.id()) != "default" {
		t.Errorf("a namespace is %v", got)
	}
}
