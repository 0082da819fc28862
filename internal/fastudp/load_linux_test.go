package fastudp

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// load sends queries from many clients, each with a window of them in flight, and counts the
// replies. It ends when each query has one.
type load struct {
	clients, rounds int
	replies         atomic.Int64
	half            chan struct{} // closed when half of the replies are there
	done            sync.WaitGroup
}

const window = 16

func startLoad(t testing.TB, to string, clients, rounds int) *load {
	l := &load{clients: clients, rounds: rounds, half: make(chan struct{})}
	for i := range clients {
		conn := dial(t, "", to)
		l.done.Go(func() { l.run(t, i, conn) })
	}
	return l
}

func (l *load) run(t testing.TB, client int, conn *net.UDPConn) {
	buf := make([]byte, querySize)
	for round := range l.rounds {
		var missing [window]bool
		for i := range window {
			missing[i] = true
			m := new(dns.Msg)
			m.SetQuestion([]string{"fast.", "slow."}[i%2], dns.TypeA)
			m.Id = uint16(i)
			if i%5 == 0 { // not a plain query: goes to the server's socket
				m.Ns = []dns.RR{&dns.NULL{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNULL}}}
			}
			wire, err := m.Pack()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := conn.Write(wire); err != nil {
				t.Error(err)
				return
			}
		}
		limit(t, conn)
		for range window {
			n, err := conn.Read(buf)
			if err != nil {
				t.Errorf("client %d, round %d: queries are lost: %v", client, round, err)
				return
			}
			id := int(buf[0])<<8 | int(buf[1])
			if n < headerSize || id >= window || !missing[id] {
				t.Errorf("client %d, round %d: an unexpected reply %d", client, round, id)
				return
			}
			missing[id] = false
			if l.replies.Add(1) == int64(l.clients*l.rounds*window/2) {
				close(l.half)
			}
		}
	}
}

func (l *load) wait(t testing.TB) {
	t.Helper()
	l.done.Wait()
	if got, want := l.replies.Load(), int64(l.clients*l.rounds*window); got != want {
		t.Errorf("%d replies to %d queries", got, want)
	}
}

// fastNames answers the queries for fast, at the speed that counts here.
var fastNames = answerFunc(func(query, buf []byte, _ bool, _ time.Time) []byte {
	if string(query[headerSize:headerSize+5]) != "\x04fast" {
		return nil
	}
	return reply(query, buf)
})

// A Conn that comes and goes under load, and answerers that change meanwhile, lose nothing.
func TestUnderLoad(t *testing.T) {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if err := w.WriteMsg(new(dns.Msg).SetReply(r)); err != nil {
			t.Error(err)
		}
	})
	own := listenOther(t, "127.0.0.1:0")
	addr := own.LocalAddr().String()
	serve(t, &dns.Server{PacketConn: own, Handler: handler})
	for range 5 {
		c := listenAlone(t, addr)
		var answered, handed atomic.Int64
		s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			handed.Add(1)
			handler(w, r)
		})}
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		served := make(chan error, 1)
		go func() { served <- s.ActivateAndServe() }()
		<-started
		if err := c.Steer(); err != nil {
			t.Fatal(err)
		}
		counted := answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
			reply := fastNames(query, buf, v6, received)
			if reply != nil {
				answered.Add(1)
			}
			return reply
		})
		l := startLoad(t, addr, 8, 40)
		for using := true; using; {
			c.Use(nil)
			c.Use(counted)
			select {
			case <-l.half:
				using = false
			default:
				runtime.Gosched()
			}
		}
		if err := c.Unsteer(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := s.ShutdownContext(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		l.wait(t)
		if answered.Load() == 0 || handed.Load() == 0 {
			t.Errorf("%d queries answered and %d handed over", answered.Load(), handed.Load())
		}
		if t.Failed() {
			return
		}
	}
}

// A query that is answered costs no allocation, whatever the socket.
func TestAllocations(t *testing.T) {
	for _, listen := range []string{"127.0.0.1", "::1", ""} {
		c := listenAlone(t, net.JoinHostPort(listen, "0"))
		c.Use(fast)
		read(t, c)
		if listen == "" {
			listen = "127.0.0.2"
		}
		client := dial(t, "", join(listen, c))
		q, buf := query("fast"), make([]byte, querySize)
		allocs := testing.AllocsPerRun(2000, func() {
			if _, err := client.Write(q); err != nil {
				t.Error(err)
			}
			if _, err := client.Read(buf); err != nil {
				t.Error(err)
			}
		})
		if allocs != 0 {
			t.Errorf("at %s: %v allocations a query", listen, allocs)
		}
	}
}

// BenchmarkAnswer answers queries of a client that has several in flight. The time is that of
// the client, too.
func BenchmarkAnswer(b *testing.B) {
	for _, flight := range []int{1, window} {
		b.Run(fmt.Sprint(flight, " in flight"), func(b *testing.B) {
			c := listenAlone(b, "127.0.0.1:0")
			c.Use(fast)
			read(b, c)
			client := dial(b, "", c.LocalAddr().String())
			q, buf := query("fast"), make([]byte, querySize)
			b.ReportAllocs()
			for range b.N / flight {
				for range flight {
					if _, err := client.Write(q); err != nil {
						b.Fatal(err)
					}
				}
				for range flight {
					if _, err := client.Read(buf); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
