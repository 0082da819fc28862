package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
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

// index is the reverse index: who has an address. A PTR reply touches a single
// address, so no snapshot of the whole is needed: the addresses are dealt out to
// shards, each of them immutable behind a pointer of its own, and a change copies
// little however many addresses there are.
type index struct {
	shards [256]atomic.Pointer[table[*holding]]
}

// holding is an address with its owners, sorted. It is never written.
type holding struct {
	addr   string // its bytes
	owners []owner
}

func (h *holding) key() string { return h.addr }

func (x *index) shard(addr []byte) *atomic.Pointer[table[*holding]] {
	return &x.shards[hashBytes(addr)>>56]
}

// get returns the owners of an address.
func (x *index) get(a netip.Addr) []owner {
	var buf [16]byte
	addr := appendAddr(buf[:0], a)
	t := x.shard(addr).Load()
	if t == nil {
		return nil
	}
	h, ok := t.get(addr)
	if !ok {
		return nil
	}
	return h.owners
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		a4 := a.As4()
		return append(b, a4[:]...)
	}
	a16 := a.As16()
	return append(b, a16[:]...)
}

// indexEdit changes an index. Nothing is seen of it before publish.
type indexEdit struct {
	index   *index
	editors map[*atomic.Pointer[table[*holding]]]*editor[*holding]
	deltas  []addrDelta
}

// addrDelta is an address that comes (1) or goes (-1).
type addrDelta struct {
	addr netip.Addr
	refs int32
}

func (x *index) edit() *indexEdit {
	return &indexEdit{index: x, editors: make(map[*atomic.Pointer[table[*holding]]]*editor[*holding])}
}

// grown is by how many addresses the index grows.
func (e *indexEdit) grown() int {
	n := 0
	for _, d := range e.deltas {
		n += int(d.refs)
	}
	return n
}

// change replaces the owners of an address.
func (e *indexEdit) change(a netip.Addr, change func([]owner) []owner) {
	var buf [16]byte
	addr := appendAddr(buf[:0], a)
	shard := e.index.shard(addr)
	edit, ok := e.editors[shard]
	if !ok {
		t := shard.Load()
		if t == nil {
			t = new(table[*holding])
		}
		edit = t.edit()
		e.editors[shard] = edit
	}
	before := edit.n
	var held []owner
	if h, ok := edit.get(string(addr)); ok {
		held = h.owners
	}
	if held = change(held); len(held) == 0 {
		edit.delete(string(addr))
	} else {
		edit.set(&holding{string(addr), held})
	}
	if grown := edit.n - before; grown != 0 {
		e.deltas = append(e.deltas, addrDelta{a, int32(grown)})
	}
}

func (e *indexEdit) publish() {
	for shard, edit := range e.editors {
		shard.Store(&edit.table)
	}
}

// dropOwner returns a copy of held without the service.
func dropOwner(held []owner, s *service) []owner {
	return slices.DeleteFunc(slices.Clone(held), func(o owner) bool { return o.service == s })
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
