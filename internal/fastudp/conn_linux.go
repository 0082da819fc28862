package fastudp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coredns/coredns/plugin/pkg/reuseport"
	"golang.org/x/sys/unix"
)

const (
	// A system call waits no longer for a query. It is how long ReadFrom takes to notice
	// that it has to end, and what counts as quiet.
	quietTime = 50 * time.Millisecond
	// If one goroutine has a processor for ten milliseconds, the runtime takes the processor
	// away during a system call. To get it back costs more than a query.
	yieldTime = 5 * time.Millisecond
	idSize    = 16
)

// Conn is a UDP socket that answers queries. As a [net.PacketConn], it belongs to a
// dns.Server, which gets the other queries. One goroutine may call ReadFrom.
type Conn struct {
	// NoRecover lets a panic of the answerer end the program.
	NoRecover bool
	// OnPanic, unless nil, is called with each panic of the answerer, which is not used again
	// until the next call of Use. Set both fields before the first call of ReadFrom.
	OnPanic func(value any, stack []byte)

	// The descriptor is in blocking mode, since the goroutine waits in a system call. A
	// RawConn keeps it open during a system call, so that another file can't take its number.
	file   *os.File
	raw    syscall.RawConn
	local  *net.UDPAddr
	ipv6   bool // the socket's family, which may have IPv4 clients, too
	opened time.Time
	id     [idSize]byte // random; marks the probes and the addresses of this Conn

	answerer atomic.Pointer[Answerer]
	ending   atomic.Bool
	quiet    atomic.Pointer[chan struct{}] // closed after a wait without a query
	probed   chan struct{}                 // gets a value if a probe arrives

	// ReadFrom uses these.
	batch         batch
	receive, send func(uintptr) bool
	received      time.Time
	yielded       time.Time
	using         *Answerer
	zones         zones
}

var _ net.PacketConn = (*Conn)(nil)

// Listen opens a socket beside the one of a CoreDNS server with this address.
func Listen(addr string) (*Conn, error) {
	c, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	return c, nil
}

func listen(addr string) (*Conn, error) {
	// As CoreDNS opens its own socket.
	pc, err := reuseport.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("%T is not a UDP socket", pc)
	}
	return newConn(udp)
}

// newConn takes over a socket. The caller closes udp.
func newConn(udp *net.UDPConn) (*Conn, error) {
	file, err := blocking(udp)
	if err != nil {
		return nil, err
	}
	c := &Conn{file: file, local: udp.LocalAddr().(*net.UDPAddr), opened: time.Now(), probed: make(chan struct{}, 1)}
	if err := c.setUp(); err != nil {
		file.Close()
		return nil, err
	}
	return c, nil
}

// blocking returns another descriptor of a socket, in blocking mode. The mode is shared, so
// the first descriptor is of no more use.
func blocking(udp *net.UDPConn) (*os.File, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(old uintptr) {
		if fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); failed != nil {
			failed = os.NewSyscallError("fcntl", failed)
			return
		}
		if failed = unix.SetNonblock(fd, false); failed != nil {
			failed = os.NewSyscallError("fcntl", failed)
			unix.Close(fd)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "udp "+udp.LocalAddr().String()), nil
}

func (c *Conn) setUp() error {
	var err error
	if c.raw, err = c.file.SyscallConn(); err != nil {
		return err
	}
	rand.Read(c.id[:])
	c.batch.init()
	c.receive, c.send = c.batch.receive, c.batch.send
	return c.control(func(fd int) error {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return os.NewSyscallError("getsockopt SO_DOMAIN", err)
		}
		c.ipv6 = domain == unix.AF_INET6
		wait := unix.NsecToTimeval(int64(quietTime))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
		}
		switch {
		case !c.local.IP.IsUnspecified(): // replies have this source anyway
			return nil
		case c.ipv6: // packets of IPv4 have this message, too, with a mapped address
			return os.NewSyscallError("setsockopt IPV6_RECVPKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
		default:
			return os.NewSyscallError("setsockopt IP_PKTINFO", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
		}
	})
}

// control calls f with the descriptor.
func (c *Conn) control(f func(fd int) error) error {
	var failed error
	if err := c.raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return net.ErrClosed
	}
	return failed
}

// Use sets the answerer from the next batch on. Without one (nil), all queries are for the
// server.
func (c *Conn) Use(a Answerer) {
	if a == nil {
		c.answerer.Store(nil)
		return
	}
	c.answerer.Store(&a)
}

// ReadFrom answers queries until there is one for the server, which it returns. It sends the
// replies before, so they never wait for the caller.
func (c *Conn) ReadFrom(p []byte) (int, net.Addr, error) {
	b := &c.batch
	for {
		i := c.answerAll()
		if b.ready > 0 {
			// An error means that the socket is closed, which fill finds out, too.
			_ = c.raw.Write(c.send)
		}
		if i >= 0 {
			b.handed = true
			query, _ := b.query(i)
			return copy(p, query), c.clientAddr(i), nil
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// answerAll answers the queries of the batch up to the first one for the server, and returns
// the index of that one, or -1.
func (c *Conn) answerAll() int {
	b := &c.batch
	for b.next < b.received {
		i := b.next
		b.next++
		query, whole := b.query(i)
		if c.using != nil && whole && len(query) >= headerSize {
			if reply := c.answer(query, b.replyBuffer(), b.clients[i].v6()); len(reply) > 0 {
				b.reply(i, reply)
				continue
			}
		}
		if c.isProbe(query) {
			continue
		}
		return i
	}
	return -1
}

// answer calls the answerer. A panic makes the query one for the server.
func (c *Conn) answer(query, buf []byte, v6 bool) (reply []byte) {
	defer func() {
		if c.NoRecover {
			return
		}
		if value := recover(); value != nil {
			reply = nil
			// If Use has set another answerer meanwhile, that one stays.
			c.answerer.CompareAndSwap(c.using, nil)
			c.using = nil
			if c.OnPanic != nil {
				c.OnPanic(value, debug.Stack())
			}
		}
	}()
	return (*c.using).Answer(query, buf, v6, c.received)
}

// fill receives the next batch.
func (c *Conn) fill() error {
	b := &c.batch
	c.yield()
	b.reset()
	for {
		quiet := c.quiet.Load()
		if err := c.raw.Read(c.receive); err != nil {
			return net.ErrClosed
		}
		switch b.errno {
		case 0:
			c.received = time.Now()
			c.using = c.answerer.Load()
			return nil
		case unix.EINTR:
		case unix.EAGAIN: // nothing came
			if quiet != nil && c.quiet.CompareAndSwap(quiet, nil) {
				close(*quiet)
			}
			if c.ending.Load() {
				return os.ErrDeadlineExceeded
			}
		case unix.ECONNREFUSED, unix.ECONNRESET, unix.EHOSTUNREACH, unix.EHOSTDOWN, unix.ENETUNREACH, unix.ENETDOWN,
			unix.ENOPROTOOPT, unix.EPROTO, unix.EMSGSIZE, unix.EACCES, unix.ENOBUFS, unix.ENOMEM:
			// An earlier packet met an error (ICMP), or there is no memory for this one.
		default:
			return os.NewSyscallError("recvmmsg", b.errno)
		}
	}
}

// yield lets other goroutines have the processor, if it is time or if the goroutine is about
// to wait and queries are with the server. A full batch means that there are more.
func (c *Conn) yield() {
	b := &c.batch
	if b.handed && b.received < batchSize || c.received.Sub(c.yielded) >= yieldTime {
		runtime.Gosched()
		c.yielded, b.handed = c.received, false
	}
}

// WriteTo sends a reply from the address that the client asked. The address of the client is
// one that ReadFrom returned. The kernel chooses the source of replies to others.
func (c *Conn) WriteTo(p []byte, addr net.Addr) (int, error) {
	n, err := c.writeTo(p, addr)
	if err != nil {
		return 0, fmt.Errorf("send to %q: %w", addr, err)
	}
	return n, nil
}

func (c *Conn) writeTo(p []byte, addr net.Addr) (n int, err error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok || udp == nil {
		return 0, fmt.Errorf("%T is not the address of a UDP socket", addr)
	}
	to, control, err := c.destination(udp)
	if err != nil {
		return 0, err
	}
	closed := c.raw.Write(func(fd uintptr) bool {
		for {
			if n, err = unix.SendmsgN(int(fd), p, control, to, 0); !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
	if closed != nil {
		return 0, net.ErrClosed
	}
	return n, os.NewSyscallError("sendmsg", err)
}

// LocalAddr returns the address that the socket is bound to.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// Close closes the socket, and the kernel sends everything to the socket of the server. A call
// of ReadFrom ends within quietTime. Queries that it has not received by then are lost.
func (c *Conn) Close() error {
	if err := c.file.Close(); err != nil {
		return net.ErrClosed
	}
	return nil
}

// SetDeadline is SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline lets ReadFrom end once no query comes, if t is before the socket was
// opened: that is how the dns.Server shuts down. It also calls this with another deadline
// before each read, which has no effect.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if t.Before(c.opened) && !t.IsZero() {
		c.ending.Store(true)
	}
	return nil
}

// SetWriteDeadline has no effect.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
