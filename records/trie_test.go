package records

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestTrie compares the trie with the oracle after random updates, also with labels that
// collide and one service in each portion.
func TestTrie(t *testing.T) {
	for _, mask := range []uint32{^uint32(0), 1} {
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			setHashMask(t, mask)
			if mask == 1 {
				setPortionSize(t, 1)
			}
			for seed := range uint64(8) {
				u := universe{Rand: rand.New(rand.NewPCG(seed, uint64(mask))), long: seed%2 == 1, zonal: seed%4 > 1, external: map[ServiceKey]bool{}}
				trie, o := u.trie(), oracle{}
				names := u.names()
				for round := range 40 {
					randomUpdate(u, trie, o)
					compare(t, trie, o, names)
					if round%4 == 3 {
						compareExternal(t, u, trie, o)
					}
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// TestTrieEmpties checks that a trie without services has no namespaces or addresses.
func TestTrieEmpties(t *testing.T) {
	u := universe{Rand: rand.New(rand.NewPCG(7, 7)), long: true, zonal: true, external: map[ServiceKey]bool{}}
	trie, o := u.trie(), oracle{}
	for range 50 {
		randomUpdate(u, trie, o)
	}
	update := trie.Update()
	for key, endpoints := range o {
		for _, e := range endpoints {
			update.Remove(key, e)
		}
		update.Delete(key)
	}
	update.Commit()
	compare(t, trie, oracle{}, u.names())
	if n, external := trie.all.namespaces.Load().n, trie.external.namespaces.Load().n; n != 0 || external != 0 {
		t.Errorf("an empty trie has %d namespaces, and %d with external services", n, external)
	}
	if left := len(slices.Collect(trie.v4.load().all)) + len(slices.Collect(trie.v6.load().all)); left != 0 {
		t.Errorf("an empty trie has %d names of addresses", left)
	}
}

// TestFindOddNames checks that names with escapes, wildcards and names of any length are
// Missing, but for those of topology zones.
func TestFindOddNames(t *testing.T) {
	trie := podTrie(3)
	trie.EnableZones()
	const base = "nginx.default.svc.cluster.local."
	for _, zone := range []string{strings.Repeat(`\000`, 63), strings.Repeat(`\000`, 62) + "." + strings.Repeat("a", 40), strings.Repeat("a.", 100) + "a", `a\.b`, `\\`} {
		for _, directive := range []string{"pin", "prefer"} { // any zone exists, and nobody is in these
			result, data, _ := lookup(trie, zone+"."+directive+"._zone."+base, dns.TypeAAAA)
			if result != Found || directive == "pin" && len(data) > 0 {
				t.Errorf("the lookup of zone %s with %q is %v with records %q", zone, directive, result, data)
			}
		}
	}
	for _, prefix := range []string{
		strings.Repeat(`\000`, 55), strings.Repeat(`\000`, 63), strings.Repeat(`a.`, 110) + "a", strings.Repeat(`\000.`, 60) + "a",
		strings.Repeat(`\.`, 63), `\\`, `\095tcp`, "*", "",
	} {
		name := prefix + "." + base
		if result, data, _ := lookup(trie, name, dns.TypeA); result != Missing {
			t.Errorf("the lookup of %s is %v with records %q, want Missing", name, result, data)
		}
	}
}

// FuzzFind looks for names that crash a lookup, or that it takes for another name.
func FuzzFind(f *testing.F) {
	u := universe{Rand: rand.New(rand.NewPCG(1, 2)), long: true, zonal: true}
	uc := universe{Rand: u.Rand, clusterset: true}
	trie, o := u.trie(), oracle{}
	clusterset, oc := uc.trie(), oracle{}
	for range 20 {
		randomUpdate(u, trie, o)
		randomUpdate(uc, clusterset, oc)
	}
	oc = oc.ofClusterset()
	const base = "nginx.default.svc.cluster.local."
	for i, name := range append(append(u.names(), uc.names()...), ".", "Web-0.NGINX.default.SVC.cluster.local.", `\000.`+base, `x\.`+base, `x\\.`+base,
		`a\.svc.cluster.local.`, `nginx.default.svc\.cluster.local.`, "00.0.244.10.in-addr.arpa.", strings.Repeat(`\000`, 63)+"."+base) {
		f.Add(name, uint8(i))
	}
	f.Fuzz(func(t *testing.T, name string, rrtype uint8) {
		if _, ok := dns.IsDomainName(name); ok && dns.IsFqdn(name) {
			compareName(t, trie, o, name, allTypes[int(rrtype)%len(allTypes)])
			compareName(t, clusterset, oc, name, allTypes[int(rrtype)%len(allTypes)])
		}
	})
}
