package records

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// TestReverseBehind looks up addresses after the snapshots are published and before the
// reverse index is. An address must not have the name of a host that lost it.
func TestReverseBehind(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(1)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Commit()

	update = trie.Update()
	update.Remove(nginx, Endpoint{Host: "web-0", Addr: ipv4(1)})
	p := update.pending[0]
	p.change.sum()
	p.service.snapshot.Store(p.base.with(&p.change))
	if node, result := trie.FindAddr(ipv4(1)); result != Outside {
		t.Errorf("the address that web-0 lost has the names %v", node.names)
	}
	if _, result := trie.FindAddr(ipv4(2)); result != Found {
		t.Errorf("the lookup of the other address is %v", result)
	}

	update = trie.Update()
	update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(3)})
	p = update.pending[0]
	p.change.sum()
	p.service.snapshot.Store(p.base.with(&p.change))
	if node, result := trie.FindAddr(ipv4(2)); result != Outside {
		t.Errorf("the address that web-1 lost has the names %v", node.names)
	}
}

// TestPTR checks that the names of an address are sorted, and that generated labels are
// left out if there are hostnames.
func TestPTR(t *testing.T) {
	trie := New()
	update := trie.Update()
	for _, endpoint := range []struct {
		service, host string
		hostname      bool
	}{{"c", "x", true}, {"a", "10-0-0-1", false}, {"b", "y", true}, {"b", "x", true}} {
		key := ServiceKey{"default", endpoint.service}
		update.Create(key)
		update.Add(key, Endpoint{Host: endpoint.host, Hostname: endpoint.hostname, Addr: ipv4(1)})
	}
	update.Commit()
	node, _ := trie.FindAddr(ipv4(1))
	var got []string
	for _, rr := range node.Answer(&Query{Name: "1.0.0.10.in-addr.arpa.", Type: dns.TypePTR, Zone: "cluster.local.", Size: 1232}).Records {
		got = append(got, rr.(*dns.PTR).Ptr)
	}
	want := []string{"x.b.default.svc.cluster.local.", "y.b.default.svc.cluster.local.", "x.c.default.svc.cluster.local."}
	if !slices.Equal(got, want) {
		t.Errorf("the names are %q, want %q", got, want)
	}
}
