//go:build cluster

package main_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/headless-dns/headless/internal/cluster"
)

// otherProcess is what a server warns of if another process has the address.
const otherProcess = "another process has a socket on the address, or a firewall drops the probe; every query goes the ordinary way"

// rightAnswers queries a server about names of either way all the time, each time from another port.
type rightAnswers struct {
	server string
	stop   atomic.Bool
	asked  atomic.Int64
	ended  sync.WaitGroup
}

func askRightAlways(t *testing.T, server string) *rightAnswers {
	a := &rightAnswers{server: server}
	for _, name := range []string{fastHost, otherHost} {
		a.ended.Go(func() {
			for !a.stop.Load() {
				if err := askRight(server, name); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				a.asked.Add(1)
			}
		})
	}
	return a
}

// more waits for n more answers.
func (a *rightAnswers) more(t *testing.T, n int64) {
	t.Helper()
	want := a.asked.Load() + n
	eventually(t, func() error {
		if got := a.asked.Load(); got < want && !t.Failed() {
			return fmt.Errorf("%s gave %d answers, want %d", a.server, got, want)
		}
		return nil
	})
}

// end stops the queries and fails the test if an answer was wrong.
func (a *rightAnswers) end() {
	a.stop.Store(true)
	a.ended.Wait()
}

// TestFastPathOtherProcess starts two servers on one address, as an update on the network of the
// host does, and ends them in either order. One of them or both have the fast path.
func TestFastPathOtherProcess(t *testing.T) {
	manifests := fastManifests(t)
	for _, tc := range []struct {
		name          string
		first, second bool // have the fast path
		bind          string
	}{
		{"both", true, true, "bind 127.0.0.1"},
		{"both, wildcard", true, true, ""},
		{"the first", true, false, "bind 127.0.0.1"},
		{"the second", false, true, "bind 127.0.0.1"},
	} {
		for _, firstEnds := range []bool{true, false} {
			ok := t.Run(fmt.Sprintf("%s, the first ends %v", tc.name, firstEnds), func(t *testing.T) {
				port := cluster.MustFreePort(t)
				start := func(name string, fast bool, sockets int) *fastProcess {
					t.Helper()
					stanza := ""
					if fast {
						stanza = "fastpath"
					}
					return startFast(t, name, fastCorefile(port, manifests, stanza, tc.bind), sockets)
				}
				sockets := 0
				if tc.first {
					sockets = 1
				}
				first := start("first", tc.first, sockets)
				ready(t, port)
				a := askRightAlways(t, "127.0.0.1:"+port)
				defer a.end()
				a.more(t, 100)

				second := start("second", tc.second, 0)
				warnings := 0
				if tc.second {
					warnings = 1
				}
				second.awaitLog(t, otherProcess, warnings)
				a.more(t, 100)

				ends, remains := second, first
				if firstEnds {
					ends, remains, sockets = first, second, 0
				}
				ends.end(t, syscall.SIGTERM)
				a.more(t, 100)
				remains.await(t, sockets)

				// A reload tries again.
				if firstEnds && tc.second {
					before := remains.fastAnswers(t)
					remains.reload(t)
					remains.await(t, 1)
					if err := askRight(a.server, fastHost); err != nil {
						t.Error(err)
					}
					if remains.fastAnswers(t) == before {
						t.Error("after a reload, the fast path gave no answer")
					}
				}
				a.end()
				first.awaitLog(t, otherProcess, 0)
				second.awaitLog(t, otherProcess, warnings)
				t.Logf("%d answers", a.asked.Load())
			})
			if !ok {
				return // each would wait in vain
			}
		}
	}
}

// TestFastPathAddresses has a server with addresses of either family. The fast path answers on each.
func TestFastPathAddresses(t *testing.T) {
	port := cluster.MustFreePort(t)
	p := startFast(t, "addresses", fastCorefile(port, fastManifests(t), "fastpath", "bind 127.0.0.2 127.0.0.1 ::1"), 3)
	for i, host := range []string{"127.0.0.2", "127.0.0.1", "[::1]"} {
		for _, name := range []string{fastHost, otherHost} {
			if err := askRight(host+":"+port, name); err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
		if got := p.fastAnswers(t); got != i+1 {
			t.Errorf("after a query to %s, the fast path gave %d answers, want %d", host, got, i+1)
		}
	}
}
