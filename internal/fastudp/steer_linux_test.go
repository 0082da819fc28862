package fastudp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// header returns a packet of 12 bytes of which one differs from those of a plain query.
func header(i int, value byte) []byte {
	p := query("")
	p[i] = value
	return p
}

// Plain queries come to the Conn, and other packets to the socket of the server, whatever
// the ports of the clients.
func TestSteer(t *testing.T) {
	namespace(t)
	plain := map[string][]byte{
		"a query":          query(""),
		"RD":               header(2, 0x01),
		"AA, TC, RD":       header(2, 0x07),
		"CD":               header(3, 0x10),
		"an ID":            header(0, 0xFF),
		"OPT":              header(11, 1),
		"more than a head": query("question"),
	}
	others := map[string][]byte{
		"a response":              header(2, 0x80),
		"UPDATE":                  header(2, 5<<3),
		"IQUERY":                  header(2, 1<<3),
		"no question":             header(5, 0),
		"two questions":           header(5, 2),
		"256 more questions":      header(4, 1),
		"an answer":               header(7, 1),
		"256 answers":             header(6, 1),
		"an authority":            header(9, 1),
		"256 authorities":         header(8, 1),
		"two additional records":  header(11, 2),
		"256 additional records":  header(10, 1),
		"nothing":                 {},
		"two bytes":               make([]byte, 2),
		"all but ARCOUNT":         query("")[:10],
		"all but a byte":          query("")[:11],
		"the end of a dead probe": bytes.Repeat([]byte{0x80}, 29),
	}
	for _, listen := range []string{"127.0.0.1", "", "::1", "fd00::2", "fe80::1%lo"} {
		server, c := listenBeside(t, net.JoinHostPort(listen, "0"))
		handed := read(t, c)
		if err := c.Steer(); err != nil {
			t.Fatal(listen, err)
		}
		if err := c.Steer(); err != nil { // as after a reload
			t.Fatal(listen, err)
		}
		asked := []string{listen}
		if listen == "" {
			asked = []string{"127.0.0.2", "::1", "fe80::2%lo"}
		}
		limit(t, server)
		for _, host := range asked {
			for range 8 {
				client := dial(t, "", join(host, c))
				for name, packet := range plain {
					send(t, client, packet)
					if addr := next(t, handed, text(packet)); addr.String() != client.LocalAddr().String() {
						t.Errorf("%s from %v, want %v", name, addr, client.LocalAddr())
					}
				}
				for name, packet := range others {
					send(t, client, packet)
					buf := make([]byte, querySize)
					n, _, err := server.ReadFrom(buf)
					if err != nil || !bytes.Equal(buf[:n], packet) {
						t.Fatalf("%s: the server got %v, %v", name, buf[:n], err)
					}
				}
				client.Close()
			}
		}
		if err := c.Unsteer(); err != nil {
			t.Fatal(err)
		}
		// Connected to itself, the socket is found for nobody else while it closes.
		connected := c.control(func(fd int) error {
			_, err := unix.Getpeername(fd)
			return err
		}) == nil
		if bound := listen != ""; connected != bound {
			t.Errorf("the socket at %q is connected to its own address: %v, want %v", listen, connected, bound)
		}
		for range 8 {
			send(t, dial(t, "", join(asked[0], c)), query("all"))
			handOver(t, server, "all")
		}
	}
}

// The probe tells of another process, before or between the two sockets. The program stays.
func TestOtherProcess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before bool
	}{{"before", true}, {"between", false}} {
		for _, listen := range []string{"127.0.0.1:0", ":0"} {
			t.Run(tt.name+" "+listen, func(t *testing.T) {
				t.Parallel() // each takes a second
				first := listenOther(t, listen)
				second := listenOther(t, first.LocalAddr().String())
				c := listenAlone(t, first.LocalAddr().String())
				handed := read(t, c)
				c.probed <- struct{}{} // late, of an earlier call
				err := c.Steer()
				if !errors.Is(err, ErrOtherProcess) {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("steer queries to %q: another process has a socket on the address, or a firewall drops the probe", c.LocalAddr()); err.Error() != want {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				limit(t, second)
				buf := make([]byte, querySize)
				for range probes {
					n, _, err := second.ReadFrom(buf)
					if err != nil || !bytes.Equal(buf[:n], c.probe()) {
						t.Fatalf("the second socket got %q, %v", buf[:n], err)
					}
					if listen == ":0" {
						_, _, _ = second.ReadFrom(buf) // that to ::1
					}
				}
				for range 8 {
					client := dial(t, "", join("127.0.0.1", c))
					send(t, client, query("plain"), header(5, 2))
					handOver(t, second, "plain")
					handOver(t, first, "")
				}
				select {
				case p := <-handed:
					t.Errorf("the Conn got %q", p.text)
				default:
				}
			})
		}
	}
}

// A wildcard shares its port with sockets of single addresses, such as that of a cache.
func TestSteerBesideLoopback(t *testing.T) {
	for _, other := range []string{"127.0.0.1", "::1"} {
		_, c := listenBeside(t, ":0")
		listenOther(t, join(other, c))
		read(t, c)
		if err := c.Steer(); err != nil {
			t.Errorf("beside a socket of %s: %v", other, err)
		}
	}
}

// Where no probe can be sent, nothing is known of another process.
func TestSteerNoRoute(t *testing.T) {
	namespace(t)
	c := listenAlone(t, "127.0.0.1:0")
	c.local = &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: c.local.Port}
	if err := c.Steer(); err == nil || errors.Is(err, ErrOtherProcess) {
		t.Errorf("Steer: %v", err)
	}
}

// A DNS server takes the probe of another process's Conn for a malformed query. The probe
// that comes late is neither answered nor handed over.
func TestProbe(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	c.Use(fast)
	asks := dial(t, "", c.LocalAddr().String())
	send(t, asks, c.probe(), query("fast 1"), c.probe(), query("slow"))
	handOver(t, c, "slow")
	expect(t, asks, "fast 1")
	expectNone(t, asks)

	server := &dns.Server{PacketConn: listenOther(t, "127.0.0.1:0"), Handler: dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) {
		t.Error("the handler was called")
	})}
	serve(t, server)
	client := dial(t, "", server.PacketConn.LocalAddr().String())
	send(t, client, c.probe())
	buf := make([]byte, querySize)
	n, err := client.Read(buf)
	if err != nil || n < headerSize || buf[3]&0x0F != dns.RcodeFormatError {
		t.Errorf("reply % x, %v", buf[:n], err)
	}
}

// serve runs a server until the end of the test.
func serve(t testing.TB, s *dns.Server) {
	t.Helper()
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Unsteer returns once ReadFrom has gone through what came before, and waits for quiet.
func TestUnsteerWaits(t *testing.T) {
	server, c := listenBeside(t, "127.0.0.1:0")
	c.Use(fast)
	client := dial(t, "", c.LocalAddr().String())
	if err := c.attach(plainQueries); err != nil {
		t.Fatal(err)
	}
	const queries = 2*batchSize + 3
	for i := range queries {
		send(t, client, query(fmt.Sprint("fast ", i)), query(fmt.Sprint("slow ", i)))
	}
	unsteered := make(chan error)
	go func() { unsteered <- c.Unsteer() }()
	for i := range queries {
		handOver(t, c, fmt.Sprint("slow ", i))
		expect(t, client, fmt.Sprint("fast ", i))
		select {
		case err := <-unsteered:
			t.Fatalf("Unsteer returned before the end: %v", err)
		default:
		}
	}
	handed := read(t, c)
	if err := <-unsteered; err != nil {
		t.Fatal(err)
	}
	send(t, client, query("fast"))
	handOver(t, server, "fast")
	if len(handed) > 0 {
		t.Errorf("the Conn got %q", (<-handed).text)
	}
}

// Unsteer gives up if the Conn finds no quiet.
func TestUnsteerBusy(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0") // gets everything
	client := dial(t, "", c.LocalAddr().String())
	c.Use(answerFunc(func(query, buf []byte, _ bool, _ time.Time) []byte {
		send(t, client, query)
		return reply(query, buf)
	}))
	send(t, client, query(""))
	read(t, c)
	want := fmt.Sprintf("unsteer queries from %q: still not quiet after 1s", c.LocalAddr())
	if err := c.Unsteer(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	c.Close()
}

// A wait that began before the program changed says nothing: a packet may be on its way.
func TestQuietIsNew(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	quiet := make(chan struct{})
	receive := c.receive
	var waits int
	c.receive = func(fd uintptr) bool {
		if waits++; waits == 1 {
			defer c.quiet.Store(&quiet)
		}
		return receive(fd)
	}
	c.ending.Store(true)
	if _, _, err := c.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	select {
	case <-quiet:
		t.Error("a wait counts that began before")
	default:
	}
	if _, _, err := c.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	<-quiet
}
