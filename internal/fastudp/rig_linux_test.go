package fastudp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/coredns/coredns/plugin/pkg/reuseport"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come. None waits for it otherwise.
const patience = 20 * time.Second

type answerFunc func(query, buf []byte, v6 bool, received time.Time) []byte

func (f answerFunc) Answer(query, buf []byte, v6 bool, received time.Time) []byte {
	return f(query, buf, v6, received)
}

// fast answers the queries whose text begins with "fast": with the same text.
var fast = answerFunc(func(query, buf []byte, _ bool, _ time.Time) []byte {
	if string(query[headerSize:min(len(query), headerSize+4)]) != "fast" {
		return nil
	}
	return reply(query, buf)
})

func reply(query, buf []byte) []byte {
	buf = append(buf, query...)
	buf[2] |= 0x80
	return buf
}

// query returns a plain query, but for a text in place of the question.
func query(text string) []byte {
	return append([]byte{5: 1, headerSize - 1: 0}, text...)
}

func text(packet []byte) string { return string(packet[min(headerSize, len(packet)):]) }

// listenAlone returns a Conn without a server's socket. Tests that call ReadFrom themselves
// send queries before: those are in the socket once the system call that sends them is done.
func listenAlone(t testing.TB, addr string) *Conn {
	t.Helper()
	c, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// listenBeside returns the socket of a server, and a Conn with the same address.
func listenBeside(t testing.TB, addr string) (*net.UDPConn, *Conn) {
	t.Helper()
	server := listenOther(t, addr)
	return server, listenAlone(t, server.LocalAddr().String())
}

// listenOther returns an ordinary socket of the same kind.
func listenOther(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	pc, err := reuseport.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc.(*net.UDPConn)
}

// dial returns a socket that receives packets from one address only.
func dial(t testing.TB, from, to string) *net.UDPConn {
	t.Helper()
	var local *net.UDPAddr
	if from != "" {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	limit(t, conn)
	return conn
}

// limit makes reads of a socket fail if nothing comes.
func limit(t testing.TB, conn net.PacketConn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Error(err)
	}
}

func send(t testing.TB, conn net.Conn, packets ...[]byte) {
	t.Helper()
	for _, p := range packets {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
}

// expect reads replies, in order.
func expect(t testing.TB, conn net.Conn, texts ...string) {
	t.Helper()
	for _, want := range texts {
		buf := make([]byte, 1<<16)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("waiting for the reply %.40q: %v", want, err)
		}
		if got := text(buf[:n]); got != want {
			t.Fatalf("reply %.40q, want %.40q", got, want)
		}
		if buf[2]&0x80 == 0 {
			t.Fatalf("reply %.40q is a query", want)
		}
	}
}

// expectNone finds no reply waiting.
func expectNone(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	_ = raw.Read(func(fd uintptr) bool {
		if n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT); err == nil {
			t.Errorf("an unexpected packet %q", text(buf[:n]))
		} else if !errors.Is(err, unix.EAGAIN) {
			t.Error(err)
		}
		return true
	})
}

// handOver calls ReadFrom once and expects a query.
func handOver(t testing.TB, c net.PacketConn, want string) net.Addr {
	t.Helper()
	defer time.AfterFunc(patience, func() { c.Close() }).Stop()
	buf := make([]byte, 1<<16)
	n, addr, err := c.ReadFrom(buf)
	if err != nil {
		t.Fatalf("waiting for the query %q: %v", want, err)
	}
	if got := text(buf[:n]); got != want {
		t.Fatalf("query %.40q is for the server, want %.40q", got, want)
	}
	return addr
}

// packet is one that ReadFrom returned.
type packet struct {
	text string
	addr net.Addr
}

// read calls ReadFrom until the end of the test, which the Conn must see as being closed.
func read(t testing.TB, c *Conn) <-chan packet {
	handed := make(chan packet, 1000)
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, addr, err := c.ReadFrom(buf)
			if err != nil {
				done <- err
				return
			}
			handed <- packet{text(buf[:n]), addr}
		}
	}()
	t.Cleanup(func() {
		c.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrom: %v", err)
		}
	})
	return handed
}

func next(t testing.TB, handed <-chan packet, want string) net.Addr {
	t.Helper()
	select {
	case p := <-handed:
		if p.text != want {
			t.Fatalf("query %.40q is for the server, want %.40q", p.text, want)
		}
		return p.addr
	case <-time.After(patience):
		t.Fatalf("no query %.40q", want)
		return nil
	}
}

// namespace moves the test to a network namespace of its own. Its loopback interface has
// these addresses: 127.0.0.0/8, ::1, fd00::1, fd00::2, fe80::1 and fe80::2. The thread and so
// the namespace end with the goroutine of the test, since it does not unlock the thread.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace needs root: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(os.NewSyscallError("ioctl SIOCSIFFLAGS", err))
	}
	for _, addr := range []string{"fd00::1", "fd00::2", "fe80::1", "fe80::2"} {
		request := struct { // struct in6_ifreq
			addr   [16]byte
			prefix uint32
			index  int32
		}{netip.MustParseAddr(addr).As16(), 64, 1}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			t.Fatal(os.NewSyscallError("ioctl SIOCSIFADDR", errno))
		}
		// The kernel makes the address usable a little later.
		for start := time.Now(); ; {
			to := &unix.SockaddrInet6{Addr: request.addr, ZoneId: 1}
			if err = bind(to); err == nil {
				break
			}
			if time.Since(start) > patience {
				t.Fatalf("bind to %s: %v", addr, err)
			}
		}
	}
}

// bind tries an address.
func bind(addr unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, addr)
}

// join returns an address with the port of a socket.
func join(host string, of net.PacketConn) string {
	addr := netip.MustParseAddr(host)
	return netip.AddrPortFrom(addr, uint16(of.LocalAddr().(*net.UDPAddr).Port)).String()
}
