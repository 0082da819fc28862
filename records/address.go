package records

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
)

// addr4 and addr6 are addresses in as many bytes as they have on the wire. A
// [netip.Addr] takes 24 and holds a pointer.
type (
	addr4 [4]byte
	addr6 [16]byte
)

// address is an address of one family.
type address[A any] interface {
	addr4 | addr6
	ordered[A]
	netip() netip.Addr
}

func (a addr4) compare(b addr4) int {
	return cmp.Compare(binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(b[:]))
}

func (a addr6) compare(b addr6) int { return bytes.Compare(a[:], b[:]) }

func (a addr4) netip() netip.Addr { return netip.AddrFrom4(a) }
func (a addr6) netip() netip.Addr { return netip.AddrFrom16(a) }

// addresses is a sorted set of addresses of both families.
type addresses struct {
	v4 set[addr4]
	v6 set[addr6]
}

// has reports whether the set has the address.
func (a *addresses) has(addr netip.Addr) bool { return a.refsOf(addr) > 0 }

// refsOf returns how many endpoints have the address.
func (a *addresses) refsOf(addr netip.Addr) int32 {
	if addr.Is4() {
		return a.v4.refsOf(addr.As4())
	}
	return a.v6.refsOf(addr.As16())
}

// all yields every address.
func (a *addresses) all(yield func(netip.Addr) bool) {
	for x := range a.v4.all {
		if !yield(x.key.netip()) {
			return
		}
	}
	for x := range a.v6.all {
		if !yield(x.key.netip()) {
			return
		}
	}
}

// merge returns the set with the deltas applied. It ignores their hosts.
func (a addresses) merge(deltas []delta[hostAddr]) addresses {
	var v4 []delta[addr4]
	var v6 []delta[addr6]
	for _, d := range deltas {
		if d.key.addr.Is4() {
			v4 = append(v4, delta[addr4]{d.key.addr.As4(), d.refs})
		} else {
			v6 = append(v6, delta[addr6]{d.key.addr.As16(), d.refs})
		}
	}
	return a.mergeFamilies(v4, v6)
}

// mergeFamilies returns the set with the deltas applied, which it sorts.
func (a addresses) mergeFamilies(v4 []delta[addr4], v6 []delta[addr6]) addresses {
	return addresses{a.v4.merge(sum(v4)), a.v6.merge(sum(v6))}
}
