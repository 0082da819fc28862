package headless

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// receive returns the records of a transfer.
func receive(t *testing.T, h *Headless, zone string, serial uint32) []dns.RR {
	t.Helper()
	ch, err := h.Transfer(zone, serial)
	if err != nil {
		t.Fatalf("transfer of %s: %v", zone, err)
	}
	var rrs []dns.RR
	for set := range ch {
		rrs = append(rrs, set...)
	}
	return rrs
}

// TestTransfer checks that a transfer begins and ends with the SOA and has each record once. A
// query for each of its names and types must return the same records.
func TestTransfer(t *testing.T) {
	checkTransfer(t, startAuthoritative(t), map[string]int{"cluster.local.": 25, "244.10.in-addr.arpa.": 6, "ip6.arpa.": 4})
}

// TestTransferAddressed checks that a transfer has the hosts whose pods are not ready, and nothing
// more of them.
func TestTransferAddressed(t *testing.T) {
	h := startTestHeadless(t, "headless cluster.local 10.in-addr.arpa {\nauthoritative\nhosts addressed\nmanifests "+explainManifests(t)+"\n}")
	checkTransfer(t, h, map[string]int{"cluster.local.": 20, "10.in-addr.arpa.": 6})
	var got []string
	for _, zone := range []string{"cluster.local.", "10.in-addr.arpa."} {
		for _, rr := range receive(t, h, zone, 0) {
			if text := strings.Join(strings.Fields(rr.String()), " "); strings.Contains(text, "start") || strings.Contains(text, "web-1") {
				got = append(got, text)
			}
		}
	}
	slices.Sort(got)
	if want := []string{
		"1.1.0.10.in-addr.arpa. 5 IN PTR start-0.starting.default.svc.cluster.local.",
		"2.0.0.10.in-addr.arpa. 5 IN PTR web-1.nginx.default.svc.cluster.local.",
		"2.1.0.10.in-addr.arpa. 5 IN PTR start-1.starting.default.svc.cluster.local.",
		"3.1.0.10.in-addr.arpa. 5 IN PTR start-2.starting.default.svc.cluster.local.",
		"start-0.starting.default.svc.cluster.local. 5 IN A 10.0.1.1",
		"start-1.starting.default.svc.cluster.local. 5 IN A 10.0.1.2",
		"start-2.starting.default.svc.cluster.local. 5 IN A 10.0.1.3",
		"web-1.nginx.default.svc.cluster.local. 5 IN A 10.0.0.2",
	}; !slices.Equal(got, want) {
		t.Errorf("got the records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func checkTransfer(t *testing.T, h *Headless, zones map[string]int) {
	t.Helper()
	<-time.After(h.trie.SerialDelay()) // the serial is constant from then on
	for zone, least := range zones {
		rrs := receive(t, h, zone, 0)
		if len(rrs) < least {
			t.Errorf("%s: got %d records, want at least %d", zone, len(rrs), least)
		}
		first, last := rrs[0], rrs[len(rrs)-1]
		if _, ok := first.(*dns.SOA); !ok || first.String() != last.String() {
			t.Errorf("%s: got first record %v and last record %v, want the SOA", zone, first, last)
		}
		type set struct {
			name   string
			rrtype uint16
		}
		sets := map[set][]string{}
		for _, rr := range rrs[1:] {
			s := set{rr.Header().Name, rr.Header().Rrtype}
			if slices.Contains(sets[s], rr.String()) {
				t.Errorf("%s: got %v twice", zone, rr)
			}
			sets[s] = append(sets[s], rr.String())
		}
		for s, want := range sets {
			_, m := ask(t, h, new(dns.Msg).SetQuestion(s.name, s.rrtype), &test.ResponseWriter{TCP: true})
			if m == nil {
				t.Errorf("%s %s: got no reply", s.name, dns.TypeToString[s.rrtype])
				continue
			}
			var got []string
			for _, rr := range m.Answer {
				got = append(got, rr.String())
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: a query returns %q, the transfer has %q", s.name, dns.TypeToString[s.rrtype], got, want)
			}
		}
	}
}

// TestTransferOfLongNames checks that a name that is too long does not break the transfer. A
// tenant may create such names.
func TestTransferOfLongNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	path := filepath.Join(t.TempDir(), "long.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, `
{apiVersion: v1, kind: Service, metadata: {name: %[1]s, namespace: %[1]s}, spec: {clusterIP: None, ports: [{name: %[1]s, port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, namespace: %[1]s, labels: {kubernetes.io/service-name: %[1]s}},
  addressType: IPv4, ports: [{name: %[1]s, port: 80}], endpoints: [{addresses: [192.0.2.1], hostname: %[1]s}, {addresses: [192.0.2.2], hostname: b}]}
`, long), 0o600); err != nil {
		t.Fatal(err)
	}
	zone := strings.Repeat("b.", 30) + "cluster.local."
	h := startTestHeadless(t, "headless "+zone+" in-addr.arpa {\nmanifests "+path+"\nauthoritative\n}")
	base := long + "." + long + ".svc." + zone
	found := map[string]bool{}
	for _, apex := range []string{zone, "in-addr.arpa."} {
		for _, rr := range receive(t, h, apex, 0) {
			wire := make([]byte, dns.MaxMsgSize)
			n, err := dns.PackRR(rr, wire, 0, nil, false)
			if err == nil {
				_, _, err = dns.UnpackRR(wire[:n], 0)
			}
			if err != nil {
				t.Errorf("pack and unpack %v: %v", rr, err)
			}
			found[rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]] = true
		}
	}
	for name, want := range map[string]bool{
		base + " A": true, base + " SRV": true, "b." + base + " A": true, long + "." + base + " A": false,
		"2.2.0.192.in-addr.arpa. PTR": true, "1.2.0.192.in-addr.arpa. PTR": false,
	} {
		if found[name] != want {
			t.Errorf("%s: got transferred %t, want %t", name, found[name], want)
		}
	}
}

// TestTransferBudget checks that the memory of a transfer scales with its records. A host with
// many addresses is the target of many ports: each port must not cost all addresses again.
func TestTransferBudget(t *testing.T) {
	const ports, addresses = 100, 1000
	var manifest strings.Builder
	manifest.WriteString("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, ports: [")
	var list []string
	for i := range ports {
		list = append(list, fmt.Sprintf("{name: p%d, port: %d}", i, 1+i))
	}
	fmt.Fprintf(&manifest, "%[1]s]}}\n---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, "+
		"metadata: {name: a, labels: {kubernetes.io/service-name: a}}, ports: [%[1]s], endpoints: [", strings.Join(list, ", "))
	for i := range addresses {
		fmt.Fprintf(&manifest, "{hostname: shared, addresses: [10.0.%d.%d]}, ", i/250, i%250)
	}
	manifest.WriteString("]}\n")
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte(manifest.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startTestHeadless(t, "headless cluster.local {\nmanifests "+path+"\nauthoritative\n}")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := len(receive(t, h, "cluster.local.", 0))
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; n < 2*addresses+3*ports || bytes > 1<<20 {
		t.Errorf("got a transfer of %d records in %d bytes, want at least %d records in at most %d bytes", n, bytes, 2*addresses+3*ports, 1<<20)
	}
}

// TestTransferBatches checks that a transfer has each SRV record of a service once, and yields
// them in small batches: there are hosts times ports.
func TestTransferBatches(t *testing.T) {
	const hosts, ports, most = 60, 100, 1024
	var list, endpoints []string
	for i := range ports {
		list = append(list, fmt.Sprintf("{name: p%d, port: %d}", i, 1+i))
	}
	for i := range hosts {
		endpoints = append(endpoints, fmt.Sprintf("{hostname: h%d, addresses: [10.0.0.%d]}", i, i))
	}
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, `
{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, ports: [%[1]s]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
  metadata: {name: a, labels: {kubernetes.io/service-name: a}}, ports: [%[1]s], endpoints: [%[2]s]}
`, strings.Join(list, ", "), strings.Join(endpoints, ", ")), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startTestHeadless(t, "headless cluster.local {\nmanifests "+path+"\nauthoritative\n}")
	ch, err := h.Transfer("cluster.local.", 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for rrs := range ch {
		if len(rrs) > most {
			t.Errorf("got %d records at a time, want at most %d", len(rrs), most)
		}
		for _, rr := range rrs {
			if _, ok := rr.(*dns.SRV); ok && rr.Header().Name == "a.default.svc.cluster.local." {
				if found[rr.String()] {
					t.Errorf("got %v twice", rr)
				}
				found[rr.String()] = true
			}
		}
	}
	if len(found) != hosts*ports {
		t.Errorf("got %d SRV records, want %d", len(found), hosts*ports)
	}
}

// TestTransferIsComplete checks that a transfer has the records that queries return.
func TestTransferIsComplete(t *testing.T) {
	h := startAuthoritative(t)
	transferred := map[string]bool{}
	for _, zone := range []string{"cluster.local.", "244.10.in-addr.arpa.", "ip6.arpa."} {
		for _, rr := range receive(t, h, zone, 0) {
			transferred[rr.String()] = true
		}
	}
	for _, tc := range slices.Concat(overlayCases, authoritativeCases) {
		if tc.Qname != dns.CanonicalName(tc.Qname) {
			continue
		}
		for _, rr := range tc.Answer {
			if _, ok := rr.(*dns.SOA); !ok && !transferred[rr.String()] && h.zones.Match(rr.Header().Name) != nil {
				t.Errorf("the transfer lacks %v", rr)
			}
		}
	}
}

// TestTransferOfNestedZones checks that only the nearest zone above a name has it, and that a
// zone has the delegations of the zones right below (RFC 1034, section 4.2.1).
func TestTransferOfNestedZones(t *testing.T) {
	h := startTestHeadless(t, nestedStanza)
	h.serverAddrs = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	for zone, tc := range map[string]struct{ children, has []string }{
		".": {[]string{"cluster.local.", "in-addr.arpa."},
			[]string{"web-0.nginx.default.svc.", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa."}},
		"cluster.local.":                  {[]string{"dual.default.svc.cluster.local.", "a.b.cluster.local."}, []string{"web-0.nginx.default.svc.cluster.local."}},
		"dual.default.svc.cluster.local.": {nil, []string{"web-0.nginx.default.svc.dual.default.svc.cluster.local."}},
		"a.b.cluster.local.":              {nil, []string{"web-0.nginx.default.svc.a.b.cluster.local."}},
		"in-addr.arpa.":                   {[]string{"244.10.in-addr.arpa."}, []string{"9.2.0.192.in-addr.arpa."}},
		"244.10.in-addr.arpa.":            {nil, []string{"5.1.244.10.in-addr.arpa."}},
	} {
		found := map[string]bool{}
		var children []string
		for _, rr := range receive(t, h, zone, 0)[1:] {
			name := rr.Header().Name
			found[name] = true
			if h.zones.Match(name).Name == zone {
				continue
			}
			switch rr := rr.(type) {
			case *dns.NS:
				children = append(children, name)
			case *dns.A:
				if !strings.HasPrefix(name, "ns.dns.") || !rr.A.Equal(net.IPv4(192, 0, 2, 53)) {
					t.Errorf("%s: got %v, which is in another zone", zone, rr)
				}
			default:
				t.Errorf("%s: got %v, which is in another zone", zone, rr)
			}
		}
		slices.Sort(children)
		slices.Sort(tc.children)
		if !slices.Equal(children, tc.children) {
			t.Errorf("%s: got delegations %q, want %q", zone, children, tc.children)
		}
		for _, name := range tc.has {
			if !found[name] {
				t.Errorf("%s: the transfer lacks %s", zone, name)
			}
		}
	}
}

func TestTransferRefusals(t *testing.T) {
	unsynced := newTestHeadless(t, authoritativeStanza)
	if _, err := unsynced.Transfer("cluster.local.", 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("before the first sync: got error %v, want %v", err, transfer.ErrNotAuthoritative)
	}
	h := startAuthoritative(t)
	for _, zone := range []string{"local.", "default.svc.cluster.local.", "example.org.", "in-addr.arpa."} {
		if _, err := h.Transfer(zone, 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
			t.Errorf("%s: got error %v, want %v", zone, err, transfer.ErrNotAuthoritative)
		}
	}
	if rrs := receive(t, h, "CLUSTER.local.", 0); len(rrs) < 25 {
		t.Errorf("other letter case: got %d records, want at least 25", len(rrs))
	}
	overlay := startTestHeadless(t, overlayStanza)
	if _, err := overlay.Transfer("cluster.local.", 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("without authoritative: got error %v, want %v", err, transfer.ErrNotAuthoritative)
	}
}

// TestTransferUpToDate checks that a secondary with this serial or a later one gets only the
// SOA. Serials wrap around (RFC 1982).
func TestTransferUpToDate(t *testing.T) {
	h := startAuthoritative(t)
	<-time.After(h.trie.SerialDelay()) // then the last change has its serial
	serial := h.trie.Serial()
	for _, tc := range []struct {
		have uint32
		want bool
	}{
		{serial, true},
		{serial + 1, true},
		{serial - 1, false},
		{serial + 1<<31 - 1, true},
		{serial - 1<<31 + 1, false}, // a larger number
		{0, false},                  // a full transfer
	} {
		rrs := receive(t, h, "cluster.local.", tc.have)
		if got := len(rrs) == 1; got != tc.want {
			t.Errorf("a secondary at serial %d of %d: got up to date %t, want %t", tc.have, serial, got, tc.want)
		}
		if got := rrs[0].(*dns.SOA).Serial; got != serial {
			t.Errorf("a secondary at serial %d: got serial %d, want %d", tc.have, got, serial)
		}
	}
}
