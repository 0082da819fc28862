package records

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Image is the whole of a trie at one time.
type Image struct {
	Serial   uint32
	services []place
	holdings []*holding
}

// place is a service with the state it had.
type place struct {
	*service
	snapshot *snapshot
}

// Image returns the trie as it is between two commits. It takes a moment for
// which the writer waits, and costs as much as there are services and addresses.
func (t *Trie) Image() *Image {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := &Image{Serial: t.handOut()}
	for ns := range t.namespaces.Load().all {
		for s := range ns.services.Load().all {
			i.services = append(i.services, place{s, s.snapshot.Load()})
		}
	}
	for n := range t.owners.shards {
		if shard := t.owners.shards[n].Load(); shard != nil {
			for h := range shard.all {
				i.holdings = append(i.holdings, h)
			}
		}
	}
	return i
}

// Names yields every name in a zone that has records, with its node, by
// namespace and service.
func (i *Image) Names(zone string) iter.Seq2[string, Node] {
	slices.SortFunc(i.services, func(a, b place) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name))
	})
	return func(yield func(string, Node) bool) {
		for _, p := range i.services {
			if !p.snapshot.empty() && !p.names(zone, yield) {
				return
			}
		}
	}
}

func (p place) names(zone string, yield func(string, Node) bool) bool {
	base := join(p.name, p.namespace, svc, zone)
	node := Node{snapshot: p.snapshot, service: len(base)}
	if !yield(base, node) {
		return false
	}
	hosts := slices.SortedFunc(p.snapshot.hosts.all, func(a, b *host) int { return strings.Compare(a.label, b.label) })
	for _, h := range hosts {
		node := node
		node.host = h
		if !yield(join(h.label, base), node) {
			return false
		}
	}
	for k := range p.snapshot.ports {
		node := node
		node.port = &p.snapshot.ports[k]
		if !yield(join("_"+node.port.name, "_"+node.port.protocol, base), node) {
			return false
		}
	}
	return true
}

// Addrs yields every address with the node of its reverse name, in order.
func (i *Image) Addrs() iter.Seq2[netip.Addr, Node] {
	addr := func(h *holding) netip.Addr {
		a, _ := netip.AddrFromSlice([]byte(h.addr))
		return a
	}
	slices.SortFunc(i.holdings, func(a, b *holding) int { return addr(a).Compare(addr(b)) })
	return func(yield func(netip.Addr, Node) bool) {
		for _, h := range i.holdings {
			if !yield(addr(h), Node{owners: preferred(h.owners)}) {
				return
			}
		}
	}
}

// join writes labels and names as one name. The last is fully qualified.
func join(labels ...string) string {
	if labels[len(labels)-1] == "." {
		labels[len(labels)-1] = ""
	}
	return strings.Join(labels, ".")
}
