//go:build cluster

package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

const (
	loadRate    = 2000 // queries a second
	loadClients = 32   // sockets
)

// load sends queries to a server at a steady rate, in turn for a name of headless and for another
// name. It notes which are answered.
type load struct {
	stop    context.CancelFunc
	sent    chan struct{} // closed after the last query
	clients []net.Conn
	readers sync.WaitGroup

	mu       sync.Mutex
	queries  []loadQuery // their IDs are their places
	answered int
	wrong    error
}

type loadQuery struct {
	at       time.Time
	answered bool
}

func startLoad(t *testing.T, server string) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop, sent: make(chan struct{})}
	for range loadClients {
		conn, err := net.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		l.clients = append(l.clients, conn)
		l.readers.Go(func() { l.read(conn) })
	}
	go l.send(ctx)
	return l
}

func (l *load) send(ctx context.Context) {
	defer close(l.sent)
	tick := time.NewTicker(time.Second / loadRate)
	defer tick.Stop()
	for i := 0; i <= 0xFFFF; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m := new(dns.Msg).SetQuestion([]string{fastHost, otherHost}[i%2], dns.TypeA)
		m.Id = uint16(i)
		query, err := m.Pack()
		if err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.queries = append(l.queries, loadQuery{at: time.Now()})
		l.mu.Unlock()
		// A refusal is of an earlier query: nothing listens any more.
		if _, err := l.clients[i%loadClients].Write(query); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			l.fail(err)
			return
		}
	}
	l.fail(errors.New("the load ran out of IDs"))
}

func (l *load) read(conn net.Conn) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			l.fail(err)
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil {
			l.fail(err)
			return
		}
		if want := []string{fastAddr, otherAddr}[m.Id%2]; m.Rcode != dns.RcodeSuccess || !slices.Equal(rdatas(m.Answer), []string{want}) {
			l.fail(fmt.Errorf("want %s:\n%v", want, m))
		}
		l.mu.Lock()
		l.answered++
		l.queries[m.Id].answered = true
		l.mu.Unlock()
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrong == nil {
		l.wrong = err
	}
}

// more waits for n more answers.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	want := l.now() + n
	eventually(t, func() error {
		if got := l.now(); got < want {
			return fmt.Errorf("%d answers, want %d", got, want)
		}
		return nil
	})
}

func (l *load) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered
}

// end stops the load and returns the queries without an answer, and how many there were. Those at
// the end, after the last one that has an answer, do not count if the server has ended.
func (l *load) end(t *testing.T, serverEnded bool) {
	t.Helper()
	l.stop()
	<-l.sent
	if !serverEnded {
		cluster.Eventually(t, 10*time.Second, func() error {
			if n, want := l.now(), len(l.queries); n < want {
				return fmt.Errorf("%d of %d queries are answered", n, want)
			}
			return nil
		})
	}
	for _, conn := range l.clients {
		_ = conn.SetReadDeadline(time.Now())
	}
	l.readers.Wait()
	for _, conn := range l.clients {
		_ = conn.Close()
	}
	if l.wrong != nil {
		t.Error(l.wrong)
	}
	last := 0
	for i, q := range l.queries {
		if q.answered {
			last = i
		}
	}
	for i, q := range l.queries[:last] {
		if !q.answered {
			t.Errorf("query %d was lost at %s; the last answer is to query %d, sent at %s", i, q.at.Format(time.StampMicro), last, l.queries[last].at.Format(time.StampMicro))
		}
	}
	t.Logf("%d queries, %d answers", len(l.queries), l.answered)
}

// TestFastPathShutdown ends a server under load. It answers queries until its sockets close: none is
// lost that was sent before one that is answered.
func TestFastPathShutdown(t *testing.T) {
	manifests := fastManifests(t)
	for _, bind := range []string{"bind 127.0.0.1", ""} {
		for _, lameduck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q, lameduck %v", bind, lameduck), func(t *testing.T) {
				port := cluster.MustFreePort(t)
				block := bind
				if lameduck {
					block += "\nhealth 127.0.0.1:" + cluster.MustFreePort(t) + " {\nlameduck 1s\n}"
				}
				p := startFast(t, "shutdown", fastCorefile(port, manifests, "fastpath", block), 1)
				ready(t, port)
				l := startLoad(t, "127.0.0.1:"+port)
				l.more(t, 500)
				p.end(t, syscall.SIGTERM)
				l.end(t, true)
			})
		}
	}
}

// TestFastPathReload reloads Corefiles under load that keep the directive, remove it, add it and
// fail, in a stanza or since a port is taken. No query is lost.
func TestFastPathReload(t *testing.T) {
	manifests := fastManifests(t)
	port := cluster.MustFreePort(t)
	const bind = "bind 127.0.0.1"
	p := startFast(t, "reload", fastCorefile(port, manifests, "fastpath", bind), 1)
	ready(t, port)
	l := startLoad(t, "127.0.0.1:"+port)
	l.more(t, 500)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	complete, failed := 0, 0
	ttl := 5
	for i, step := range []struct {
		stanza, block string
		fails         bool
		sockets       int
	}{
		{"fastpath", "", false, 1},
		{"fastpath", "", false, 1},
		{"fastpath\nno_such_option", "", true, 1}, // the old one goes on
		{"fastpath", "log", true, 1},              // log must see the queries
		{"fastpath", "}\n.:" + takenPort + " {\nbind 127.0.0.1", true, 1},
		{"", "}\n.:" + takenPort + " {\nbind 127.0.0.1", true, 1},
		{"", "", false, 0},
		{"", "", false, 0},
		{"no_such_option", "", true, 0},
		{"fastpath", "}\n.:" + takenPort + " {\nbind 127.0.0.1", true, 0},
		{"fastpath", "", false, 1},
		{"", "", false, 0},
		{"fastpath", "", false, 1},
	} {
		// Another TTL shows that the new server answers, either way.
		setting := fmt.Sprintf("\nttl %d\n", 10+i)
		corefile := fastCorefile(port, manifests, step.stanza+setting, bind+"\n"+step.block)
		p.write(t, strings.Replace(corefile, "hosts {", "hosts {"+setting, 1))
		p.reload(t)
		if step.fails {
			failed++
		} else {
			complete++
			ttl = 10 + i
		}
		p.awaitLog(t, "Reloading complete", complete)
		p.awaitLog(t, "[ERROR] SIGUSR1: ", failed)
		p.await(t, step.sockets)
		before := p.fastAnswers(t)
		l.more(t, 200)
		for _, name := range []string{fastHost, otherHost} {
			eventually(t, func() error { // the replaced server may still answer
				r, err := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), "127.0.0.1:"+port)
				if err == nil && (len(r.Answer) != 1 || r.Answer[0].Header().Ttl != uint32(ttl)) {
					err = fmt.Errorf("want TTL %d:\n%v", ttl, r)
				}
				return err
			})
		}
		if got := p.fastAnswers(t) > before; got != (step.sockets > 0) {
			t.Errorf("after a reload with %q and %q, the fast path answers: %v", step.stanza, step.block, got)
		}
	}
	l.end(t, false)
	p.awaitLog(t, "[WARNING] plugin/headless: fastpath", 0)
}
