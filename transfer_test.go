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

// TestTransfer checks that a zone begins and ends with its SOA, has each record
// once, and is what queries say: every name in it answers with just the records
// that it has there.
func TestTransfer(t *testing.T) {
	h := startAuthoritative(t)
	<-time.After(h.trie.SerialDelay()) // the serial stays from then on
	for zone, least := range map[string]int{"cluster.local.": 25, "244.10.in-addr.arpa.": 6, "ip6.arpa.": 4} {
		rrs := receive(t, h, zone, 0)
		if len(rrs) < least {
			t.Errorf("%s has %d records, want at least %d", zone, len(rrs), least)
		}
		first, last := rrs[0], rrs[len(rrs)-1]
		if _, ok := first.(*dns.SOA); !ok || first.String() != last.String() {
			t.Errorf("%s begins with %v and ends with %v", zone, first, last)
		}
		type set struct {
			name   string
			rrtype uint16
		}
		sets := map[set][]string{}
		for _, rr := range rrs[1:] {
			s := set{rr.Header().Name, rr.Header().Rrtype}
			if slices.Contains(sets[s], rr.String()) {
				t.Errorf("%s has twice %v", zone, rr)
			}
			sets[s] = append(sets[s], rr.String())
		}
		for s, want := range sets {
			_, m := ask(t, h, new(dns.Msg).SetQuestion(s.name, s.rrtype), &test.ResponseWriter{TCP: true})
			if m == nil {
				t.Errorf("%s %s is not answered", s.name, dns.TypeToString[s.rrtype])
				continue
			}
			var got []string
			for _, rr := range m.Answer {
				got = append(got, rr.String())
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: a query has %q, the transfer %q", s.name, dns.TypeToString[s.rrtype], got, want)
			}
		}
	}
}

// TestTransferOfLongNames checks that a tenant's names keep nobody from getting the
// rest of the zone.
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
				t.Errorf("%v: %v", rr, err)
			}
			found[rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]] = true
		}
	}
	for name, want := range map[string]bool{
		base + " A": true, base + " SRV": true, "b." + base + " A": true, long + "." + base + " A": false,
		"2.2.0.192.in-addr.arpa. PTR": true, "1.2.0.192.in-addr.arpa. PTR": false,
	} {
		if found[name] != want {
			t.Errorf("%s is transferred: %v, want %v", name, found[name], want)
		}
	}
}

// TestTransferBudget checks that a host with many addresses, which is the target of
// many ports, costs a transfer as much as its records: not all addresses again for
// each port.
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
		t.Errorf("a transfer of %d records takes %d bytes", n, bytes)
	}
}

// TestTransferWindows checks that the SRV records of a service, which are hosts times
// ports, are transferred once each, and never many at a time.
func TestTransferWindows(t *testing.T) {
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
			t.Errorf("%d records come at a time, at most %d", len(rrs), most)
		}
		for _, rr := range rrs {
			if _, ok := rr.(*dns.SRV); ok && rr.Header().Name == "a.default.svc.cluster.local." {
				if found[rr.String()] {
					t.Errorf("%v is there twice", rr)
				}
				found[rr.String()] = true
			}
		}
	}
	if len(found) != hosts*ports {
		t.Errorf("%d SRV records are transferred, want %d", len(found), hosts*ports)
	}
}

// TestTransferHasAllNames checks the other way: what queries answer in the zone
// is transferred.
func TestTransferHasAllNames(t *testing.T) {
	h := startAuthoritative(t)
	transferred := map[string]bool{}
	for _, zone := range []string{"cluster.local.", "244.10.in-addr.arpa.", "ip6.arpa."} {
		for _, rr := range receive(t, h, zone, 0) {
			transferred[rr.String()] = true
		}
	}
	for _, tc := range slices.Concat(cases, authorityCases) {
		if tc.Qname != dns.CanonicalName(tc.Qname) {
			continue
		}
		for _, rr := range tc.Answer {
			if _, ok := rr.(*dns.SOA); !ok && !transferred[rr.String()] && h.zoneOf(rr) != nil {
				t.Errorf("not transferred: %v", rr)
			}
		}
	}
}

// zoneOf returns the zone that a record is in.
func (h *Headless) zoneOf(rr dns.RR) *string {
	for i := range h.zones {
		if dns.IsSubDomain(h.zones[i].Name, rr.Header().Name) {
			return &h.zones[i].Name
		}
	}
	return nil
}

// TestTransferOfNestedZones checks that a name is transferred with the nearest zone
// above it and no other, as it is answered, and that a zone has the delegation of
// those right below it (RFC 1034, section 4.2.1).
func TestTransferOfNestedZones(t *testing.T) {
	h := startTestHeadless(t, nested)
	h.locals = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
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
					t.Errorf("%s has of another zone %v", zone, rr)
				}
			default:
				t.Errorf("%s has of another zone %v", zone, rr)
			}
		}
		slices.Sort(children)
		slices.Sort(tc.children)
		if !slices.Equal(children, tc.children) {
			t.Errorf("%s delegates %q, want %q", zone, children, tc.children)
		}
		for _, name := range tc.has {
			if !found[name] {
				t.Errorf("%s is without %s", zone, name)
			}
		}
	}
}

func TestTransferRefusals(t *testing.T) {
	unsynced := newTestHeadless(t, authoritative)
	if _, err := unsynced.Transfer("cluster.local.", 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("a zone is transferred before it is known: %v", err)
	}
	h := startAuthoritative(t)
	for _, zone := range []string{"local.", "default.svc.cluster.local.", "example.org.", "in-addr.arpa."} {
		if _, err := h.Transfer(zone, 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
			t.Errorf("%s is transferred: %v", zone, err)
		}
	}
	if rrs := receive(t, h, "CLUSTER.local.", 0); len(rrs) < 25 {
		t.Errorf("the zone in another spelling has %d records", len(rrs))
	}
	overlay := startTestHeadless(t, overlayStanza)
	if _, err := overlay.Transfer("cluster.local.", 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
		t.Errorf("a zone of another plugin is transferred: %v", err)
	}
}

// TestTransferUpToDate checks that a secondary with this serial, or a later one,
// gets the SOA alone. Which is later is told by RFC 1982: the serials go round.
func TestTransferUpToDate(t *testing.T) {
	h := startAuthoritative(t)
	<-time.After(h.trie.SerialDelay()) // the last change has its serial then
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
			t.Errorf("a secondary at %d of %d is up to date: %v", tc.have, serial, got)
		}
		if got := rrs[0].(*dns.SOA).Serial; got != serial {
			t.Errorf("a secondary at %d gets the serial %d, want %d", tc.have, got, serial)
		}
	}
}
