package headless

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/reuseport"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headless-dns/headless/internal/cluster"
)

func init() { fastNeighbours = append(fastNeighbours, "early") }

// steady asks for a host over UDP, with several queries in flight, until stop is called. Every
// query must be answered, and right.
type steady struct {
	stop     func()
	answered atomic.Int64
}

func (r *rig) steady(t *testing.T, name, address string) *steady {
	t.Helper()
	s := new(steady)
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		conn, err := dns.Dial("udp", "127.0.0.1:"+r.port)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer conn.Close()
			client := &dns.Client{Timeout: 5 * time.Second}
			for zone := 0; ; zone++ {
				select {
				case <-done:
					return
				default:
				}
				q := new(dns.Msg).SetQuestion(name+".nginx.default.svc."+[]string{"cluster.local.", "cluster.example."}[zone%2], dns.TypeA)
				m, _, err := client.ExchangeWithConn(q, conn)
				if err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != address {
					t.Errorf("after %d answers: got %v, %v", s.answered.Load(), m, err)
					return
				}
				s.answered.Add(1)
			}
		})
	}
	s.stop = sync.OnceFunc(func() {
		close(done)
		clients.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

// more waits for some answers that were asked for after the call.
func (s *steady) more(t *testing.T) {
	t.Helper()
	want := s.answered.Load() + 200
	await(t, func() bool { return s.answered.Load() >= want || t.Failed() }, true)
}

// askFast asks for the host over UDP until the fast path answers, or does not if want is false, and
// returns the TTL of the answer.
func (r *rig) askFast(t *testing.T, name string, want bool) (ttl uint32) {
	t.Helper()
	await(t, func() bool {
		before := testutil.ToFloat64(fastAnswersTotal)
		m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(name+".nginx.default.svc.cluster.local.", dns.TypeA), "127.0.0.1:"+r.port)
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("got %v, %v", m, err)
		}
		ttl = m.Answer[0].Header().Ttl
		return testutil.ToFloat64(fastAnswersTotal) > before
	}, want)
	return ttl
}

// checkSockets checks that the fast path has no more sockets than its lifetimes use.
func checkSockets(t *testing.T, when string, want int) {
	t.Helper()
	await(t, func() int { return int(testutil.ToFloat64(fastSocketsOpen)) }, want)
	fastSockets.mu.Lock()
	defer fastSockets.mu.Unlock()
	if len(fastSockets.at) != want {
		t.Errorf("%s: got %d sockets, want %d", when, len(fastSockets.at), want)
	}
}

// TestFastPathReloads reloads Corefiles that keep, remove and add the fast path, that fail at every
// step, and that have other sources, under load. No query is lost, and the plugin that is in force
// answers each. In the table, a failure is that of the rig.
func TestFastPathReloads(t *testing.T) {
	r := newRig(t)
	r.start(t, "fastpath\nttl 10")
	name, address := r.put()
	checkSockets(t, "after the start", 1)
	for _, zone := range []string{"cluster.local.", "cluster.example."} {
		await(t, func() string { return r.ask(name + ".nginx.default.svc." + zone) }, address)
	}
	load := r.steady(t, name, address)
	const unbindable = "an address of another machine"
	for _, step := range []struct {
		to, failure string
		want        string // the error of the reload
		ttl         uint32
		fast        bool
	}{
		{"fastpath\nttl 11", "", "", 11, true},
		{"fastpath\nttl 12\nlabels app", "", "", 12, true}, // another source
		{"ttl 13", "", "", 13, false},
		{"ttl 14", "", "", 14, false},
		{"fastpath\nttl 15", "", "", 15, true},
		{"ttl 16", "late restart", "late restart", 15, true},
		{"ttl 16", "late setup", "late setup", 15, true},
		{"ttl 16", "early startup", "early startup", 15, true},
		{"ttl 16", "late startup", "late startup", 15, true},
		{"fastpath\nttl 16", "late startup", "late startup", 15, true},
		{"fastpath\nttl 16\nnamespaces nowhere\nmanifests nowhere", "", "can't be combined", 15, true},
		{"ttl 16", "late panic in setup", "", 15, true},
		{"fastpath\nttl 16", "late panic in startup", "", 15, true},
		{"fastpath\nttl 16", unbindable, "cannot assign requested address", 15, true},
		{"fastpath\nttl 17", "early shutdown", "early shutdown", 17, true},
		{"ttl 18", "late shutdown", "late shutdown", 18, false},
		{"fastpath\nttl 19", "early startup", "early startup", 18, false},
		{"fastpath\nttl 20", "", "", 20, true},
	} {
		fails = step.failure
		to := r.corefile(step.to).(caddy.CaddyfileInput)
		if step.failure == unbindable {
			to.Contents = fmt.Appendf(to.Contents, "example.org:%s {\nbind 192.0.2.1\nlate\n}\n", r.port)
		}
		next, err := restart(r.instance, to)
		fails = ""
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Fatalf("%+v: got error %v", step, err)
		}
		if err == nil && !strings.Contains(step.failure, "panic") {
			r.instance = next
		} else if strings.Contains(step.failure, "shutdown") { // the new instance serves nevertheless
			all := caddy.Instances()
			r.instance = all[slices.IndexFunc(all, func(i *caddy.Instance) bool { return len(i.Servers()) > 0 })]
		}
		load.more(t)
		sockets := 0
		if step.fast {
			sockets = 1
		}
		checkSockets(t, fmt.Sprintf("%+v", step), sockets)
		if ttl := r.askFast(t, name, step.fast); ttl != step.ttl {
			t.Errorf("%+v: got TTL %d", step, ttl)
		}
		checkLive(t, fmt.Sprintf("%+v", step), 1, 2)
	}
	load.stop()
	r.reload(t, r.corefile("none"), "")
	checkSockets(t, "without the plugin", 0)
	r.reload(t, r.corefiles("fastpath", "ttl 7"), "")
	checkSockets(t, "with one of two", 1)
	r.askFast(t, name, true)
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.example.") }, address)
	r.stop(t)
	checkSockets(t, "after the end", 0)
}

// TestFastPathShutdown ends the server under load, as a signal to the process does. Until its last
// plugin has ended, the server answers.
func TestFastPathShutdown(t *testing.T) {
	r := newRig(t)
	r.start(t, "fastpath")
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.example.") }, address)
	r.askFast(t, name, true)
	load := r.steady(t, name, address)
	load.more(t)
	atShutdown = func(plugin string) {
		if plugin == "early" {
			checkSockets(t, "before our plugin ends", 1)
		} else {
			checkSockets(t, "after it", 0)
		}
		load.more(t)
	}
	defer func() { atShutdown = func(string) {} }()
	if errs := r.instance.ShutdownCallbacks(); errs != nil {
		t.Fatal(errs)
	}
	load.more(t)
	load.stop()
}

// TestFastPathOtherSocket starts a server on an address where another socket is, as of another
// process with the same user. It serves the ordinary way, and tries again until the other one is gone.
func TestFastPathOtherSocket(t *testing.T) {
	r := newRig(t)
	other, err := reuseport.ListenPacket("udp", "127.0.0.1:"+r.port)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lines := cluster.CaptureLog(t)
	defer func(d time.Duration) { fastRetry = d }(fastRetry)
	fastRetry = 50 * time.Millisecond
	r.start(t, "fastpath")
	await(t, func() bool {
		return strings.Contains(lines(), "another process has a socket on the address, or a firewall drops the probe; every query goes the ordinary way")
	}, true)
	checkOpen(t, 0)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.local.") }, address)
	r.askFast(t, name, true)
	checkOpen(t, 1)
	if got := lines(); strings.Count(got, "the ordinary way") != 1 || strings.Count(got, "answers again") != 1 {
		t.Errorf("got the log %q, want one warning and its end", got)
	}
}

// TestFastPathOneProcessor: the thread of the fast path must not have the only processor.
func TestFastPathOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := newRig(t)
	r.start(t, "fastpath")
	checkOpen(t, 1)
	if n := runtime.GOMAXPROCS(0); n != 2 {
		t.Errorf("got GOMAXPROCS %d, want 2", n)
	}
}

// checkOpen waits until the fast path has a number of open sockets.
func checkOpen(t *testing.T, want int) {
	t.Helper()
	await(t, func() int { return int(testutil.ToFloat64(fastSocketsOpen)) }, want)
}

// TestFastPathPanic: after a panic the server answers all queries, until a reload.
func TestFastPathPanic(t *testing.T) {
	r := newRig(t)
	r.start(t, "fastpath")
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.local.") }, address)
	r.askFast(t, name, true)
	lines, panics := cluster.CaptureLog(t), testutil.ToFloat64(vars.Panic)
	load := r.steady(t, name, address)
	fastSockets.mu.Lock()
	for _, s := range fastSockets.at {
		s.mu.Lock()
		s.conn.Use(panicking{})
		s.mu.Unlock()
	}
	fastSockets.mu.Unlock()
	load.more(t)
	r.askFast(t, name, false)
	if got := testutil.ToFloat64(vars.Panic) - panics; got != 1 {
		t.Errorf("got %v panics in the metrics, want 1", got)
	}
	if got := lines(); strings.Count(got, "recovered from a panic: out of order; every query goes the ordinary way, until a reload") != 1 {
		t.Errorf("got the log %q", got)
	}
	r.reload(t, r.corefile("fastpath\nttl 9"), "")
	r.askFast(t, name, true)
	load.more(t)
}

type panicking struct{}

func (panicking) Answer(_, _ []byte, _ bool, _ time.Time) []byte { panic("out of order") }

// TestFastPathReadFails closes the socket under the server, which then answers all queries.
func TestFastPathReadFails(t *testing.T) {
	r := newRig(t)
	r.start(t, "fastpath")
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.local.") }, address)
	r.askFast(t, name, true)
	lines := cluster.CaptureLog(t)
	var conn net.PacketConn
	fastSockets.mu.Lock()
	for _, s := range fastSockets.at {
		s.mu.Lock()
		conn = s.conn
		s.mu.Unlock()
	}
	fastSockets.mu.Unlock()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	checkOpen(t, 0)
	await(t, func() bool {
		return strings.Contains(lines(), "every query goes the ordinary way until that is over")
	}, true)
	r.askFast(t, name, false)
	r.reload(t, r.corefile("fastpath\nttl 9"), "")
	r.askFast(t, name, true)
}
