package informer

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/internal/apiserver"
)

// TestFaults makes an API server fail at the start, or later. The log has each symptom
// once, answers stay, and everything recovers when the fault is over.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  apiserver.Fault
		refuse bool
		reason string // in the log
		tries  int
		times  float64 // speed of the clock, 10 by default: a slow watch must not seem settled
	}{
		{name: "connection refused", refuse: true, reason: "connection refused", tries: 5},
		{name: "connection ended", fault: apiserver.Fault{Abort: true}, reason: "ended ", tries: 5},
		{name: "401", fault: apiserver.Fault{Code: 401}, reason: "provide credentials", tries: 5},
		{name: "403", fault: apiserver.Fault{Code: 403}, reason: "stand-in fault 403", tries: 5},
		{name: "410", fault: apiserver.Fault{Code: 410}, reason: "410", tries: 5},
		{name: "429", fault: apiserver.Fault{Code: 429}, reason: "too many requests", tries: 5},
		{name: "500", fault: apiserver.Fault{Code: 500}, reason: "error on the server", tries: 5},
		{name: "503", fault: apiserver.Fault{Code: 503}, reason: "unable to handle the request", tries: 5},
		{name: "watches end at once", fault: apiserver.Fault{Cut: true}, reason: "ended ", tries: 5},
		{name: "watches expire at once", fault: apiserver.Fault{Expired: true}, reason: "refuses every version", tries: 5},
		{name: "lists never end", fault: apiserver.Fault{Stall: true}, reason: "no event for 3m0s, and the initial events are not complete", tries: 2, times: 100},
	} {
		times := cmp.Or(test.times, 10)
		begin := func(f *faulty) {
			f.api.SetFault(test.fault)
			f.refuse.Store(test.refuse)
		}
		end := func(t *testing.T, f *faulty) {
			f.awaitThat(t, "the fault is logged", func() bool { return f.lines(fails) > 0 })
			f.tries(t, test.tries)
			f.locked(func() {
				// One fault may end a watch and refuse a list, with two causes in the log.
				if f.lines(failsFirst) > 3 || f.lines(worksAgain) != 0 || f.failing[object.Pods] != 1 {
					t.Errorf("%d watches fail; the log has %q", f.failing[object.Pods], f.logged)
				}
			})
			f.refuse.Store(false)
			f.api.SetFault(apiserver.Fault{})
			f.await(t, nginxName, dns.TypeA, threePods)
			f.awaitThat(t, "it works again", f.works)
			f.api.Apply(gone(fixture.Web(2)))
			f.await(t, nginxName, dns.TypeA, twoPods)
			f.locked(func() {
				if !f.works() || f.lines(failsFirst) != len(f.causes()) {
					t.Errorf("%d watches fail afterwards; the log has %q", f.failing[object.Pods], f.logged)
				}
				if line := strings.Join(f.logged, "\n"); !strings.Contains(line, test.reason) {
					t.Errorf("the log is %q, want %q in it", f.logged, test.reason)
				}
			})
		}
		t.Run(test.name+" at the start", func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, times)
			f.api.Put(fixture.Web(2))
			begin(f)
			f.Start()
			end(t, f)
		})
		t.Run(test.name+" later", func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, times, "10.244.0.1", "10.244.0.2")
			f.start(t)
			f.await(t, nginxName, dns.TypeA, twoPods)
			begin(f)
			f.tries(t, 1, f.api.Expire)
			f.api.Put(fixture.Web(2))
			end(t, f)
		})
	}
}

// TestCut cuts the watches. They resume, and nothing is logged.
func TestCut(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 100, "10.244.0.1", "10.244.0.2")
	f.start(t)
	for range 5 {
		f.api.Put(fixture.Web(2))
		f.event(t)
		f.await(t, nginxName, dns.TypeA, threePods)
		f.api.DropWatches()
		f.api.Apply(gone(fixture.Web(2)))
		f.await(t, nginxName, dns.TypeA, twoPods)
	}
	f.locked(func() {
		if n := f.api.Listed("pods"); n != 1 || f.lines("") != 0 || f.failing[object.Pods] != 0 {
			t.Errorf("%d lists, %d watches fail, the log has %q", n, f.failing[object.Pods], f.logged)
		}
	})
}

// TestSilent makes the watches silent after they had bookmarks. They resume at their
// versions.
func TestSilent(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 100, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.bookmark(t)
	f.api.SetFault(apiserver.Fault{Silent: true})
	f.api.Put(fixture.Web(2))
	f.awaitThat(t, "the silence is logged", func() bool {
		return f.lines("watch: neither an event nor a bookmark for 3m0s") > 0
	})
	f.tries(t, 3)
	var heard int
	f.locked(func() {
		heard = f.received[object.Pods]
		if f.failing[object.Pods] != 1 || f.lines(failsFirst) != 1 {
			t.Errorf("%d watches fail, the log has %q", f.failing[object.Pods], f.logged)
		}
	})
	if got := answer(f.trie, nginxName, dns.TypeA); got != twoPods {
		t.Errorf("the answer is %q", got)
	}
	f.api.SetFault(apiserver.Fault{})
	f.await(t, nginxName, dns.TypeA, threePods)
	f.bookmark(t) // for the other kinds
	f.awaitThat(t, "it works again", f.works)
	f.locked(func() {
		if n := f.api.Listed("pods"); n != 1 || f.lines(failsFirst) != 1 || f.received[object.Pods] < heard+2 {
			t.Errorf("%d lists, %d watches fail, %d events after %d, the log has %q", n, f.failing[object.Pods], f.received[object.Pods], heard, f.logged)
		}
	})
}

// TestIdle changes nothing for a long time, on a server without bookmarks.
func TestIdle(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 100, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.tries(t, 4) // two watches, each after a probe of the version
	f.api.Put(fixture.Web(2))
	f.await(t, nginxName, dns.TypeA, threePods)
	f.locked(func() {
		if n := f.api.Listed("pods"); n != 1 || len(f.logged) != 0 || len(f.failing) != 0 {
			t.Errorf("%d lists, failing: %v, the log has %q", n, f.failing, f.logged)
		}
	})
}

// TestBookmarksOnly changes nothing for a long time, on a server with bookmarks.
func TestBookmarksOnly(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 50, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.bookmark(t)
	f.mu.Lock()
	before := f.requests
	f.mu.Unlock()
	tick := f.clock.NewTicker(20 * time.Second)
	defer tick.Stop()
	for start := f.clock.Now(); f.clock.Since(start) < 2*silenceLimit; <-tick.C() {
		f.bookmark(t)
	}
	f.locked(func() {
		if f.requests != before || len(f.logged) != 0 {
			t.Errorf("%d requests, the log has %q", f.requests-before, f.logged)
		}
	})
}

// TestSlowList delays a list. The old answers stay until it is complete.
func TestSlowList(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 1, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.api.SetFault(apiserver.Fault{Stall: true})
	f.tries(t, 1, f.api.Expire) // for the initial events
	f.api.Put(fixture.Web(2))
	if got := answer(f.trie, nginxName, dns.TypeA); got != twoPods {
		t.Errorf("meanwhile the answer is %q", got)
	}
	f.api.SetFault(apiserver.Fault{})
	f.await(t, nginxName, dns.TypeA, threePods)
	f.locked(func() {
		if len(f.logged) != 0 || len(f.failing) != 0 {
			t.Errorf("failing: %v, the log has %q", f.failing, f.logged)
		}
	})
}

// TestClockJumps sets the clock forward and back by a day, in health and during a fault.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 10, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.bookmark(t)
	for _, by := range []time.Duration{24 * time.Hour, -48 * time.Hour} {
		f.clock.ahead.Add(int64(by))
		f.api.Put(fixture.Web(2))
		f.event(t)
		f.await(t, nginxName, dns.TypeA, threePods)
		f.api.DropWatches()
		f.api.Apply(gone(fixture.Web(2)))
		f.await(t, nginxName, dns.TypeA, twoPods)
	}
	f.locked(func() {
		if n := f.api.Listed("pods"); n != 1 || f.lines("") != 0 {
			t.Errorf("%d lists, the log has %q", n, f.logged)
		}
	})
	for i, by := range []time.Duration{48 * time.Hour, -24 * time.Hour} {
		f.bookmark(t)
		f.api.SetFault(apiserver.Fault{Code: 503})
		f.api.DropWatches()
		f.awaitThat(t, "the fault is logged", func() bool { return f.lines(failsFirst) == i+1 })
		f.clock.ahead.Add(int64(by))
		f.tries(t, 5)
		f.api.SetFault(apiserver.Fault{})
		f.awaitThat(t, "it works again", func() bool { return f.lines(worksAgain) == i+1 && f.lines(failsFirst) == i+1 })
	}
}

// TestRestoredServer rolls an API server back to a version before that of the watches.
func TestRestoredServer(t *testing.T) {
	for name, fault := range map[string]apiserver.Fault{
		"unnoticed":               {},
		"after it was away":       {Code: http.StatusServiceUnavailable},
		"watched before it lists": {Code: http.StatusForbidden, Lists: true}, // as it does before it has read the roles
	} {
		away := fault != apiserver.Fault{}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, 10, "10.244.0.1")
			f.start(t)
			f.bookmark(t)
			for i := range 100 {
				f.api.Put(fixture.Web(1, func(p *corev1.Pod) { p.Annotations = map[string]string{"i": fmt.Sprint(i)} }))
			}
			// Bookmarks count as received, too: only an answer shows that the watch is past the
			// version that the server will have.
			f.api.Put(fixture.Web(8))
			f.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.9")
			if away {
				f.api.SetFault(fault)
			}
			_, watches := f.api.Requests("pods")
			f.api.Restore(fixture.Nginx(), fixture.Web(0), fixture.Web(2))
			if away {
				f.awaitThat(t, "the fault is logged", func() bool { return f.failing[object.Pods] == 1 && f.lines(fails) > 0 })
				// A watch would be accepted, and silent.
				if _, now := f.api.Requests("pods"); now != watches {
					t.Errorf("%d watches were requested before the version was known", now-watches)
				}
				f.api.SetFault(apiserver.Fault{})
			}
			f.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.3")
			f.api.Put(fixture.Web(1))
			f.await(t, nginxName, dns.TypeA, threePods)
			if away {
				f.awaitThat(t, "it works again", f.works)
			}
			f.locked(func() {
				relists := f.lines(`API server has gone back in time; relisting everything" "kind"="pods"`)
				if relists > 1 || !away && (relists == 0 || f.lines(fails) != 0) {
					t.Errorf("the log has %q", f.logged)
				}
			})
		})
	}
}

// TestDamaged damages an object so that it can't be decoded. The stored one stays, and
// no other is affected.
func TestDamaged(t *testing.T) {
	const broken, sound = "object can't be decoded", "all objects can be decoded again"
	moved := func(p *corev1.Pod) { p.Status.PodIPs[0].IP = "10.244.0.99" }
	for name, json := range map[string]bool{"protobuf": false, "json": true} {
		for _, relist := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", relist ", relist), func(t *testing.T) {
				t.Parallel()
				f := newFaulty(t, 100)
				f.json = json
				f.start(t)
				f.await(t, nginxName, dns.TypeA, twoPods)
				f.locked(func() { f.requests = 0 })
				for range 3 {
					f.api.Damage(fixture.Web(1, moved), true)
				}
				f.api.Damage(fixture.Web(7), true) // no object is stored under its name
				f.api.Apply([]apiserver.Change{{Object: fixture.Web(0), Gone: true}, {Object: fixture.Web(2)}})
				if relist {
					f.api.Expire()
				}
				f.await(t, nginxName, dns.TypeA, "10.244.0.2, 10.244.0.3")
				f.awaitThat(t, "two are broken", func() bool { return f.broken[object.Pods] == 2 && f.lines(broken) == 1 })
				f.api.Put(fixture.Web(1, moved))
				f.await(t, nginxName, dns.TypeA, "10.244.0.3, 10.244.0.99")
				f.api.Apply(gone(fixture.Web(7)))
				f.awaitThat(t, "none is broken", func() bool { return f.broken[object.Pods] == 0 && f.lines(sound) == 1 })
				f.locked(func() {
					if f.lines(broken) != 1 || f.lines(fails) != 0 || !relist && f.requests != 0 {
						t.Errorf("%d requests, the log has %q", f.requests, f.logged)
					}
				})
			})
		}
		t.Run(name+", nameless", func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, 100, "10.244.0.1", "10.244.0.2")
			f.json = json
			f.start(t)
			f.await(t, nginxName, dns.TypeA, twoPods)
			f.api.Damage(fixture.Web(1, moved), false)
			f.api.Put(fixture.Web(2))
			f.await(t, nginxName, dns.TypeA, threePods)
			f.awaitThat(t, "the watch works again", func() bool { return f.broken[object.Pods] == 1 && f.lines(worksAgain) == 1 })
			f.api.Put(fixture.Web(1))
			f.api.Expire() // only a list without it shows that it is gone
			f.awaitThat(t, "none is broken", func() bool { return f.broken[object.Pods] == 0 && f.lines(sound) == 1 })
			f.locked(func() {
				if f.lines(broken) != 1 || f.lines(fails) != 1 {
					t.Errorf("the log has %q", f.logged)
				}
			})
		})
	}
}

// TestStopAway stops an informer while no API server answers and the next retry is far
// away.
func TestStopAway(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, .001)
	f.source.(*cluster).backoff = retryBackoff // of 13 minutes and more by this clock
	f.refuse.Store(true)
	f.Start()
	f.awaitThat(t, "the fault is logged", func() bool { return f.lines(fails) == 1 })
	stopped := make(chan struct{})
	go func() {
		f.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(30 * time.Second):
		t.Fatal("still running")
	}
}
