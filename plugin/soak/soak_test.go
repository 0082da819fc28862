//go:build soak

// The soak test runs a server for as long as it is told beside a real Kubernetes
// (testdata/cluster) with a thousand pods of headless services that come and go. The
// API server is restarted, and the Corefile reloaded, now and then. Dnsperf asks all
// the time, and so does the test, which watches the API server, too, and judges
// every answer by what that said. In the end the server must hold no more memory,
// goroutines and files than in the beginning.
//
//	make soak DURATION=10m
package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/plugin/cluster"
)

const (
	warmup = 40 * time.Second
	// What the server may hold more in the end than after the warm-up. Of resident
	// memory, pages that the runtime has not returned yet are a part. Goroutines and
	// files are those of queries and connections under way.
	moreMemory     = 1.15
	moreGoroutines = 8
	moreFiles      = 8
)

func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("SOAK_DURATION"))
	if err != nil {
		t.Fatalf("read SOAK_DURATION: %v", err)
	}
	k := up(t)
	s := startServer(t, k)
	h := newHistory()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	k.watch(ctx, h)
	k.keepScheduler(ctx, t)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	run := &soak{T: t, kubernetes: k, server: s, history: h, churn: newChurn(k, rand.New(rand.NewPCG(seed, 0)))}
	if err := run.churn.create(); err != nil {
		t.Fatal(err)
	}
	run.settle()
	run.asker = ask(ctx, h, s.addr)
	defer run.asker.report(t) // also of a test that ends early

	run.phase(warmup, warmup*3/4, warmup/2)
	run.settle()
	before := s.measure(t)
	before.log(t, "after the warm-up")
	run.counts = counts{}
	asked, judged := run.asker.total(), h.total()
	began := time.Now()
	// Seldom enough that the bound holds most of the time.
	run.phase(duration, max(duration/12, 2*recovery), max(duration/30, 20*time.Second))
	run.settle()
	took := time.Since(began)
	after := s.measure(t)
	after.log(t, "in the end")
	run.asker.finish(t)

	if limit := before.resident * moreMemory; after.resident > limit {
		t.Errorf("the server has %.1f MB, which is more than %.1f", after.resident, limit)
	}
	if limit := before.heap * moreMemory; after.heap > limit {
		t.Errorf("the heap has %.1f MB, which is more than %.1f", after.heap, limit)
	}
	if limit := before.goroutines + moreGoroutines; after.goroutines > limit {
		t.Errorf("the server has %d goroutines, which is more than %d", after.goroutines, limit)
	}
	if limit := before.files + moreFiles; after.files > limit {
		t.Errorf("the server has %d open files, which is more than %d", after.files, limit)
	}

	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-32s "+format+"\n", append([]any{what}, args...)...)
	}
	line("duration", "%v", took.Round(time.Second))
	line("changes made", "%d", run.changes)
	line("events of pods and services", "%d", h.total()-judged)
	line("answers checked", "%d, wrong %d", run.asker.total()-asked, run.asker.wrong)
	line("queries tried again over TCP", "%d", run.asker.retries)
	line("oldest answer", "%v, while the API server was up; bound %v", run.asker.oldest.Round(time.Millisecond), bound)
	line("dnsperf over UDP", "%d sent, %d lost", run.udp.sent, run.udp.lost)
	line("dnsperf over TCP", "%d sent, %d lost", run.tcp.sent, run.tcp.lost)
	line("restarts of the API server", "%d", run.restarts)
	line("reloads of the Corefile", "%d", run.reloads)
	line("resident memory", "%.1f MB, then %.1f MB", before.resident, after.resident)
	line("heap", "%.1f MB, then %.1f MB", before.heap, after.heap)
	line("goroutines", "%d, then %d", before.goroutines, after.goroutines)
	line("open files", "%d, then %d", before.files, after.files)
	t.Logf("summary\n%s", &b)
}

// soak is the test under way.
type soak struct {
	*testing.T
	*kubernetes
	*server
	*history
	churn *churn
	asker *asker
	counts
}

// counts are what was done.
type counts struct {
	changes, restarts, reloads int
	udp, tcp                   outcome
}

// phase changes the cluster for a time, with a restart of the API server and a
// reload of the Corefile as often as told, and queries by dnsperf throughout.
func (s *soak) phase(d, restartEvery, reloadEvery time.Duration) {
	s.Helper()
	const outstanding = 20
	udp := s.startLoad(s.T, s.addr, "udp", 500, outstanding, d, s.churn.names())
	tcp := s.startLoad(s.T, s.addr, "tcp", 100, outstanding, d, s.churn.names())
	began := time.Now()
	restart, reload := began.Add(restartEvery/2), began.Add(reloadEvery/2)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for now := began; now.Sub(began) < d; now = <-tick.C {
		if err := s.churn.step(); err != nil {
			s.Error(err)
		}
		s.changes++
		switch {
		case now.After(restart):
			s.restart()
			restart = restart.Add(restartEvery)
		case now.After(reload):
			s.reload(s.T)
			s.reloads++
			reload = reload.Add(reloadEvery)
		}
	}
	s.udp, s.tcp = udp(), tcp()
	if s.udp.lost > 0 {
		s.Errorf("of %d queries over UDP, %d were lost", s.udp.sent, s.udp.lost)
	}
	// CoreDNS resets the connections of a socket that it closes, so that with each
	// reload the queries under way may be lost.
	if s.tcp.lost > s.reloads*outstanding {
		s.Errorf("of %d queries over TCP, %d were lost, with %d reloads", s.tcp.sent, s.tcp.lost, s.reloads)
	}
	for network, o := range map[string]outcome{"UDP": s.udp, "TCP": s.tcp} {
		if o.sent == 0 || o.failed > 0 {
			s.Errorf("of %d queries over %s, %d failed", o.sent, network, o.failed)
		}
	}
}

// restart ends the API server, and starts it again after another thousand answers.
func (s *soak) restart() {
	s.Helper()
	s.setOutage(true, time.Now())
	s.script(s.T, "apiserver.sh", "stop")
	s.asker.more(s.T, 1000)
	s.script(s.T, "apiserver.sh", "start")
	s.setOutage(false, time.Now())
	s.restarts++
}

// settle brings the cluster to what it was in the beginning, and waits until that
// is served.
func (s *soak) settle() {
	s.Helper()
	if err := s.churn.restore(); err != nil {
		s.Fatal(err)
	}
	cluster.Eventually(s.T, 5*time.Minute, func() error { return s.churn.settled() })
	cluster.Eventually(s.T, recovery, func() error { return s.serves(s.churn.names()) })
}
