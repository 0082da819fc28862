package object

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/headless-dns/headless/records"
)

// TestSliceWithout checks that two slices leave out the same endpoints, and none if they
// differ in their service or ports.
func TestSliceWithout(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func() *EndpointSlice {
		s := &EndpointSlice{Service: fmt.Sprint(rng.IntN(2)), Ports: records.NewPortList([]records.Port{{Number: uint16(80 + rng.IntN(2))}})}
		for range rng.IntN(5) {
			s.Endpoints = append(s.Endpoints, Endpoint{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(2))})})
		}
		return s
	}
	left := func(s, other *EndpointSlice) map[Endpoint]int {
		out := map[Endpoint]int{}
		for _, e := range s.Endpoints {
			out[e]++
		}
		for _, e := range s.Without(other) {
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
		if (a.Service != b.Service || !a.Ports.Equal(b.Ports)) && len(of) > 0 {
			t.Fatalf("of %+v %v are left out, though %+v has another service or port", a, of, b)
		}
		if !slices.Equal(a.Without(nil), a.Endpoints) {
			t.Fatalf("%+v has %v beside nothing", a, a.Without(nil))
		}
	}
	// A change of one endpoint among many leaves one.
	a := &EndpointSlice{Endpoints: slices.Repeat([]Endpoint{{Name: "a"}, {Name: "b"}}, 50)}
	b := &EndpointSlice{Endpoints: slices.Clone(a.Endpoints)}
	b.Endpoints[41].Ready = true
	if got := b.Without(a); len(got) != 1 || !got[0].Ready {
		t.Errorf("a change of one endpoint is %v", got)
	}
}
