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
	services []imageService
	v4       *shards[addr4]
	v6       *shards[addr6]
}

// place is a service with the state it had.
type imageService struct {
	*service
	snapshot *snapshot
}

// Image returns the trie as it is between two commits. A commit waits meanwhile;
// it costs a pointer for each service, and none for addresses.
func (t *Trie) Image() *Image {
	// First, so that a change that the image lacks has a later serial.
	i := &Image{Serial: t.Serial()}
	t.mu.Lock()
	defer t.mu.Unlock()
	namespaces := t.namespaces.Load()
	n := 0
	for ns := range namespaces.all {
		n += ns.services.Load().n
	}
	i.services = make([]imageService, 0, n)
	for ns := range namespaces.all {
		for s := range ns.services.Load().all {
			i.services = append(i.services, imageService{s, s.snapshot.Load()})
		}
	}
	i.v4, i.v6 = t.v4.load(), t.v6.load()
	return i
}

// Names yields every name in a zone that has records, with its node, by
// namespace and service.
func (i *Image) Names(zone string) iter.Seq2[string, Node] {
	slices.SortFunc(i.services, func(a, b imageService) int {
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

func (p imageService) names(zone string, yield func(string, Node) bool) bool {
	base := joinLabels(p.name, p.namespace, svc, zone)
	node := Node{snapshot: p.snapshot, suffixLen: len(base)}
	if !yield(base, node) {
		return false
	}
	hosts := slices.SortedFunc(p.snapshot.hosts.all, func(a, b host) int { return strings.Compare(a.label, b.label) })
	for k := range hosts {
		node := node
		node.host = &hosts[k]
		if !yield(joinLabels(node.host.label, base), node) {
			return false
		}
	}
	for x := range p.snapshot.ports.all {
		node := node
		node.port = x.key
		if node.port.name != "" && !yield(joinLabels("_"+node.port.name, "_"+node.port.protocol, base), node) {
			return false
		}
	}
	return true
}

// Addrs yields every address with the node of its reverse name, in order.
func (i *Image) Addrs() iter.Seq2[netip.Addr, Node] {
	snapshots := make(map[*service]*snapshot, len(i.services))
	for _, p := range i.services {
		snapshots[p.service] = p.snapshot
	}
	return func(yield func(netip.Addr, Node) bool) {
		_ = addrNodes(slices.Collect(i.v4.all), snapshots, func(a addr4) netip.Addr { return netip.AddrFrom4(a) }, yield) &&
			addrNodes(slices.Collect(i.v6.all), snapshots, func(a addr6) netip.Addr { return netip.AddrFrom16(a) }, yield)
	}
}

// nodes yields the addresses of one family.
func addrNodes[A address[A]](
	all []entry[A], snapshots map[*service]*snapshot, addr func(A) netip.Addr, yield func(netip.Addr, Node) bool,
) bool {
	slices.SortFunc(all, func(a, b entry[A]) int { return a.addr.compare(b.addr) })
	for len(all) > 0 {
		a := all[0].addr
		var names []addrName
		for ; len(all) > 0 && all[0].addr == a; all = all[1:] {
			h := all[0]
			names = append(names, addrName{h.service, snapshots[h.service].hostByID(h.host.id()).label, h.host.hostname()})
		}
		if !yield(addr(a), Node{names: preferHostnames(names)}) {
			return false
		}
	}
	return true
}

// join writes labels and names as one name. The last is fully qualified.
func joinLabels(labels ...string) string {
	if labels[len(labels)-1] == "." {
		labels[len(labels)-1] = ""
	}
	return strings.Join(labels, ".")
}
