package records

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Image is the whole trie at one time. Only one goroutine may use it.
type Image struct {
	Serial   uint32 // of the zones; changes that the image lacks get a later one
	services []imageService
	external []imageService // those with names in external zones
	v4       *shards[addr4]
	v6       *shards[addr6]
}

// imageService is a service with the snapshot it had.
type imageService struct {
	*service
	snapshot *snapshot
}

// Image returns the trie as it is between two commits. Commits wait for it. The image
// copies a pointer for each service and each shard of the reverse index, and no
// addresses.
func (t *Trie) Image() *Image {
	// The serial goes first, so that a change that the image lacks gets a later one.
	i := &Image{Serial: t.Serial()}
	t.mu.Lock()
	defer t.mu.Unlock()
	i.services, i.external = t.all.image(), t.external.image()
	i.v4, i.v6 = t.v4.load(), t.v6.load()
	return i
}

// image returns the services with their snapshots.
func (d *directory) image() []imageService {
	namespaces := d.namespaces.Load()
	n := 0
	for ns := range namespaces.all {
		n += ns.services.Load().n
	}
	services := make([]imageService, 0, n)
	for ns := range namespaces.all {
		for s := range ns.services.Load().all {
			services = append(services, imageService{s, s.snapshot.Load()})
		}
	}
	return services
}

// Names yields every name of a service, host or port in the zone, with its node. They
// are sorted by namespace and service.
func (i *Image) Names(z *Zone) iter.Seq2[string, Node] {
	services := i.services
	if z.External {
		services = i.external
	}
	slices.SortFunc(services, func(a, b imageService) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name))
	})
	below := z.suffix()
	return func(yield func(string, Node) bool) {
		for _, s := range services {
			if !s.snapshot.empty() && !s.names(below, yield) {
				return
			}
		}
	}
}

// names yields the names of a service that has any, with what follows the namespace in them. It
// reports whether yield wants more.
func (s imageService) names(below string, yield func(string, Node) bool) bool {
	suffix := joinLabels(s.name, s.namespace, below)
	node := Node{snapshot: s.snapshot, suffixLen: len(suffix)}
	if !yield(suffix, node) {
		return false
	}
	hosts := slices.SortedFunc(s.snapshot.hosts.all, func(a, b host) int { return strings.Compare(a.label, b.label) })
	for k := range hosts {
		node := node
		node.host = &hosts[k]
		if !yield(joinLabels(node.host.label, suffix), node) {
			return false
		}
	}
	for x := range s.snapshot.ports.all {
		node := node
		node.port = x.key
		if node.port.name != "" && !yield(joinLabels("_"+node.port.name, "_"+node.port.protocol, suffix), node) {
			return false
		}
	}
	return true
}

// Addrs yields every address with the node of its reverse name, sorted: IPv4 first.
func (i *Image) Addrs() iter.Seq2[netip.Addr, Node] {
	snapshots := make(map[*service]*snapshot, len(i.services))
	for _, s := range i.services {
		snapshots[s.service] = s.snapshot
	}
	return func(yield func(netip.Addr, Node) bool) {
		_ = addrNodes(slices.Collect(i.v4.all), snapshots, yield) &&
			addrNodes(slices.Collect(i.v6.all), snapshots, yield)
	}
}

// addrNodes yields the addresses of one family. It reports whether yield wants more.
func addrNodes[A address[A]](
	entries []entry[A], snapshots map[*service]*snapshot, yield func(netip.Addr, Node) bool,
) bool {
	slices.SortFunc(entries, func(a, b entry[A]) int { return a.addr.compare(b.addr) })
	for len(entries) > 0 {
		a := entries[0].addr
		var names []addrName
		for ; len(entries) > 0 && entries[0].addr == a; entries = entries[1:] {
			e := entries[0]
			names = append(names, addrName{e.service, snapshots[e.service].hostByID(e.host.id()).label, e.host.hostname()})
		}
		if !yield(a.netip(), Node{names: preferHostnames(names)}) {
			return false
		}
	}
	return true
}
