package records

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestImage compares images of random tries with the oracle. An image must have every
// name that has records, once, and no other name.
func TestImage(t *testing.T) {
	setPortionSize(t, 1)
	for seed := range uint64(10) {
		u := universe{Rand: rand.New(rand.NewPCG(seed, 5)), long: seed%2 == 1, zonal: seed%4 > 1, external: map[ServiceKey]bool{}}
		trie, o := u.trie(), oracle{}
		for range 30 {
			randomUpdate(u, trie, o)
			compareImage(t, u, trie.Image(), o, clusterLocal)
			compareExternalImage(t, u, trie.Image())
		}
	}
}

// compareImage compares the record sets of an image with the oracle.
func compareImage(t *testing.T, u universe, image *Image, o oracle, zone *Zone) {
	t.Helper()
	got := map[string]string{}
	add := func(name string, node Node) {
		for _, rrtype := range Types {
			var data []string
			for rrs := range node.All(&Query{Name: name, Type: rrtype, Zone: "cluster.local."}) {
				for _, rr := range rrs {
					data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
				}
			}
			slices.Sort(data)
			if key := name + " " + dns.TypeToString[rrtype]; len(data) > 0 {
				if _, ok := got[key]; ok {
					t.Fatalf("the image has %s twice", key)
				}
				got[key] = strings.Join(data, ", ")
			}
		}
	}
	for name, node := range image.Names(zone) {
		add(name, node)
	}
	for addr, node := range image.Addrs() {
		name, _ := dns.ReverseAddr(addr.String())
		add(name, node)
	}
	n := 0
	names := u.names()
	for i, name := range names {
		names[i] = foldASCII(name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		for _, rrtype := range Types {
			_, want := o.find(name, rrtype)
			if len(want) == 0 || zone.Clusterset && rrtype == dns.TypePTR {
				continue
			}
			n++
			if key := name + " " + dns.TypeToString[rrtype]; got[key] != strings.Join(want, ", ") {
				t.Fatalf("the image has %q at %s, want %q", got[key], key, want)
			}
		}
	}
	if n != len(got) {
		t.Fatalf("the image has %d record sets, want %d", len(got), n)
	}
}

// TestImageIsOneState takes images while an address moves between services. Each image
// must have the address at exactly one of them, and the same name in the reverse
// index.
func TestImageIsOneState(t *testing.T) {
	keys := []ServiceKey{{"default", "a"}, {"default", "b"}}
	e := Endpoint{Host: "db-0", Hostname: true, Addr: ipv4(1)}
	trie := New()
	update := trie.Update()
	update.Create(keys[0])
	update.Create(keys[1])
	update.Add(keys[0], e)
	for i := range 2000 { // so that an image takes time
		update.Create(ServiceKey{"default", fmt.Sprint("other-", i)})
	}
	update.Commit()

	var stop atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for round := 0; !stop.Load(); round++ {
			update := trie.Update()
			update.Remove(keys[round%2], e)
			update.Add(keys[(round+1)%2], e)
			update.Commit()
		}
	})
	for range 500 {
		image := trie.Image()
		var forward, reverse []string
		for name, node := range image.Names(clusterLocal) {
			if node.host != nil {
				forward = append(forward, name)
			}
		}
		for _, node := range image.Addrs() {
			for _, rr := range node.Answer(&Query{Name: "1.0.0.10.in-addr.arpa.", Type: dns.TypePTR, Zone: "cluster.local.", Size: 512}).Records {
				reverse = append(reverse, rr.(*dns.PTR).Ptr)
			}
		}
		if len(forward) != 1 || !slices.Equal(forward, reverse) {
			t.Errorf("an image has the names %v, and the reverse names give %v", forward, reverse)
			break
		}
	}
	stop.Store(true)
	writer.Wait()
}

// TestImageBudget checks that an image, for which commits wait, allocates nothing for
// addresses.
func TestImageBudget(t *testing.T) {
	cost := func(hosts int) float64 {
		trie := podTrie(hosts)
		const images = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range images {
			trie.Image()
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / images
	}
	if small, large := cost(10), cost(30_000); large > small+512 || large > 6<<10 {
		t.Errorf("an image of 60,000 addresses allocates %v bytes, of 20 %v", large, small)
	}
}
