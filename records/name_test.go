package records

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func labelsOf(n *Name) []string {
	out := []string{}
	for i := range n.Len() {
		out = append(out, string(n.Label(i)))
	}
	return out
}

func TestFold(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels []string // right to left
	}{
		{".", []string{}},
		{"local.", []string{"local"}},
		{"Web-0.NGINX.default.svc.Cluster.Local.", []string{"local", "cluster", "svc", "default", "nginx", "web-0"}},
		{"_Web._TCP.nginx.", []string{"nginx", "_tcp", "_web"}},
		// An escaped dot is part of its label; an escaped backslash escapes no dot.
		{`a\.b.nginx.`, []string{"nginx", `a\.b`}},
		{`a\\.nginx.`, []string{"nginx", `a\\`}},
		{`\255\000.nginx.`, []string{"nginx", `\255\000`}},
	} {
		var n Name
		n.Fold(test.name)
		if got := labelsOf(&n); !slices.Equal(got, test.labels) {
			t.Errorf("Fold(%q) has labels %q, want %q", test.name, got, test.labels)
		}
		if n.Len() > 0 {
			if got, want := string(n.suffix(n.Len()-1)), strings.ToLower(test.name); got != want {
				t.Errorf("Fold(%q) has suffix %q, want %q", test.name, got, want)
			}
		}
	}
}

// TestFoldLongNames checks that a name longer than maxName keeps the labels nearest to
// the root, below an empty label. The DNS library splits the names for comparison.
func TestFoldLongNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 254))
	for _, first := range []string{"", `\.`, `\\.`, `x\\.`, `\\\.`, "nginx.", `\000.`} {
		for length := maxName - 20; length < maxName+60; length++ {
			name := first + "nginx.default.svc."
			for len(name) < length-10 {
				name += pick(universe{Rand: rng}, "z", `\.`, `\\`, `z\\`, `\255`) + "."
			}
			name += strings.Repeat("y", max(0, length-len(name)-1)) + "."
			if _, ok := dns.IsDomainName(name); !ok {
				t.Fatalf("%q is no domain name", name)
			}
			want := dns.SplitDomainName(name)
			slices.Reverse(want)
			if len(name) > maxName {
				n, size := 0, 1 // with the dot left of the labels
				for size+len(want[n])+1 <= maxName {
					size += len(want[n]) + 1
					n++
				}
				want = append(want[:n:n], "")
			}
			var n Name
			n.Fold(name)
			if got := labelsOf(&n); !slices.Equal(got, want) {
				t.Fatalf("Fold(%q), of %d bytes, has labels %q, want %q", name, len(name), got, want)
			}
		}
	}
}

func TestReverse(t *testing.T) {
	for _, address := range []string{"10.244.1.5", "0.0.0.0", "255.255.255.255", "::1", "fd00:10:244::5", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"} {
		reverse, err := dns.ReverseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{reverse, strings.ToUpper(reverse)} {
			var n Name
			n.Fold(name)
			if got, ok := n.Reverse(); !ok || got != netip.MustParseAddr(address) {
				t.Errorf("Reverse of %q is %v, %v, want %s", name, got, ok, address)
			}
		}
	}
	for _, name := range []string{
		"in-addr.arpa.", "1.244.10.in-addr.arpa.", "1.5.1.244.10.in-addr.arpa.", "256.1.244.10.in-addr.arpa.",
		"05.1.244.10.in-addr.arpa.", "5x.1.244.10.in-addr.arpa.", "5.1.244.10.in-addr.local.", "5.1.244.10.ip6.arpa.",
		"1000.1.244.10.in-addr.arpa.",
		strings.Repeat("0.", 31) + "ip6.arpa.", strings.Repeat("0.", 33) + "ip6.arpa.", "g." + strings.Repeat("0.", 31) + "ip6.arpa.",
		"00." + strings.Repeat("0.", 31) + "ip6.arpa.",
	} {
		var n Name
		n.Fold(name)
		if got, ok := n.Reverse(); ok {
			t.Errorf("Reverse of %q is %v, want none", name, got)
		}
	}
}
