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

// zoned4 and zoned6 are addresses of endpoints in a topology zone: the zone in the first
// byte, then the address.
type (
	zoned4 [1 + 4]byte
	zoned6 [1 + 16]byte
)

// zonedAddr is an address of one family in a topology zone.
type zonedAddr[Z any] interface {
	zoned4 | zoned6
	zoned[Z]
	netip() netip.Addr
}

// lastAddr4 and lastAddr6 are the highest addresses.
var (
	lastAddr4 = addr4{255, 255, 255, 255}
	lastAddr6 = addr6(bytes.Repeat([]byte{255}, 16))
)

func newZoned4(z zoneTag, a addr4) zoned4 { return zoned4{byte(z), a[0], a[1], a[2], a[3]} }

func newZoned6(z zoneTag, a addr6) (out zoned6) {
	out[0] = byte(z)
	copy(out[1:], a[:])
	return out
}

func (a zoned4) addr() addr4 { return addr4(a[1:]) }
func (a zoned6) addr() addr6 { return addr6(a[1:]) }

func (a zoned4) netip() netip.Addr { return a.addr().netip() }
func (a zoned6) netip() netip.Addr { return a.addr().netip() }

func (a zoned4) zone() zoneTag { return zoneTag(a[0]) }
func (a zoned6) zone() zoneTag { return zoneTag(a[0]) }

func (a zoned4) in(z zoneTag) zoned4 { return newZoned4(z, a.addr()) }
func (a zoned6) in(z zoneTag) zoned6 { return newZoned6(z, a.addr()) }

func (a zoned4) compare(b zoned4) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), a.addr().compare(b.addr()))
}

func (a zoned6) compare(b zoned6) int { return bytes.Compare(a[:], b[:]) }

// addresses is a sorted set of addresses of both families. Those of a host are all in no
// zone.
type addresses struct {
	v4 set[zoned4]
	v6 set[zoned6]
}

// has reports whether the set has the address in no zone.
func (a *addresses) has(addr netip.Addr) bool { return a.refsOf(noZone, addr) > 0 }

// refsOf returns how many endpoints have the address in a zone.
func (a *addresses) refsOf(z zoneTag, addr netip.Addr) int32 {
	if addr.Is4() {
		return a.v4.refsOf(newZoned4(z, addr.As4()))
	}
	return a.v6.refsOf(newZoned6(z, addr.As16()))
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

// byFamily returns deltas of hosts as those of their addresses, in their zones or, unless
// zones is set, in none. They are summed.
func byFamily(deltas []delta[hostAddr], zones bool) (v4 []delta[zoned4], v6 []delta[zoned6]) {
	for _, d := range deltas {
		z := noZone
		if zones {
			z = d.key.zone
		}
		if d.key.addr.Is4() {
			v4 = append(v4, delta[zoned4]{newZoned4(z, d.key.addr.As4()), d.refs})
		} else {
			v6 = append(v6, delta[zoned6]{newZoned6(z, d.key.addr.As16()), d.refs})
		}
	}
	return sum(v4), sum(v6)
}

// mergeHost returns the addresses of a host with its deltas applied.
func (a addresses) mergeHost(deltas []delta[hostAddr]) addresses {
	v4, v6 := byFamily(deltas, false)
	return addresses{a.v4.merge(v4), a.v6.merge(v6)}
}
