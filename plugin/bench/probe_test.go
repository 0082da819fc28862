package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// probeRate is the number of queries a second of a probe: just enough to see a pause of a
// few milliseconds.
const probeRate = 1000

// A probe is a client that sends queries at a steady rate, whether or not they are
// answered. So a server that pauses does not get fewer queries in its pause.
type probe struct {
	conn  *dns.Conn
	stop  chan struct{}
	ended sync.WaitGroup

	mu     sync.Mutex
	sent   int
	asked  map[uint16]time.Time // unanswered queries by ID
	timing timing
}

// timing has the latencies of a probe's queries.
type timing struct {
	latencies []time.Duration // sorted by end
	pause     time.Duration   // the longest time without a reply
	failed    int             // replies without an address
	lost      int
}

// startProbe queries the addresses of names until end is called.
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
			// A query without a reply by then is lost.
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
		_ = p.conn.WriteMsg(m) // if that fails, the query counts as lost
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

// end stops the probe and returns its timing.
func (p *probe) end() timing {
	close(p.stop)
	p.ended.Wait()
	_ = p.conn.Close()
	p.timing.lost = p.sent - len(p.timing.latencies)
	slices.Sort(p.timing.latencies)
	return p.timing
}

// at returns a quantile of the latencies, in milliseconds.
func (t *timing) at(quantile float64) float64 {
	n := len(t.latencies)
	if n == 0 {
		return 0
	}
	return milliseconds(t.latencies[min(int(quantile*float64(n)), n-1)])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report reports the latencies, the longest pause, and the number of queries without an
// answer.
func (t *timing) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(t.at(0.5), "p50-ms")
	b.ReportMetric(t.at(0.99), "p99-ms")
	b.ReportMetric(t.at(0.999), "p99.9-ms")
	b.ReportMetric(milliseconds(t.pause), "pause-ms")
	b.ReportMetric(float64(t.failed+t.lost), "failed")
}

// check fails if a query had no answer or a pause was too long.
func (t *timing) check(b *testing.B) {
	b.Helper()
	if len(t.latencies) == 0 || t.failed+t.lost > 0 {
		b.Errorf("of %d queries, %d failed and %d were lost", len(t.latencies)+t.lost, t.failed, t.lost)
	}
	if t.pause > longestPause {
		b.Errorf("no reply for %v, want at most %v", t.pause, longestPause)
	}
}
