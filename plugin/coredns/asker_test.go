//go:build cluster

package main_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// asker queries the server under test all the time while a test changes the cluster.
type asker struct {
	stop   context.CancelFunc
	done   chan struct{}
	rounds chan struct{} // receives one value a round, if a test waits
	n      int
	wrong  int
	first  error
}

// ask calls round about every millisecond until asker.end. If a reply is missing or
// wrong, round returns an error.
func ask(t *testing.T, round func(*dns.Conn) error) *asker {
	t.Helper()
	conn, err := dns.Dial("udp", "127.0.0.1:"+srv.port)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	a := &asker{stop: stop, done: make(chan struct{}), rounds: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer conn.Close()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			if err := round(conn); err != nil {
				if a.wrong++; a.first == nil {
					a.first = fmt.Errorf("at %s: %w", time.Now().Format(time.StampMilli), err)
				}
			}
			a.n++
			select {
			case a.rounds <- struct{}{}:
			default:
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return a
}

// more waits for n more rounds.
func (a *asker) more(n int) {
	for range n {
		<-a.rounds
	}
}

// end stops the asker and fails the test if any round was wrong.
func (a *asker) end(t *testing.T) {
	t.Helper()
	a.stop()
	<-a.done
	if a.wrong != 0 {
		t.Errorf("%d of %d rounds of queries failed, the first: %v", a.wrong, a.n, a.first)
	}
	t.Logf("%d rounds of queries", a.n)
}

func exchange(conn *dns.Conn, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	client := dns.Client{Timeout: 2 * time.Second}
	r, _, err := client.ExchangeWithConn(m, conn)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
	}
	return r, nil
}

// hasAddrs returns an error unless the A records of a name include these addresses and
// are at most n.
func hasAddrs(conn *dns.Conn, name string, want []string, n int) error {
	r, err := exchange(conn, name, dns.TypeA)
	if err != nil {
		return err
	}
	got := rdatas(r.Answer)
	for _, record := range want {
		if !slices.Contains(got, record) || len(got) > n {
			return fmt.Errorf("want %v:\n%v", want, r)
		}
	}
	return nil
}
