//go:build soak

package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// asker queries addresses all the time, and lets the history judge the answers.
type asker struct {
	*history
	addr string
	done chan struct{}

	counting   sync.Mutex
	n, retries int
	wrong      int
	errors     []string // of the first wrong answers, one a name
	failed     map[string]bool
	calm       int // answers that were judged by the bound, as no outage was near
	oldest     time.Duration
	pending    []answer // answers that are not judged yet
}

// ask sends a query about every millisecond until the context is done. Every second query
// is for a name whose answer changed recently.
func ask(ctx context.Context, h *history, addr string) *asker {
	a := &asker{history: h, addr: addr, done: make(chan struct{}), failed: make(map[string]bool)}
	go a.ask(ctx)
	go a.judgeAll(ctx)
	return a
}

func (a *asker) ask(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var recent, known []question
	for i := 0; ctx.Err() == nil; i++ {
		if i%200 == 0 {
			recent, known = a.questions()
		}
		from := known
		if i%2 == 0 && len(recent) > 0 {
			from = recent
		}
		q := from[rand.IntN(len(from))]
		if q.host != "" && i%10 == 0 {
			q.host = "" // a service changes whenever one of its hosts does
		}
		network := "udp"
		if q.host == "" && i%4 == 0 {
			network = "tcp" // so that the reply has all addresses of a large service
		}
		a.exchange(q, network, i%9 == 0)
		<-tick.C
	}
}

// exchange sends a query. With an option, the fast path leaves it to the server. CoreDNS resets
// TCP connections when it closes a socket at a reload. So exchange retries over TCP, as resolvers
// do (RFC 7766, section 6.2.4).
func (a *asker) exchange(q question, network string, option bool) {
	client := dns.Client{Net: network, Timeout: 5 * time.Second}
	m := new(dns.Msg).SetQuestion(q.name(), dns.TypeA)
	m.SetEdns0(1232, false)
	if option {
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0LOCALSTART})
	}
	asked := time.Now()
	r, _, err := client.Exchange(m, a.addr)
	retries := 0
	for ; err != nil && network == "tcp" && retries < 2; retries++ {
		asked = time.Now()
		r, _, err = client.Exchange(m, a.addr)
	}
	got := answer{question: q, asked: asked, answered: time.Now()}
	a.counting.Lock()
	defer a.counting.Unlock()
	a.n++
	a.retries += retries
	if err != nil {
		a.fail(&got, fmt.Errorf("over %s: %w", network, err))
		return
	}
	got.rcode, got.truncated = dns.RcodeToString[r.Rcode], r.Truncated
	for _, rr := range r.Answer {
		if record, ok := rr.(*dns.A); ok {
			got.addrs = append(got.addrs, record.A.String())
		}
	}
	a.pending = append(a.pending, got)
}

func (a *asker) fail(got *answer, err error) {
	a.wrong++
	if name := got.name(); !a.failed[name] && len(a.errors) < 20 {
		a.failed[name] = true
		a.errors = append(a.errors, fmt.Sprintf("%s, queried at %s: %v", name, got.asked.Format(time.StampMilli), err))
	}
}

// judgeAll judges answers once a second until the context is done.
func (a *asker) judgeAll(ctx context.Context) {
	defer close(a.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		a.judgePending()
		a.forget(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// judgePending judges the answers whose window is known. The windows of answers become
// known in the order of the answers.
func (a *asker) judgePending() {
	a.counting.Lock()
	defer a.counting.Unlock()
	for len(a.pending) > 0 {
		next := &a.pending[0]
		w, calm, complete := a.window(next)
		if !complete {
			return
		}
		age, err := a.judge(next, w, calm)
		if err != nil {
			a.fail(next, err)
		}
		if calm {
			a.calm++
		}
		a.oldest = max(a.oldest, age)
		a.pending = a.pending[1:]
	}
}

// total returns the number of queries so far.
func (a *asker) total() int {
	a.counting.Lock()
	defer a.counting.Unlock()
	return a.n
}

// more waits for n more queries.
func (a *asker) more(t *testing.T, n int) {
	t.Helper()
	want := a.total() + n
	cluster.Eventually(t, time.Minute, func() error {
		if got := a.total(); got < want {
			return fmt.Errorf("%d queries were sent, want %d", got, want)
		}
		return nil
	})
}

// finish waits until every answer so far is judged.
func (a *asker) finish(t *testing.T) {
	t.Helper()
	until := time.Now()
	cluster.Eventually(t, 2*recovery, func() error {
		a.counting.Lock()
		defer a.counting.Unlock()
		if len(a.pending) > 0 && a.pending[0].asked.Before(until) {
			return fmt.Errorf("%d answers are not judged", len(a.pending))
		}
		return nil
	})
}

// report fails the test if an answer was wrong.
func (a *asker) report(t *testing.T) {
	t.Helper()
	a.counting.Lock()
	defer a.counting.Unlock()
	if a.wrong > 0 {
		t.Errorf("%d of %d answers are wrong, the first ones:\n%s", a.wrong, a.n, strings.Join(a.errors, "\n"))
	}
}
