package fastudp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A reply comes from the address that the client asked, whoever answers. The client's socket
// takes no other.
func TestSource(t *testing.T) {
	namespace(t)
	hosts := []string{"127.0.0.1", "127.0.0.2", "::1", "fd00::1", "fd00::2", "fe80::1%lo", "fe80::2%lo"}
	for _, listen := range append([]string{"", "0.0.0.0", "::", "udp4"}, hosts...) {
		var c *Conn
		if listen == "udp4" { // as on a machine without IPv6
			pc, err := net.ListenPacket("udp4", "0.0.0.0:0")
			if err != nil {
				t.Fatal(err)
			}
			c, err = newConn(pc.(*net.UDPConn))
			if err != nil {
				t.Fatal(err)
			}
			pc.Close()
		} else {
			c = listenAlone(t, net.JoinHostPort(listen, "0"))
		}
		for _, asked := range hosts {
			wildcard := listen == "" || netip.MustParseAddr("::").String() == listen || listen == "0.0.0.0" ||
				listen == "udp4" && netip.MustParseAddr(asked).Is4()
			if !wildcard && asked != listen {
				continue
			}
			for _, from := range hosts {
				if netip.MustParseAddr(asked).Is4() != netip.MustParseAddr(from).Is4() {
					continue
				}
				checkSource(t, c, from, asked)
			}
		}
		c.Close()
	}
}

func checkSource(t *testing.T, c *Conn, from, asked string) {
	t.Helper()
	defer func() { // A subtest would not be in the namespace.
		if t.Failed() {
			t.Logf("the above is from %s to %s at %v", from, asked, c.LocalAddr())
		}
	}()
	c.Use(answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
		if want := netip.MustParseAddr(from).Is6(); v6 != want {
			t.Errorf("IPv6: %v, want %v", v6, want)
		}
		return fast(query, buf, v6, received)
	}))
	client := dial(t, from, join(asked, c))
	send(t, client, query("fast"), query("slow"))
	addr, ok := handOver(t, c, "slow").(*net.UDPAddr)
	if !ok || addr.String() != client.LocalAddr().String() {
		t.Fatalf("the query is from %v, want %v", addr, client.LocalAddr())
	}
	if is4 := addr.IP.To4() != nil; is4 != netip.MustParseAddr(from).Is4() {
		t.Errorf("the address is %v", addr)
	}
	if want := netip.MustParseAddr(from).Zone(); addr.Zone != want {
		t.Errorf("the zone is %q, want %q", addr.Zone, want)
	}
	expect(t, client, "fast")
	if _, err := c.WriteTo(reply(query("by the server"), nil), addr); err != nil {
		t.Fatal(err)
	}
	expect(t, client, "by the server")
}

// A query that came before the socket had the option is answered from the asked address, too.
func TestEarlyQuery(t *testing.T) {
	for _, listen := range []string{"udp4 0.0.0.0:0", "udp [::]:0"} {
		network, addr, _ := strings.Cut(listen, " ")
		pc, err := net.ListenPacket(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		client := dial(t, "127.0.0.1", join("127.0.0.2", pc))
		send(t, client, query("fast"), query("slow"))
		c, err := newConn(pc.(*net.UDPConn))
		if err != nil {
			t.Fatal(err)
		}
		pc.Close()
		c.Use(fast)
		from := handOver(t, c, "slow")
		expect(t, client, "fast")
		if _, err := c.WriteTo(reply(query("by the server"), nil), from); err != nil {
			t.Fatal(err)
		}
		expect(t, client, "by the server")
		c.Close()
	}
}

// A reply has no source of an earlier reply.
func TestNoSource(t *testing.T) {
	c := listenAlone(t, ":0")
	c.Use(fast)
	for _, asked := range []string{"127.0.0.2", "127.0.0.1"} {
		client := dial(t, "127.0.0.1", join(asked, c))
		send(t, client, query("fast"), query("slow"))
		from := handOver(t, c, "slow")
		expect(t, client, "fast")
		if _, err := c.WriteTo(reply(query("by the server"), nil), from); err != nil {
			t.Fatal(err)
		}
		expect(t, client, "by the server")
		err := c.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 0) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A reply names its source. It names the interface only where the source needs it.
func TestSourceControl(t *testing.T) {
	global, linkLocal := netip.MustParseAddr("fd00::1").As16(), netip.MustParseAddr("febf::1").As16()
	site := netip.MustParseAddr("fec0::1").As16()
	one, two := [4]byte{192, 0, 2, 1}, [4]byte{192, 0, 2, 255}
	for _, tt := range []struct{ got, want []byte }{
		{unix.PktInfo6(&unix.Inet6Pktinfo{Addr: global, Ifindex: 7}), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: global})},
		{unix.PktInfo6(&unix.Inet6Pktinfo{Addr: linkLocal, Ifindex: 7}), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: linkLocal, Ifindex: 7})},
		{unix.PktInfo6(&unix.Inet6Pktinfo{Addr: site, Ifindex: 7}), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: site})},
		{unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 7, Spec_dst: one, Addr: two}), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: one})},
		{unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 7, Addr: one}), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: one})},
	} {
		var c control
		room := unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c))
		copy(room, tt.got)
		if !c.toSource(true) || !bytes.Equal(room[:len(tt.want)], tt.want) {
			t.Errorf("got  % x\nwant % x", room, tt.want)
		}
		if c.toSource(false) {
			t.Error("a source without a message")
		}
		if c.Type = 100; c.toSource(true) {
			t.Error("a source by another message")
		}
	}
}

// What is behind an IP address is followed only if this Conn has put it there.
func TestWriteTo(t *testing.T) {
	namespace(t)
	c, other := listenAlone(t, ":0"), listenAlone(t, ":0")
	for _, host := range []string{"127.0.0.1", "::1", "fe80::1%lo"} {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		client := pc.(*net.UDPConn)
		defer client.Close()
		limit(t, client)
		server, err := net.ResolveUDPAddr("udp", join(strings.ReplaceAll(host, ".1", ".2"), c))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.WriteTo(query(""), server); err != nil {
			t.Fatal(err)
		}
		addr := handOver(t, c, "").(*net.UDPAddr)
		clone := *addr
		clone.IP = append(net.IP(nil), addr.IP...)
		spare := clone
		spare.IP = append(make(net.IP, 0, 200), addr.IP...)
		numbered := clone
		if numbered.Zone != "" {
			numbered.Zone = "1"
		}
		short := clone
		if short.IP = addr.IP; addr.IP.To4() != nil {
			short.IP = addr.IP.To4()
		}
		for name, to := range map[string]net.Addr{"as it was": addr, "clone": &clone, "spare": &spare, "numbered": &numbered, "short": &short} {
			if n, err := c.WriteTo(reply(query("x"), nil), to); err != nil || n != headerSize+1 {
				t.Fatal(host, name, n, err)
			}
			// With one interface, a reply finds its way without a zone, too.
			sa, _, err := c.destination(to.(*net.UDPAddr))
			if err != nil {
				t.Fatal(host, name, err)
			}
			if zone := sa.(*unix.SockaddrInet6).ZoneId; (zone == 1) != (addr.Zone != "") {
				t.Errorf("%s, %s: the zone is %d", host, name, zone)
			}
			buf := make([]byte, querySize)
			n, from, err := client.ReadFrom(buf)
			if err != nil || text(buf[:n]) != "x" {
				t.Fatal(host, name, err)
			}
			if kept := name == "as it was" || name == "short"; kept && from.String() != server.String() {
				t.Errorf("%s, %s: the reply is from %v, want %v", host, name, from, server)
			}
			// Another Conn takes the address as one of a stranger.
			if _, err := other.WriteTo(reply(query("x"), nil), to); err != nil {
				t.Fatal(host, name, err)
			}
			if _, from, err = client.ReadFrom(buf); err != nil || from.(*net.UDPAddr).Port != other.local.Port ||
				strings.HasPrefix(from.String(), "127.0.0.2") {
				t.Errorf("%s, %s: the reply is from %v, %v", host, name, from, err)
			}
		}
	}
}

func TestWriteToErrors(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{}, `send to ":0": *net.TCPAddr is not the address of a UDP socket`},
		{(*net.UDPAddr)(nil), `send to "<nil>": *net.UDPAddr is not the address of a UDP socket`},
		{&net.UDPAddr{IP: net.IPv6loopback, Port: 53}, `send to "[::1]:53": no IPv4 address`},
		{&net.UDPAddr{Port: 53}, `send to ":53": no IPv4 address`},
	} {
		if _, err := c.WriteTo(query(""), tt.addr); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	six := listenAlone(t, "[::1]:0")
	if _, err := six.WriteTo(query(""), &net.UDPAddr{Port: 53}); err == nil {
		t.Error("no error without an IP address")
	}
	if errors.Is(c.SetWriteDeadline(ended), net.ErrClosed) {
		t.Error("SetWriteDeadline")
	}
}

func TestZones(t *testing.T) {
	now := time.Now()
	var z zones
	if got := z.name(1, now); got != "lo" {
		t.Errorf("interface 1 is %q", got)
	}
	if got := z.name(1<<30, now); got != "1073741824" {
		t.Errorf("an interface that is gone is %q", got)
	}
	z.names[1] = "cached"
	if got := z.name(1, now.Add(time.Minute)); got != "cached" {
		t.Errorf("interface 1 is %q within a minute", got)
	}
	if got := z.name(1, now.Add(time.Minute+1)); got != "lo" {
		t.Errorf("interface 1 is %q after a minute", got)
	}
}
