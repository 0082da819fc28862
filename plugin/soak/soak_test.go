//go:build soak

// The soak test runs a server for a given time beside a real Kubernetes
// (testdata/cluster), in which a thousand pods of headless services come and go. From
// time to time it restarts the API server and reloads the Corefile, also during an
// outage of the API server. Every third reload removes the fast path, and the next one
// adds it again. Dnsperf sends queries all the time, and so does the test
// itself. The test watches the API server, too, and judges every answer by it. At the
// end the server must use no more memory, goroutines and files than after the warm-up.
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
	"github.com/headless-dns/headless/internal/dnsperf"
)

const (
	warmup = 30 * time.Second
	// How much more the server may use at the end than after the warm-up, which had a
	// restart, a reload and the same pods:
	//  - resident memory is a dozen megabytes, partly pages that the runtime has not
	//    returned yet;
	//  - the heap is a few megabytes, and 15 % of it are a few bytes an event in an hour;
	//  - goroutines and files are those of queries and pauses under way. One leaked at
	//    each reload would add 30.
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
	// The scheduler exits if it missed, in an outage, that a pod of the same name is on
	// another node.
	k.supervise(ctx, t, "kube-scheduler")
	k.supervise(ctx, t, "kwok")

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	run := &soak{T: t, kubernetes: k, server: s, history: h, churn: newChurn(k, pods/workloads, rand.New(rand.NewPCG(seed, 0)))}
	if err := run.churn.create(); err != nil {
		t.Fatal(err)
	}
	run.settle()
	run.logTime("the pods are ready")
	run.asker = ask(ctx, h, s.addr)
	defer run.asker.report(t) // even if the test ends early

	run.phase(warmup, warmup, warmup/2)
	run.settle()
	before := s.measure(t)
	before.log(t, "after the warm-up")
	run.counts = counts{}
	clear(run.churn.done)
	asked, judged, fast := run.asker.total(), h.total(), s.answers
	began := time.Now()
	// Restarts are rare enough that the bound applies most of the time. The first restart
	// and the first reload come after half of their interval.
	restartEvery := max(duration/12, min(4*recovery, duration))
	run.phase(duration, restartEvery, max(duration/30, 20*time.Second))
	run.logTime("the last change is made")
	run.settle()
	took := time.Since(began)
	after := s.measure(t)
	after.log(t, "at the end")
	run.asker.finish(t)

	if limit := before.resident + moreResident; after.resident > limit {
		t.Errorf("resident memory: %.1f MB, want at most %.1f", after.resident, limit)
	}
	if limit := before.heap * moreHeap; after.heap > limit {
		t.Errorf("heap: %.1f MB, want at most %.1f", after.heap, limit)
	}
	if limit := before.goroutines + moreGoroutines; after.goroutines > limit {
		t.Errorf("goroutines: %d, want at most %d", after.goroutines, limit)
	}
	if limit := before.files + moreFiles; after.files > limit {
		t.Errorf("open files: %d, want at most %d", after.files, limit)
	}

	if run.restarts == 0 || run.reloads == 0 || run.offline == 0 || run.ordinary == 0 {
		t.Errorf("%d restarts of the API server, %d reloads, %d of them during an outage, %d without the fast path: want some of each",
			run.restarts, run.reloads, run.offline, run.ordinary)
	}
	for _, kind := range kinds {
		if run.churn.done[kind.name] == 0 {
			t.Errorf("no %s, want some", kind.name)
		}
	}
	var changes []string
	for _, kind := range kinds {
		changes = append(changes, fmt.Sprintf("%d %s", run.churn.done[kind.name], kind.name))
	}
	t.Logf("summary: %v; changes: %s; %d events of pods and services; "+
		"%d answers judged, %d wrong; with the warm-up, %d by the bound of %v, as no outage was near, the oldest of them at least %v old; "+
		"load: %d sent over UDP, %d lost, %d sent over TCP, %d lost; "+
		"%v answers of the fast path; "+
		"%d restarts of the API server, %d reloads, %d of them during an outage, %d without the fast path; "+
		"before and after: resident memory %.1f and %.1f MB, heap %.1f and %.1f MB, goroutines %d and %d, open files %d and %d",
		took.Round(time.Second), strings.Join(changes, ", "), h.total()-judged,
		run.asker.total()-asked, run.asker.wrong, run.asker.calm, bound, run.asker.oldest.Round(time.Millisecond),
		run.udp.Sent, run.udp.Lost, run.tcp.Sent, run.tcp.Lost,
		s.answers-fast,
		run.restarts, run.reloads, run.offline, run.ordinary,
		before.resident, after.resident, before.heap, after.heap, before.goroutines, after.goroutines, before.files, after.files)
}

// soak is a running soak test.
type soak struct {
	*testing.T
	*kubernetes
	*server
	*history
	churn      *churn
	asker      *asker
	reloadNext bool // the next outage has a reload
	counts
}

// counts count restarts, reloads and queries.
type counts struct {
	restarts, reloads int
	offline           int // reloads during an outage
	ordinary          int // reloads to a Corefile without the fast path
	udp, tcp          dnsperf.Outcome
}

// phase changes the cluster for a time, with queries over UDP and TCP throughout. It
// restarts the API server and reloads the Corefile at the given intervals.
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
	if s.udp.Lost > 0 {
		s.Errorf("of %d queries over UDP, %d were lost", s.udp.Sent, s.udp.Lost)
	}
	// CoreDNS resets the connections of a socket that it closes. So each reload may lose
	// the query in flight, and the next one if the old socket still accepted its
	// connection.
	if s.tcp.Lost > 2*s.reloads {
		s.Errorf("of %d queries over TCP, %d were lost, with %d reloads", s.tcp.Sent, s.tcp.Lost, s.reloads)
	}
	for network, o := range map[string]dnsperf.Outcome{"UDP": s.udp, "TCP": s.tcp} {
		if o.Sent == 0 || o.Failed > 0 {
			s.Errorf("of %d queries over %s, %d failed", o.Sent, network, o.Failed)
		}
	}
}

// logTime logs an event with the time.
func (s *soak) logTime(what string) {
	s.Helper()
	s.Logf("%s: %s", time.Now().Format(time.StampMilli), what)
}

func (s *soak) reloadNow() {
	s.Helper()
	s.logTime("reload")
	fast := s.reloads%3 != 1
	s.reload(s.T, fast)
	s.logTime(fmt.Sprintf("reloaded; fast path: %t", fast))
	s.reloads++
	if !fast {
		s.ordinary++
	}
}

// restart stops the API server, and starts it again after a thousand queries. Every
// second time it also reloads the Corefile in between.
func (s *soak) restart() {
	s.Helper()
	s.logTime("the API server stops")
	s.setOutage(true, time.Now())
	s.script(s.T, "apiserver.sh", "stop")
	s.asker.more(s.T, 500)
	if s.reloadNext {
		s.reloadNow()
		s.offline++
	}
	s.reloadNext = !s.reloadNext
	s.asker.more(s.T, 500)
	s.script(s.T, "apiserver.sh", "start")
	// Kwok has lost its pending work in the outage; a new kwok lists every pod.
	s.kill(s.T, "kwok")
	s.setOutage(false, time.Now())
	s.logTime("the API server is back")
	s.restarts++
}

// settle returns the cluster to its initial state, and waits until the server serves
// that.
func (s *soak) settle() {
	s.Helper()
	if err := s.churn.reset(); err != nil {
		s.Fatal(err)
	}
	// A Kubernetes on a busy machine takes minutes to replace pods.
	cluster.Eventually(s.T, 15*time.Minute, func() error { return s.churn.settled() })
	cluster.Eventually(s.T, recovery, func() error { return s.serves(s.churn.names()) })
}
