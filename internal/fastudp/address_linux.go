package fastudp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Lengths of addresses.
const (
	net4 = net.IPv4len
	net6 = net.IPv6len
)

// sockaddr is the kernel's struct sockaddr_in or sockaddr_in6.
type sockaddr [unix.SizeofSockaddrInet6]byte

// ip returns the address, in 4 or 16 bytes as the socket has it.
func (s *sockaddr) ip() []byte {
	if binary.NativeEndian.Uint16(s[:]) == unix.AF_INET {
		return s[4:8]
	}
	return s[8:24]
}

func (s *sockaddr) port() int { return int(binary.BigEndian.Uint16(s[2:])) }

// scope returns the index of the interface of a link-local address, and zero for others.
func (s *sockaddr) scope() uint32 {
	if len(s.ip()) == net4 {
		return 0
	}
	return binary.NativeEndian.Uint32(s[24:])
}

// v6 reports whether the address is IPv6 and not a mapped IPv4 address.
func (s *sockaddr) v6() bool {
	ip := s.ip()
	return len(ip) == net6 && [12]byte(ip) != [12]byte{10: 0xFF, 11: 0xFF}
}

func isLinkLocal(ip []byte) bool { return ip[0] == 0xFE && ip[1]&0xC0 == 0x80 }

// A reply needs more than the address of the client: the address that the client asked, and
// the interfaces of link-local addresses. Plugins expect a *net.UDPAddr, which has no field
// for it. So these bytes are behind its IP address, where only the capacity of the slice
// reaches: the id of the Conn, the index of the client's interface, that of the asked
// address, and the asked address, which is zero if the kernel shall choose.
const pathSize = idSize + 4 + 4 + net6

// clientAddr returns the address of the client of query i.
func (c *Conn) clientAddr(i int) *net.UDPAddr {
	client := &c.batch.clients[i]
	a := &struct {
		net.UDPAddr
		room [net6 + pathSize]byte
	}{}
	ip := append(a.room[:0], client.ip()...)
	a.IP, a.Port = ip, client.port()
	scope := client.scope()
	if scope != 0 {
		a.Zone = c.zones.name(scope, c.received)
	}
	asked, index := c.batch.controls[i].asked(c.batch.queries[i].Controllen > 0)
	path := append(ip, c.id[:]...)
	path = binary.NativeEndian.AppendUint32(path, scope)
	path = binary.NativeEndian.AppendUint32(path, index)
	_ = append(path, asked...)
	return &a.UDPAddr
}

// destination returns the arguments of a system call that sends a reply to a client.
func (c *Conn) destination(addr *net.UDPAddr) (unix.Sockaddr, []byte, error) {
	path := addr.IP[len(addr.IP):cap(addr.IP)]
	known := len(path) >= pathSize && bytes.Equal(path[:idSize], c.id[:])
	var index uint32
	var asked []byte
	if known {
		path = path[idSize:]
		index, asked = binary.NativeEndian.Uint32(path[4:]), path[8:8+net6]
	}
	if !c.ipv6 {
		ip := addr.IP.To4()
		if ip == nil {
			return nil, nil, fmt.Errorf("no IPv4 address")
		}
		if !known || [net4]byte(asked) == ([net4]byte{}) {
			asked = nil
		} else {
			asked = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [net4]byte(asked)})
		}
		return &unix.SockaddrInet4{Port: addr.Port, Addr: [net4]byte(ip)}, asked, nil
	}
	ip := addr.IP.To16()
	if ip == nil {
		return nil, nil, fmt.Errorf("no IP address")
	}
	to := &unix.SockaddrInet6{Port: addr.Port, Addr: [net6]byte(ip)}
	if known {
		to.ZoneId = binary.NativeEndian.Uint32(path)
	} else if addr.Zone != "" {
		to.ZoneId = zoneIndex(addr.Zone)
	}
	if !known || [net6]byte(asked) == ([net6]byte{}) {
		return to, nil, nil
	}
	return to, unix.PktInfo6(&unix.Inet6Pktinfo{Addr: [net6]byte(asked), Ifindex: index}), nil
}

// zones caches the names of interfaces. Like the cache of package net, it is a minute old at
// most.
type zones struct {
	names map[uint32]string
	since time.Time
}

func (z *zones) name(index uint32, now time.Time) string {
	if now.Sub(z.since) > time.Minute {
		z.names, z.since = make(map[uint32]string), now
	}
	name, ok := z.names[index]
	if !ok {
		name = strconv.Itoa(int(index))
		if i, err := net.InterfaceByIndex(int(index)); err == nil {
			name = i.Name
		}
		z.names[index] = name
	}
	return name
}

func zoneIndex(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	index, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(index)
}
