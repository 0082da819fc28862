package records

import (
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
			if got, want := string(n.Suffix(n.Len()-1)), strings.ToLower(test.name); got != want {
				t.Errorf("Fold(%q) has suffix %q, want %q", test.name, got, want)
			}
		}
	}
}

// A name that is too long for its text keeps what is nearest to the zone, and
// can't be taken for the name that is left of it.
func TestFoldLongNames(t *testing.T) {
	const service = "nginx.default.svc.cluster.local."
	for _, prefix := range []string{
		strings.Repeat("a.", 111),                                       // 254 bytes, the longest on the wire
		strings.Repeat(`\000`, 55) + ".",                                // one label, too long as text
		strings.Repeat(`\.`, 63) + "." + strings.Repeat(`\.`, 63) + ".", // dots that separate nothing
		strings.Repeat(`\000.`, 110),
	} {
		name := prefix + service
		if _, ok := dns.IsDomainName(name); !ok {
			t.Fatalf("%q is no domain name", name)
		}
		var n Name
		n.Fold(name)
		got := labelsOf(&n)
		if len(got) < 6 || !slices.Equal(got[:5], []string{"local", "cluster", "svc", "default", "nginx"}) {
			t.Errorf("Fold(%q) has labels %q", name, got)
			continue
		}
		for _, l := range got[5:] {
			if l == "a" && len(name) > maxName {
				t.Errorf("Fold(%q) has label %q, which a host may have", name, l)
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
				t.Errorf("%q is the reverse name of %v (%v), want %s", name, got, ok, address)
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
			t.Errorf("%q is taken for the reverse name of %v", name, got)
		}
	}
}
