package records

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// answerPTR answers a query for the reverse name of the address of manyNamesTrie.
func answerPTR(trie *Trie, q Query) (Answer, Result) {
	node, result := trie.FindAddr(ipv4(1))
	q.Name, q.Zone = "1.0.0.10.in-addr.arpa.", "cluster.local."
	return node.Answer(&q), result
}

// TestNameSet adds and removes many names of a few addresses in turn, and compares with
// the oracle, also with labels that collide.
func TestNameSet(t *testing.T) {
	for _, mask := range []uint32{^uint32(0), 1} {
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			setHashMask(t, mask)
			rng := rand.New(rand.NewPCG(3, uint64(mask)))
			trie, o := New(), oracle{}
			trie.EnableCovers()
			names := []string{"1.0.0.10.in-addr.arpa.", "2.0.0.10.in-addr.arpa.", "3.0.0.10.in-addr.arpa."}
			before, crossed := 0, 0 // names of the first address; changes between few and many
			for round := range 300 {
				growing := round/25%2 == 0
				update := trie.Update()
				for range 1 + rng.IntN(40) {
					randomNameChange(rng, update, o, growing)
				}
				update.Commit()
				for _, name := range names {
					compareName(t, trie, o, name, dns.TypePTR)
					compareName(t, trie, o, name, dns.TypeA)
				}
				compareReverseImage(t, trie, o, names)
				if got, want := trie.Stats(), o.stats(); got != want {
					t.Fatalf("the statistics are %+v, want %+v", got, want)
				}
				_, data := o.find(names[0], dns.TypePTR)
				if (len(data) > maxEntries) != (before > maxEntries) {
					crossed++
				}
				before = len(data)
			}
			if crossed < 4 {
				t.Errorf("the names of an address became many or few %d times, want at least 4", crossed)
			}
		})
	}
}

// randomNameChange makes a random change of the update and of the oracle: most often an
// addition if growing, else a removal.
func randomNameChange(rng *rand.Rand, update *Update, o oracle, growing bool) {
	key := ServiceKey{fmt.Sprint("ns-", rng.IntN(2)), fmt.Sprint("s-", rng.IntN(20))}
	endpoints, exists := o[key]
	adds := rng.IntN(8) > 0 == growing
	switch {
	case !exists:
		update.Create(key)
		o[key] = nil
	case rng.IntN(12) == 0: // a later change of the update may create it again
		update.Delete(key)
		delete(o, key)
	case !adds && len(endpoints) > 0:
		e := endpoints[rng.IntN(len(endpoints))]
		update.Remove(key, e)
		o.remove(key, e)
	case adds:
		e := Endpoint{Host: strings.Repeat("w", 1+rng.IntN(4)), Hostname: rng.IntN(3) > 0, Addr: ipv4(1 + rng.IntN(3))}
		update.Add(key, e)
		o[key] = append(o[key], e)
	}
}

// compareReverseImage compares the reverse names of an image with the oracle.
func compareReverseImage(t *testing.T, trie *Trie, o oracle, names []string) {
	t.Helper()
	got := map[string][]string{}
	for addr, node := range trie.Image().Addrs() {
		name, _ := dns.ReverseAddr(addr.String())
		for _, rr := range node.Answer(&Query{Name: name, Type: dns.TypePTR, Zone: "cluster.local.", Size: 1 << 30}).Records {
			got[name] = append(got[name], rr.(*dns.PTR).Ptr)
		}
	}
	for _, name := range names {
		_, want := o.find(name, dns.TypePTR)
		slices.Sort(got[name])
		if !slices.Equal(got[name], want) {
			t.Fatalf("the image has %q at %s, want %q", got[name], name, want)
		}
	}
}

// TestNameSetBudget bounds the allocations of a query for an address with many names: in
// proportion to the records in the reply, not to the names.
func TestNameSetBudget(t *testing.T) {
	cost := func(trie *Trie, rrtype uint16) float64 {
		return testing.AllocsPerRun(100, func() { answerPTR(trie, Query{Type: rrtype, Size: 512, Start: 1}) })
	}
	small, large := manyNamesTrie(100), manyNamesTrie(10_000)
	for rrtype, most := range map[uint16]float64{dns.TypePTR: 30, dns.TypeA: 1, dns.TypeAAAA: 1} {
		few, many := cost(small, rrtype), cost(large, rrtype)
		if many > few || many > most {
			t.Errorf("%s makes %v allocations with 10,000 names, %v with 100, want at most %v", dns.TypeToString[rrtype], many, few, most)
		}
	}
}

// TestNameSetUpdateBudget bounds what a change copies of the names of an address.
func TestNameSetUpdateBudget(t *testing.T) {
	cost := func(n int) uint64 {
		trie := manyNamesTrie(n)
		const changes = 500
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range changes {
			key := ServiceKey{"default", fmt.Sprint("s-", i/2*7%n)}
			update := trie.Update()
			if e := (Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(1)}); i%2 == 0 {
				update.Remove(key, e)
			} else {
				update.Add(key, e)
			}
			update.Commit()
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / changes
	}
	small, large := cost(100), cost(10_000)
	t.Logf("a change of one name of 100 allocates %d bytes, of 10,000 %d", small, large)
	if large > 8<<10 || large > 3*small {
		t.Errorf("a change of one name of 10,000 allocates %d bytes, of 100 %d", large, small)
	}
}

// TestNameSetWindow checks that a truncated reply starts at any name, and that a
// complete one has all names.
func TestNameSetWindow(t *testing.T) {
	const n = 300
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		update.Add(key, Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(1)})
		update.Add(key, Endpoint{Host: fmt.Sprint("generated-", i), Addr: ipv4(1)})
	}
	update.Commit()
	targets := func(a Answer) map[string]bool {
		out := map[string]bool{}
		for _, rr := range a.Records {
			out[rr.(*dns.PTR).Ptr] = true
		}
		return out
	}
	seen := map[string]bool{}
	for start := range uint64(n) {
		a, _ := answerPTR(trie, Query{Type: dns.TypePTR, Size: 512, Start: start*1e9 + start})
		here := targets(a)
		if !a.Truncated || len(a.Records) < 5 || len(here) != len(a.Records) {
			t.Fatalf("from %d there are %d records, %d of them different, truncated: %v", start, len(a.Records), len(here), a.Truncated)
		}
		for target := range here {
			seen[target] = true
		}
	}
	a, _ := answerPTR(trie, Query{Type: dns.TypePTR, Size: 1 << 16, Start: 7})
	if len(seen) != n || len(a.Records) != n || a.Truncated {
		t.Errorf("all replies together have %d of %d names, and a complete reply has %d", len(seen), n, len(a.Records))
	}
	for target := range targets(a) {
		if !seen[target] || !strings.HasPrefix(target, "web-") {
			t.Errorf("the complete reply has %s", target)
		}
	}
}

// TestNameSetLongNames checks that names too long for the zone cost nothing, and that a
// reply without them is not truncated.
func TestNameSetLongNames(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	for _, short := range []int{0, 1, 40} {
		trie := New()
		update := trie.Update()
		for i := range 1000 {
			key := ServiceKey{long, fmt.Sprintf("%s%05d", long[5:], i)}
			update.Create(key)
			update.Add(key, Endpoint{Host: long, Hostname: true, Addr: ipv4(1)})
		}
		for i := range short {
			key := ServiceKey{"default", fmt.Sprint("s-", i)}
			update.Create(key)
			update.Add(key, Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(1)})
		}
		update.Commit()
		// The labels left of the zone take 197 bytes on the wire, with the root.
		zone := strings.Repeat("z", 59-len(".test.")) + ".test."
		for _, start := range []uint64{0, 39, 999} {
			node, result := trie.FindAddr(ipv4(1))
			q := Query{Name: "1.0.0.10.in-addr.arpa.", Type: dns.TypePTR, Zone: zone, Size: 1 << 15, Start: start}
			if a := node.Answer(&q); result != Found || len(a.Records) != short || a.Truncated {
				t.Errorf("with %d short names, the lookup is %v with %d records, truncated: %v", short, result, len(a.Records), a.Truncated)
			}
			if n := testing.AllocsPerRun(10, func() { node.Answer(&q) }); n > float64(10+4*short) {
				t.Errorf("an answer of %d short names makes %v allocations", short, n)
			}
			q.Zone = zone[1:] // one byte shorter, so that all names are short enough
			if a := node.Answer(&q); len(a.Records) < 100 || !a.Truncated {
				t.Errorf("in a shorter zone there are %d records, truncated: %v", len(a.Records), a.Truncated)
			}
		}
	}
}

// TestNameSetBehind looks up an address after the snapshots are published and before the
// index is. A name that lost the address must be left out.
func TestNameSetBehind(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	for i := range 2 * maxEntries {
		update.Add(nginx, Endpoint{Host: fmt.Sprint("web-", i), Hostname: i%2 == 0, Addr: ipv4(1)})
	}
	update.Commit()
	publish := func(gone func(i int) bool) {
		update := trie.Update()
		for i := range 2 * maxEntries {
			if gone(i) {
				update.Remove(nginx, Endpoint{Host: fmt.Sprint("web-", i), Hostname: i%2 == 0, Addr: ipv4(1)})
			}
		}
		p := update.pending[0]
		p.change.sum()
		p.service.snapshot.Store(p.base.with(&p.change))
	}
	for _, tc := range []struct {
		what string
		gone func(i int) bool
		want int
	}{
		{"half of the hostnames lose the address", func(i int) bool { return i%4 == 0 }, maxEntries / 2},
		{"all hostnames lose the address", func(i int) bool { return i%4 == 2 }, maxEntries},
		{"all names lose the address", func(i int) bool { return i%2 == 1 }, 0},
	} {
		publish(tc.gone)
		a, result := answerPTR(trie, Query{Type: dns.TypePTR, Size: 1 << 16})
		if len(a.Records) != tc.want || (result == Found) != (tc.want > 0) {
			t.Errorf("%s: the lookup is %v with %d names, want %d", tc.what, result, len(a.Records), tc.want)
		}
	}
}

func BenchmarkNameSet(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		trie := manyNamesTrie(n)
		for _, rrtype := range []uint16{dns.TypePTR, dns.TypeA} {
			b.Run(fmt.Sprintf("%s/n=%d", dns.TypeToString[rrtype], n), func(b *testing.B) {
				b.ReportAllocs()
				for i := uint64(0); b.Loop(); i++ {
					answerPTR(trie, Query{Type: rrtype, Size: 512, Start: i})
				}
			})
		}
		b.Run(fmt.Sprint("change/n=", n), func(b *testing.B) {
			b.ReportAllocs()
			key, e := ServiceKey{"default", "s-0"}, Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(1)}
			for i := 0; b.Loop(); i++ {
				update := trie.Update()
				if i%2 == 0 {
					update.Remove(key, e)
				} else {
					update.Add(key, e)
				}
				update.Commit()
			}
		})
	}
}
