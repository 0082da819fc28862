package informer

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/internal/apiserver"
	"github.com/headless-dns/headless/records"
)

// fast is a clock that runs several times faster than the real one, and that a test can
// set.
type fast struct {
	clock.RealClock
	times float64
	ahead *atomic.Int64 // of the time it would show, in nanoseconds
}

var epoch = time.Now()

func (f fast) real(d time.Duration) time.Duration { return time.Duration(float64(d) / f.times) }

func (f fast) Now() time.Time {
	return epoch.Add(time.Duration(float64(time.Since(epoch))*f.times) + time.Duration(f.ahead.Load()))
}

func (f fast) Since(t time.Time) time.Duration { return f.Now().Sub(t) }

func (f fast) After(d time.Duration) <-chan time.Time { return f.NewTimer(d).C() }

func (f fast) NewTicker(d time.Duration) clock.Ticker { return f.RealClock.NewTicker(f.real(d)) }

func (f fast) NewTimer(d time.Duration) clock.Timer {
	return fastTimer{f.RealClock.NewTimer(f.real(d)), f}
}

func (f fast) AfterFunc(d time.Duration, g func()) clock.Timer {
	return f.RealClock.AfterFunc(f.real(d), g)
}

type fastTimer struct {
	clock.Timer
	fast
}

func (t fastTimer) Reset(d time.Duration) bool { return t.Timer.Reset(t.real(d)) }

// faulty is an informer under test on an API server that fails.
type faulty struct {
	*probe
	clock    fast
	refuse   atomic.Bool // every connection
	json     bool
	requests int // for pods
	shrunk   string
}

// fastBackoff is a back-off for a fast clock.
var fastBackoff = wait.Backoff{Duration: 8 * time.Millisecond, Cap: 300 * time.Millisecond, Steps: 37, Factor: 2, Jitter: 1}

// newFaulty returns an informer that is not started. The test fails if the answer for nginx
// ever lacks one of the addresses in must.
func newFaulty(t *testing.T, times float64, must ...string) *faulty {
	t.Helper()
	return newFaultyBy(t, times, func(s *apiserver.Server) Cluster { return Cluster{Endpoint: s.URL} }, must...)
}

// newFaultyBy is newFaulty with another way to reach the API server.
func newFaultyBy(t *testing.T, times float64, way func(*apiserver.Server) Cluster, must ...string) *faulty {
	t.Helper()
	api := newServer(t, server{}, fixture.Nginx(), fixture.Web(0), fixture.Web(1))
	f := &faulty{clock: fast{times: times, ahead: new(atomic.Int64)}}
	c := Config{Cluster: way(api)}
	c.Transport = func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/pods") {
				f.mu.Lock()
				f.requests++
				f.changed.Broadcast()
				f.mu.Unlock()
			}
			if f.refuse.Load() {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			if f.json {
				r = r.Clone(r.Context())
				r.Header.Set("Accept", "application/json")
			}
			return next.RoundTrip(r)
		})
	}
	var err error
	if f.probe, err = newProbe(c); err != nil {
		t.Fatal(err)
	}
	f.api = api
	source := f.source.(*cluster)
	source.clock = f.clock
	source.backoff = fastBackoff
	published := f.hooks.Published
	f.hooks.Published = func(n int, s records.Stats, d []time.Duration) {
		got := answer(f.trie, nginxName, dns.TypeA)
		f.mu.Lock()
		for _, address := range must {
			if !strings.Contains(got+",", address+",") {
				f.shrunk = got
			}
		}
		f.mu.Unlock()
		published(n, s, d)
	}
	t.Cleanup(func() {
		f.Stop()
		if f.shrunk != "" {
			t.Errorf("an answer was %q", f.shrunk)
		}
	})
	return f
}

// lines counts the log lines with a text.
func (f *faulty) lines(text string) int {
	n := 0
	for _, line := range f.logged {
		if strings.Contains(line+"\n", text) {
			n++
		}
	}
	return n
}

// works reports whether no watch fails and the log says so.
func (f *faulty) works() bool {
	for _, n := range f.failing {
		if n != 0 {
			return false
		}
	}
	return f.lines(worksAgain) > 0
}

// tries calls after and waits for that many more requests.
func (f *faulty) tries(t *testing.T, more int, after ...func()) {
	t.Helper()
	f.mu.Lock()
	until := f.requests + more
	f.mu.Unlock()
	for _, do := range after {
		do()
	}
	f.awaitThat(t, fmt.Sprint(more, " tries"), func() bool { return f.requests >= until })
}

// causes returns the first log lines of all causes, without digits.
func (f *faulty) causes() map[string]bool {
	digits := regexp.MustCompile("[0-9]+")
	out := make(map[string]bool)
	for _, l := range f.logged {
		if strings.Contains(l+"\n", failsFirst) {
			out[digits.ReplaceAllString(l, "")] = true
		}
	}
	return out
}

func (f *faulty) locked(check func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	check()
}

const (
	fails      = "can't watch "
	failsFirst = "\"others\"=0\n" // the first line of a cause
	worksAgain = "watch works again"
	twoPods    = "10.244.0.1, 10.244.0.2"
	threePods  = "10.244.0.1, 10.244.0.2, 10.244.0.3"
)

// event changes an object of each kind and waits until the watches received the changes.
// A watch that ends within a second without an event would count as a fault.
func (f *faulty) event(t *testing.T) {
	t.Helper()
	var before [object.Kinds]int
	f.locked(func() {
		for k := range object.Kinds {
			before[k] = f.received[k]
		}
	})
	now := map[string]string{"received": fmt.Sprint(before)}
	slice := fixture.Slice("other")
	slice.Labels[discoveryv1.LabelServiceName] = "other"
	slice.Annotations = now
	f.api.Put(slice, fixture.Nginx(func(s *corev1.Service) { s.Annotations = now }), fixture.Web(1, func(p *corev1.Pod) { p.Annotations = now }))
	f.awaitThat(t, "events come", func() bool {
		return f.received[object.Pods] > before[object.Pods] && f.received[object.Services] > before[object.Services] && f.received[object.EndpointSlices] > before[object.EndpointSlices]
	})
}

// bookmark sends bookmarks until each kind received one. A watch that is about to resume
// misses those sent meanwhile.
func (f *faulty) bookmark(t *testing.T) {
	t.Helper()
	var before [object.Kinds]int
	f.locked(func() {
		for k := range object.Kinds {
			before[k] = f.received[k]
		}
	})
	f.awaitThat(t, "bookmarks come", func() bool {
		f.api.Bookmark()
		return f.received[object.Pods] > before[object.Pods] && f.received[object.Services] > before[object.Services] && f.received[object.EndpointSlices] > before[object.EndpointSlices]
	})
}
