package informer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/headless-dns/headless/records"
)

// TestSliceWithout checks that of two slices the same endpoints are left out, and
// none where all endpoints differ in their service or ports.
func TestSliceWithout(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func() *endpointSlice {
		s := &endpointSlice{service: fmt.Sprint(rng.IntN(2)), ports: records.NewPortList([]records.Port{{Number: uint16(80 + rng.IntN(2))}})}
		for range rng.IntN(5) {
			s.endpoints = append(s.endpoints, endpoint{addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(2))})})
		}
		return s
	}
	left := func(s, other *endpointSlice) map[endpoint]int {
		out := map[endpoint]int{}
		for _, e := range s.endpoints {
			out[e]++
		}
		for _, e := range s.without(other) {
			if out[e]--; out[e] == 0 {
				delete(out, e)
			}
		}
		return out
	}
	for range 3000 {
		a, b := random(), random()
		of, with := left(a, b), left(b, a)
		if !maps.Equal(of, with) {
			t.Fatalf("of %+v %v are left out, of %+v %v", a, of, b, with)
		}
		if (a.service != b.service || !a.ports.Equal(b.ports)) && len(of) > 0 {
			t.Fatalf("of %+v %v are left out, though %+v has another service or port", a, of, b)
		}
		if !slices.Equal(a.without(nil), a.endpoints) {
			t.Fatalf("%+v has %v beside nothing", a, a.without(nil))
		}
	}
	// One change in the middle of many is one endpoint.
	a := &endpointSlice{endpoints: slices.Repeat([]endpoint{{pod: "a"}, {pod: "b"}}, 50)}
	b := &endpointSlice{endpoints: slices.Clone(a.endpoints)}
	b.endpoints[41].ready = true
	if got := b.without(a); len(got) != 1 || !got[0].ready {
		t.Errorf("a change of one endpoint is %v", got)
	}
}
