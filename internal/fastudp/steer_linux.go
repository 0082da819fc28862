package fastudp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	probes      = 5
	probeTime   = 200 * time.Millisecond
	unsteerTime = time.Second
)

// The indexes of the sockets in the group, in the order in which they were bound. Without a
// socket at an index, the kernel chooses by a hash.
const (
	serverSocket = 0
	connSocket   = 1
)

// plainQueries chooses by the header of the packet. Beyond its end, a load makes the program
// return zero. This kind of program needs no privilege.
var plainQueries = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 2}, // QR, opcode, AA, TC, RD
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0xF8, Jt: 5},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4}, // QDCOUNT, ANCOUNT
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 1 << 16, Jf: 3},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 8}, // NSCOUNT, ARCOUNT
	{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: 1, Jt: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: connSocket},
	{Code: unix.BPF_RET | unix.BPF_K, K: serverSocket},
}

var noQueries = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: serverSocket}}

// Steer makes the kernel send plain queries to c: those with one question and no records but
// one of the additional section. Other packets go to the server's socket. That one must be
// the first with this address, and c the second. Something must call ReadFrom meanwhile.
//
// Steer sends probes to see that queries arrive at c. If they don't, the error is
// [ErrOtherProcess]. The program stays then, since the other process may have one like it.
func (c *Conn) Steer() error {
	if err := c.attach(plainQueries); err != nil {
		return fmt.Errorf("steer queries to %q: %w", c.local, err)
	}
	select {
	case <-c.probed: // of an earlier call
	default:
	}
	for range probes {
		if err := c.sendProbes(); err != nil {
			return fmt.Errorf("steer queries to %q: %w", c.local, err)
		}
		select {
		case <-c.probed:
			return nil
		case <-time.After(probeTime):
		}
	}
	return fmt.Errorf("steer queries to %q: %w", c.local, ErrOtherProcess)
}

// Unsteer makes the kernel send everything to the server's socket, and waits until ReadFrom
// has returned or answered what came before. So no query is lost when the dns.Server shuts
// down, which reads no more after the first query that ReadFrom returns.
func (c *Conn) Unsteer() error {
	if err := c.attach(noQueries); err != nil {
		return fmt.Errorf("unsteer queries from %q: %w", c.local, err)
	}
	quiet := make(chan struct{})
	c.quiet.Store(&quiet)
	select {
	case <-quiet:
		return c.leave()
	case <-time.After(unsteerTime):
		return fmt.Errorf("unsteer queries from %q: still not quiet after %v", c.local, unsteerTime)
	}
}

// leave makes the kernel find the socket for nobody's datagrams any more, so that it can be closed:
// it connects the socket to its own address. The kernel takes a socket that closes out of its group
// before it takes it out of the lookup, and a datagram in between would be lost with the socket. A
// socket at a wildcard would have the same moment while it connects, as that binds it to an address.
func (c *Conn) leave() error {
	if c.local.IP.IsUnspecified() {
		return nil
	}
	return c.control(func(fd int) error {
		var to unix.Sockaddr
		if ip := c.local.IP.To4(); ip != nil {
			to = &unix.SockaddrInet4{Port: c.local.Port, Addr: [4]byte(ip)}
		} else {
			from, err := unix.Getsockname(fd) // has the zone
			if err != nil {
				return os.NewSyscallError("getsockname", err)
			}
			to = from
		}
		return os.NewSyscallError("connect", unix.Connect(fd, to))
	})
}

// attach sets the program of the group.
func (c *Conn) attach(program []unix.SockFilter) error {
	return c.control(func(fd int) error {
		prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &prog)
		return os.NewSyscallError("setsockopt SO_ATTACH_REUSEPORT_CBPF", err)
	})
}

// probe returns a packet that looks like a plain query to the program. Its question begins
// with an invalid label, so another DNS server can only answer with FORMERR.
func (c *Conn) probe() []byte {
	header := [headerSize]byte{0: c.id[0], 1: c.id[1], 5: 1}
	return append(append(header[:], 0x80), c.id[:]...)
}

// isProbe reports whether a query is a probe of this Conn, and tells Steer.
func (c *Conn) isProbe(query []byte) bool {
	if len(query) != headerSize+1+idSize || !bytes.Equal(query[headerSize+1:], c.id[:]) {
		return false
	}
	select {
	case c.probed <- struct{}{}:
	default: // a late one
	}
	return true
}

// sendProbes sends a probe to each address where one may arrive. A wildcard has loopback
// addresses of either family, one of which may be missing or have a socket of its own. An
// error means that none was sent.
func (c *Conn) sendProbes() error {
	hosts := []net.UDPAddr{{IP: c.local.IP, Zone: c.local.Zone}}
	if c.local.IP.IsUnspecified() {
		hosts = []net.UDPAddr{{IP: net.IPv4(127, 0, 0, 1)}}
		if c.ipv6 {
			hosts = append(hosts, net.UDPAddr{IP: net.IPv6loopback})
		}
	}
	var failed []error
	for _, host := range hosts {
		host.Port = c.local.Port
		if err := c.sendProbe(&host); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) < len(hosts) {
		return nil
	}
	return fmt.Errorf("send a probe: %w", errors.Join(failed...))
}

// sendProbe sends a probe from a new socket, as a client would.
func (c *Conn) sendProbe(to *net.UDPAddr) error {
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write(c.probe())
	return err
}
