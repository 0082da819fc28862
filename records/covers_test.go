package records

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// TestCovers compares Covers with a search through all addresses.
func TestCovers(t *testing.T) {
	u := universe{Rand: rand.New(rand.NewPCG(9, 9))}
	trie, o := New(), oracle{}
	if trie.Covers(netip.MustParsePrefix("0.0.0.0/0")) {
		t.Error("Covers reports true before EnableCovers")
	}
	trie.EnableCovers()
	for range 60 {
		randomUpdate(u, trie, o)
		for _, text := range []string{
			"10.0.0.0/8", "10.244.0.0/16", "10.244.0.0/24", "10.244.0.3/32", "10.244.0.8/29", "11.0.0.0/8", "9.0.0.0/8",
			"fd00::/16", "fd00::/124", "fd00::2/128", "fc00::/8", "fe00::/8",
		} {
			p := netip.MustParsePrefix(text)
			want := false
			for key := range o {
				want = want || slices.ContainsFunc(o.named(key), func(e Endpoint) bool { return p.Contains(e.Addr) })
			}
			if got := trie.Covers(p); got != want {
				t.Fatalf("Covers(%s) is %v, want %v", p, got, want)
			}
		}
	}
}
