//go:build soak

// The soak test runs a server for as long as it is told beside a real Kubernetes
// (testdata/cluster) with a thousand pods of headless services that come and go. The
// API server is restarted, and the Corefile reloaded, now and then, also while there
// is no API server. Dnsperf asks all the time, and so does the test, which watches the
// API server, too, and judges every answer by what that said. In the end the server
// must hold no more memory, goroutines and files than in the beginning.
//
//	make soak DURATION=10m
package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

const (
	warmup = 30 * time.Second
	// What the server may hold more in the end than after the warm-up, which had a
	// restart and a reload, too, with the same pods. Of resident memory, a dozen
	// megabytes, pages that the runtime has not returned yet are a part; of the heap,
	// which is a few megabytes, these 15 % are some bytes for each event of an hour.
	// Goroutines and files are those of queries under way, and of pauses; one that
	// outlives each reload is another 30.
	moreResident   = 6 // megabytes
	moreHeap       = 1.15
	moreGoroutines = 12
	moreFiles      = 4
)

func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("SOAK_DURATION"))
	if err != nil {
		t.Fatalf("read SOAK_DURATION: %v", err)
	}
	pods, err := strconv.Atoi(os.Getenv("SOAK_PODS"))
	if err != nil || pods < 10*workloads {
		t.Fatalf("read SOAK_PODS: %d, want at least %d: %v", pods, 10*workloads, err)
	}
	k := up(t)
	s := startServer(t, k)
	h := newHistory()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	k.watch(ctx, h)
	// An outage may hide from the scheduler that a pod of the same name is on another
	// node now; it then ends itself.
	k.keep(ctx, t, "kube-scheduler")
	k.keep(ctx, t, "kwok")

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	run := &soak{T: t, kubernetes: k, server: s, history: h, churn: newChurn(k, pods/workloads, rand.New(rand.NewPCG(seed, 0))), plain: true}
	if err := run.churn.create(); err != nil {
		t.Fatal(err)
	}
	run.settle()
	run.tell("the pods are ready")
	run.asker = ask(ctx, h, s.addr)
	defer run.asker.report(t) // also of a test that ends early

	run.phase(warmup, warmup, warmup/2)
	run.settle()
	before := s.measure(t)
	before.log(t, "after the warm-up")
	run.counts = counts{}
	clear(run.churn.done)
	asked, judged := run.asker.total(), h.total()
	began := time.Now()
	// Seldom enough that the bound holds most of the time. The first restart comes after
	// half of this, and so does the first reload.
	restartEvery := max(duration/12, min(4*recovery, duration))
	run.phase(duration, restartEvery, max(duration/30, 20*time.Second))
	run.tell("the last change is made")
	run.settle()
	took := time.Since(began)
	after := s.measure(t)
	after.log(t, "in the end")
	run.asker.finish(t)

	if limit := before.resident + moreResident; after.resident > limit {
		t.Errorf("the server has %.1f MB, which is more than %.1f", after.resident, limit)
	}
	if limit := before.heap * moreHeap; after.heap > limit {
		t.Errorf("the heap has %.1f MB, which is more than %.1f", after.heap, limit)
	}
	if limit := before.goroutines + moreGoroutines; after.goroutines > limit {
		t.Errorf("the server has %d goroutines, which is more than %d", after.goroutines, limit)
	}
	if limit := before.files + moreFiles; after.files > limit {
		t.Errorf("the server has %d open files, which is more than %d", after.files, limit)
	}

	if run.restarts == 0 || run.reloads == 0 || run.offline == 0 {
		t.Errorf("%d restarts of the API server, %d reloads, and %d without an API server: want each of them",
			run.restarts, run.reloads, run.offline)
	}
	for _, kind := range kinds {
		if run.churn.done[kind.name] == 0 {
			t.Errorf("there were no %s", kind.name)
		}
	}
	var changes []string
	for _, kind := range kinds {
		changes = append(changes, fmt.Sprintf("%d %s", run.churn.done[kind.name], kind.name))
	}
	t.Logf("summary: %v; changes: %s; %d events of pods and services; "+
		"%d answers judged, %d wrong; with the warm-up, %d by the bound of %v, no outage being near, of which the oldest was %v old for sure; "+
		"load: %d sent over UDP, %d lost, %d sent over TCP, %d lost; "+
		"%d restarts of the API server, %d reloads, %d of them without an API server; "+
		"before and after: resident memory %.1f and %.1f MB, heap %.1f and %.1f MB, goroutines %d and %d, open files %d and %d",
		took.Round(time.Second), strings.Join(changes, ", "), h.total()-judged,
		run.asker.total()-asked, run.asker.wrong, run.asker.calm, bound, run.asker.oldest.Round(time.Millisecond),
		run.udp.sent, run.udp.lost, run.tcp.sent, run.tcp.lost,
		run.restarts, run.reloads, run.offline,
		before.resident, after.resident, before.heap, after.heap, before.goroutines, after.goroutines, before.files, after.files)
}

// soak is the test under way.
type soak struct {
	*testing.T
	*kubernetes
	*server
	*history
	churn *churn
	asker *asker
	plain bool // what the next restart is
	counts
}

// counts are what was done.
type counts struct {
	restarts, reloads int
	offline           int // reloads without an API server
	udp, tcp          outcome
}

// phase changes the cluster for a time, with a restart of the API server and a
// reload of the Corefile as often as told, and queries over UDP and TCP throughout.
func (s *soak) phase(d, restartEvery, reloadEvery time.Duration) {
	s.Helper()
	udp := s.startLoad(s.T, s.addr, 500, 20, d, s.churn.names())
	tcp := startStream(s.T, s.addr, 100, d, s.churn.names())
	began := time.Now()
	restart, reload := began.Add(restartEvery/2), began.Add(reloadEvery/2)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for now := began; now.Sub(began) < d; now = <-tick.C {
		if err := s.churn.step(); err != nil {
			s.Error(err)
		}
		switch {
		case now.After(restart):
			s.restart()
			restart = time.Now().Add(restartEvery)
		case now.After(reload):
			s.reloadNow()
			reload = time.Now().Add(reloadEvery)
		}
	}
	s.udp, s.tcp = udp(), tcp()
	if s.udp.lost > 0 {
		s.Errorf("of %d queries over UDP, %d were lost", s.udp.sent, s.udp.lost)
	}
	// CoreDNS resets the connections of a socket that it closes: with each reload that
	// under way, and the next if the socket still took it.
	if s.tcp.lost > 2*s.reloads {
		s.Errorf("of %d queries over TCP, %d were lost, with %d reloads", s.tcp.sent, s.tcp.lost, s.reloads)
	}
	for network, o := range map[string]outcome{"UDP": s.udp, "TCP": s.tcp} {
		if o.sent == 0 || o.failed > 0 {
			s.Errorf("of %d queries over %s, %d failed", o.sent, network, o.failed)
		}
	}
}

// tell says what happens, and when.
func (s *soak) tell(what string) {
	s.Helper()
	s.Logf("%s: %s", time.Now().Format(time.StampMilli), what)
}

func (s *soak) reloadNow() {
	s.Helper()
	s.tell("reload")
	s.reload(s.T)
	s.tell("reloaded")
	s.reloads++
}

// restart ends the API server, and starts it again after another thousand answers. Each
// second time the Corefile is reloaded meanwhile.
func (s *soak) restart() {
	s.Helper()
	s.tell("no API server")
	s.setOutage(true, time.Now())
	s.script(s.T, "apiserver.sh", "stop")
	s.asker.more(s.T, 500)
	if !s.plain {
		s.reloadNow()
		s.offline++
	}
	s.plain = !s.plain
	s.asker.more(s.T, 500)
	s.script(s.T, "apiserver.sh", "start")
	// What it was about to do to a pod, kwok has lost: only a new one looks at all.
	s.end(s.T, "kwok")
	s.setOutage(false, time.Now())
	s.tell("API server")
	s.restarts++
}

// settle brings the cluster to what it was in the beginning, and waits until that
// is served.
func (s *soak) settle() {
	s.Helper()
	if err := s.churn.restore(); err != nil {
		s.Fatal(err)
	}
	// A Kubernetes on a machine with other work takes minutes to replace the pods that go.
	cluster.Eventually(s.T, 15*time.Minute, func() error { return s.churn.settled() })
	cluster.Eventually(s.T, recovery, func() error { return s.serves(s.churn.names()) })
}
