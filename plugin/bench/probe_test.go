package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// probeRate is how many queries a second a probe makes: no more than it takes to
// see a pause of a few milliseconds.
const probeRate = 1000

// A probe is a client that asks evenly, whether or not it is answered, so that a
// server which pauses does not have fewer queries to be late with.
type probe struct {
	conn  *dns.Conn
	stop  chan struct{}
	ended sync.WaitGroup

	mu     sync.Mutex
	sent   int
	asked  map[uint16]time.Time // by ID, of those that are not answered
	timing timing
}

// timing is how a probe was answered.
type timing struct {
	latencies []time.Duration // in order, from the shortest on
	pause     time.Duration   // the longest time without an answer
	failed    int             // answers without an address
	lost      int
}

// startProbe asks a server for the addresses of names until end is called.
func startProbe(b *testing.B, s *server, names []string) *probe {
	b.Helper()
	conn, err := dns.Dial("udp", s.addr)
	if err != nil {
		b.Fatal(err)
	}
	p := &probe{conn: conn, stop: make(chan struct{}), asked: make(map[uint16]time.Time)}
	p.ended.Go(func() { p.ask(names) })
	p.ended.Go(p.receive)
	return p
}

func (p *probe) ask(names []string) {
	tick := time.NewTicker(time.Second / probeRate)
	defer tick.Stop()
	for id := uint16(0); ; id++ {
		select {
		case <-p.stop:
			// What is not answered after all this time is lost.
			_ = p.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			return
		case <-tick.C:
		}
		m := new(dns.Msg).SetQuestion(names[rand.IntN(len(names))], dns.TypeA)
		m.Id = id
		p.mu.Lock()
		p.sent++
		p.asked[id] = time.Now()
		p.mu.Unlock()
		_ = p.conn.WriteMsg(m) // else it is lost
	}
}

func (p *probe) receive() {
	last := time.Now()
	for {
		m, err := p.conn.ReadMsg()
		if err != nil {
			return
		}
		now := time.Now()
		p.mu.Lock()
		if asked, ok := p.asked[m.Id]; ok {
			delete(p.asked, m.Id)
			p.timing.latencies = append(p.timing.latencies, now.Sub(asked))
		}
		if !answered(m) {
			p.timing.failed++
		}
		p.timing.pause = max(p.timing.pause, now.Sub(last))
		p.mu.Unlock()
		last = now
	}
}

// end stops the probe and returns how it was answered.
func (p *probe) end() timing {
	close(p.stop)
	p.ended.Wait()
	_ = p.conn.Close()
	p.timing.lost = p.sent - len(p.timing.latencies)
	slices.Sort(p.timing.latencies)
	return p.timing
}

// at is the latency that this part of the queries did not exceed, in milliseconds.
func (t *timing) at(part float64) float64 {
	n := len(t.latencies)
	if n == 0 {
		return 0
	}
	return milliseconds(t.latencies[min(int(part*float64(n)), n-1)])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report reports the latencies, the longest pause, and how many queries had no
// answer.
func (t *timing) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(t.at(0.5), "p50-ms")
	b.ReportMetric(t.at(0.99), "p99-ms")
	b.ReportMetric(t.at(0.999), "p99.9-ms")
	b.ReportMetric(milliseconds(t.pause), "pause-ms")
	b.ReportMetric(float64(t.failed+t.lost), "failed")
}

// check fails if a query had no answer, or a pause was longer than it may be.
func (t *timing) check(b *testing.B) {
	b.Helper()
	if len(t.latencies) == 0 || t.failed+t.lost > 0 {
		b.Errorf("of %d queries, %d failed and %d were lost", len(t.latencies)+t.lost, t.failed, t.lost)
	}
	if t.pause > longestPause {
		b.Errorf("there was no answer for %v, which is longer than %v", t.pause, longestPause)
	}
}
