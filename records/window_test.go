package records

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestWindow checks that truncated replies start at any record, have no record twice, and
// together have every record.
func TestWindow(t *testing.T) {
	const n = 300
	trie := podTrie(n)
	for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
		seen := map[string]bool{}
		for start := range uint64(n) {
			m, a := message(t, trie, "nginx.default.svc.cluster.local.", rrtype, 512, start*1e9+start)
			if !a.Truncated || len(m.Answer) == 0 {
				t.Fatalf("%s is not truncated, with %d records", dns.TypeToString[rrtype], len(m.Answer))
			}
			here := map[string]bool{}
			for _, rr := range m.Answer {
				here[rr.String()], seen[rr.String()] = true, true
			}
			if len(here) != len(m.Answer) {
				t.Fatalf("%s has %d records, %d of them different", dns.TypeToString[rrtype], len(m.Answer), len(here))
			}
		}
		if len(seen) != n {
			t.Errorf("%s: all replies together have %d of %d records", dns.TypeToString[rrtype], len(seen), n)
		}
	}
}

// TestClusterWindow checks that truncated replies of a clusterset together have every target, also
// where the names of hosts are longer than one label.
func TestClusterWindow(t *testing.T) {
	const n = 10
	trie, key := NewClusterset(), ServiceKey{"default", "nginx"}
	update := trie.Update()
	update.Create(key)
	for i := range n {
		id := strings.Repeat(strings.Repeat("c", 50)+".", 3) + "c"
		update.Add(key, Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: universePorts[1], Zone: id})
	}
	update.Commit()
	complete, _ := message(t, trie, clusterBase, dns.TypeSRV, 1<<16, 0)
	complete.Extra = nil
	for size := headerSize + 100; size < complete.Len(); size += 50 {
		seen := map[string]bool{}
		for start := range uint64(n) {
			m, a := message(t, trie, clusterBase, dns.TypeSRV, size, start)
			if !a.Truncated || len(m.Answer) > 0 && m.Len() > size {
				t.Fatalf("in %d bytes there are %d records in %d, truncated: %v", size, len(m.Answer), m.Len(), a.Truncated)
			}
			for _, rr := range m.Answer {
				seen[rr.(*dns.SRV).Target] = true
			}
		}
		if len(seen) != n && len(seen) > 0 {
			t.Errorf("in %d bytes, all replies together have %d targets of %d", size, len(seen), n)
		}
	}
}

// TestSharedHost checks that the addresses of pods that share a host are one record set,
// and the glue of one SRV record.
func TestSharedHost(t *testing.T) {
	const n = 1000
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		update.Add(key, Endpoint{Host: "shared", Hostname: true, Addr: ipv4(i), Ports: universePorts[1]})
	}
	update.Commit()
	if m, _ := message(t, trie, "shared.nginx.default.svc.cluster.local.", dns.TypeA, 65535, 0); len(m.Answer) != n {
		t.Errorf("the host has %d addresses, want %d", len(m.Answer), n)
	}
	m, a := message(t, trie, "_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV, 65535, 0)
	if len(m.Answer) != 1 || len(m.Extra) != n || a.Truncated || a.GlueTruncated {
		t.Errorf("the port has %d targets with %d addresses, truncated: %v, want 1 with %d", len(m.Answer), len(m.Extra), a.GlueTruncated, n)
	}
	m, a = message(t, trie, "_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV, 512, 0)
	if len(m.Answer) != 1 || a.Truncated || !a.GlueTruncated || m.Len() > 512 {
		t.Errorf("in 512 bytes the port has %d targets with %d addresses, truncated: %v, in %d bytes", len(m.Answer), len(m.Extra), a.GlueTruncated, m.Len())
	}
}

// TestWindowWithinHost checks a window that begins between the targets of one host, and so
// ends with the others of them. The glue must have the host's addresses once.
func TestWindowWithinHost(t *testing.T) {
	key := ServiceKey{"default", "dns"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range 3 {
		update.Add(key, Endpoint{Host: fmt.Sprint("dns-", i), Hostname: true, Addr: ipv4(i), Ports: universePorts[4]})
	}
	update.Commit()
	complete, _ := message(t, trie, "dns.default.svc.cluster.local.", dns.TypeSRV, 1<<30, 0)
	for start := range uint64(len(complete.Answer)) {
		m, a := message(t, trie, "dns.default.svc.cluster.local.", dns.TypeSRV, complete.Len(), start)
		if len(m.Answer) != len(complete.Answer) || len(m.Extra) != 3 || a.Truncated || a.GlueTruncated {
			t.Errorf("from %d there are %d records, want %d, and %d addresses, want 3", start, len(m.Answer), len(complete.Answer), len(m.Extra))
		}
	}
}

// TestLongTargets checks that a name too long for DNS is the target of no record, and that
// the other records are answered.
func TestLongTargets(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	key := ServiceKey{long, long}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i, host := range []string{"a", long, "b"} {
		update.Add(key, Endpoint{Host: host, Hostname: true, Addr: ipv4(i), Ports: universePorts[1]})
	}
	update.Commit()
	// The labels left of the zone take 197 bytes on the wire, with the root.
	for _, tc := range []struct {
		zone string
		want []string
	}{
		{strings.Repeat("z", 58-len(".test.")) + ".test.", []string{"a", long, "b"}},
		{strings.Repeat("z", 59-len(".test.")) + ".test.", []string{"a", "b"}},
	} {
		base := long + "." + long + ".svc." + tc.zone
		m, answer := message(t, trie, base, dns.TypeSRV, 1<<16, 0)
		if answer.Truncated {
			t.Errorf("in a zone of %d bytes, the answer is truncated", len(tc.zone))
		}
		wire, err := m.Pack()
		if err == nil {
			err = m.Unpack(wire)
		}
		if err != nil {
			t.Fatalf("in a zone of %d bytes, the message is invalid: %v", len(tc.zone), err)
		}
		var got, pointed []string
		for _, rr := range m.Answer {
			got = append(got, strings.TrimSuffix(rr.(*dns.SRV).Target, "."+base))
		}
		slices.Sort(got)
		for i := range 3 {
			node, _ := trie.FindAddr(ipv4(i))
			for _, rr := range node.Answer(&Query{Name: "x.in-addr.arpa.", Type: dns.TypePTR, Zone: tc.zone, Size: 1232}).Records {
				pointed = append(pointed, strings.TrimSuffix(rr.(*dns.PTR).Ptr, "."+base))
			}
		}
		if slices.Sort(tc.want); !slices.Equal(got, tc.want) {
			t.Errorf("in a zone of %d bytes, the SRV targets are %q, want %q", len(tc.zone), got, tc.want)
		}
		if slices.Sort(pointed); !slices.Equal(pointed, tc.want) {
			t.Errorf("in a zone of %d bytes, the PTR targets are %q, want %q", len(tc.zone), pointed, tc.want)
		}
	}
}

// TestLongTargetsBudget bounds the targets that a query skips because their names are too
// long, and checks that replies together have all others.
func TestLongTargetsBudget(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	zone := strings.Repeat("z", 59-len(".test.")) + ".test."
	base := long + "." + long + ".svc." + zone
	var many []Port
	for i := range 2 * maxShortPorts {
		many = append(many, Port{fmt.Sprint("p", i), "tcp", uint16(1 + i)})
	}
	lists := map[string]*PortList{"one port": universePorts[1], "a long list": NewPortList(many)}
	for _, test := range []struct {
		what              string
		long, short, size int
		skipped           int
		truncated         bool
	}{
		{"few long names", maxSkipped - 2, 3, 1 << 16, maxSkipped - 1, false}, // one may be met at both ends
		{"many long names", 5000, 0, 1 << 16, maxSkipped, true},
		{"many long names over UDP", 5000, 0, 1232, maxSkipped, true},
		{"many long names and some short", 2000, 20, 1 << 16, maxSkipped, true},
		{"short names", 0, 3, 1 << 16, 0, false},
	} {
		for which, list := range lists {
			trie := New()
			update := trie.Update()
			key := ServiceKey{long, long}
			update.Create(key)
			for i := range test.long + test.short {
				host := fmt.Sprint("h", i)
				if i < test.long {
					host = fmt.Sprintf("%063d", i)
				}
				update.Add(key, Endpoint{Host: host, Hostname: true, Addr: ipv4(i), Ports: list})
			}
			update.Commit()
			var n Name
			n.Fold(base)
			node, _ := trie.Find(&n, &NewZones([]string{zone})[0])
			found, targets := map[string]bool{}, (test.long+test.short)*len(list.Ports())
			for start := 0; start < targets; start += max(1, targets/100) {
				q := Query{Name: base, Type: dns.TypeSRV, Zone: zone, Size: test.size, Start: uint64(start)}
				b := fitter{room: q.Size, start: q.Start}
				ranges, _ := node.targetRanges(nil)
				out, truncated := b.window(&node, ranges, len(base), nil)
				if b.skipped > test.skipped || test.short == 0 && b.skipped != test.skipped || truncated != test.truncated {
					t.Fatalf("%s with %s from %d: %d targets are skipped, want %d; %d fit, truncated: %v",
						test.what, which, start, b.skipped, test.skipped, len(out), truncated)
				}
				for _, rr := range node.Answer(&q).Records {
					found[rr.(*dns.SRV).Target] = true
				}
			}
			if len(found) != test.short {
				t.Errorf("%s with %s: all replies together have %d hosts, want %d", test.what, which, len(found), test.short)
			}
		}
	}
}
