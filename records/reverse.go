package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// owner is a name that an address has: a host of a service.
type owner struct {
	service  *service
	host     string
	hostname bool
	refs     int32
}

func (o owner) compare(p owner) int {
	return cmp.Or(
		strings.Compare(o.service.namespace, p.service.namespace),
		strings.Compare(o.service.name, p.service.name),
		strings.Compare(o.host, p.host),
		compareBool(o.hostname, p.hostname))
}

// owners is the reverse index: who has an address, sorted. Like a snapshot, a
// published one is never written. A prefix table, rather than a map, because it
// can be changed by copying a path, and can tell an empty non-terminal of the
// reverse tree from a name that does not exist.
type owners = bart.Table[[]owner]

// countOwners returns the index with the deltas of one service applied.
func countOwners(t *owners, s *service, deltas []delta[ownerAddr]) *owners {
	for _, d := range deltas {
		prefix := hostPrefix(d.key.addr)
		held, _ := t.Get(prefix)
		t = setOwners(t, prefix, countOwner(held, owner{s, d.key.host, d.key.hostname, d.refs}))
	}
	return t
}

// dropOwner returns the index without the service.
func dropOwner(t *owners, s *service, of *snapshot) *owners {
	for a := range of.addrs {
		prefix := hostPrefix(a)
		held, _ := t.Get(prefix)
		kept := slices.DeleteFunc(slices.Clone(held), func(o owner) bool { return o.service == s })
		t = setOwners(t, prefix, kept)
	}
	return t
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func setOwners(t *owners, prefix netip.Prefix, to []owner) *owners {
	if len(to) == 0 {
		return t.DeletePersist(prefix)
	}
	return t.InsertPersist(prefix, to)
}

// countOwner returns a copy of held in which o has o.refs more.
func countOwner(held []owner, o owner) []owner {
	at, ok := slices.BinarySearchFunc(held, o, owner.compare)
	if ok {
		o.refs += held[at].refs
	}
	out := make([]owner, 0, len(held)+1)
	out = append(out, held[:at]...)
	if o.refs > 0 {
		out = append(out, o)
	}
	if ok {
		at++
	}
	return append(out, held[at:]...)
}
