package informer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// versions are the published states.
type versions struct {
	states   []atomic.Pointer[state]
	started  atomic.Int64 // index of the last state whose publication began,
	finished atomic.Int64 // and of the last whose publication ended
}

// explains reports whether an answer is that of one state from from to to. The query
// began after the publication of state from, and ended before the publication of any
// state after to.
func (v *versions) explains(q *question, got string, from, to int64) bool {
	for i := from; i <= to; i++ {
		s := *v.states[i].Load()
		if s.answer(q) == got {
			return true
		}
		if i == from {
			continue
		}
		before := *v.states[i-1].Load()
		if q.addr.IsValid() {
			// The reverse index may be one change behind. Its names are a subset of the old or of
			// the new ones.
			if partOf(got, before, s, q) {
				return true
			}
			continue
		}
		if _, stays := s[q.service]; isExternal(q.service) && !stays && (state{q.service: nil}).answer(q) == got {
			return true // it leaves the external zone
		}
		// An address leaves its service before it enters another, and a service loses its
		// endpoints before its name.
		for _, recreated := range []bool{false, true} {
			if _, ok := before[q.service]; ok && before.interim(s, q.service, recreated).answer(q) == got {
				return true
			}
		}
	}
	return false
}

// partOf reports whether each name of an address is one that it had or has.
func partOf(got string, before, after state, q *question) bool {
	if got == "outside" {
		return before.answer(q) == got || after.answer(q) == got || before.answer(q) != after.answer(q)
	}
	for name := range strings.SplitSeq(got, ", ") {
		owns := func(s state) bool {
			for k, endpoints := range s {
				for _, e := range endpoints {
					if e.addr == q.addr && !isExternal(k) && !isImport(k) && name == fmt.Sprintf("%s.%s.%s.svc.cluster.local.", e.host, k.Name, k.Namespace) {
						return true
					}
				}
			}
			return false
		}
		if !owns(before) && !owns(after) {
			return false
		}
	}
	return true
}

// TestHistoryReaders queries while histories are played. Each answer is that of one
// moment: it does not mix two states of a service, and has no address that the name had
// lost before the query began.
func TestHistoryReaders(t *testing.T) {
	events, seed := numberFrom(t, eventsVariable, historyEvents)/10, numberFrom(t, seedVariable, 1)
	var asked atomic.Uint64
	for n := range (events + historySteps - 1) / historySteps {
		h := drawHistory(rand.New(rand.NewPCG(seed, 1<<32+n)), historySteps)
		p := newPipeline(h)
		v := &versions{states: make([]atomic.Pointer[state], len(h.steps)+1)}
		v.states[0].Store(&state{})
		done := make(chan struct{})
		var wait sync.WaitGroup
		for reader := range uint64(2) {
			wait.Go(func() {
				rng := rand.New(rand.NewPCG(seed, n<<1|reader))
				for {
					select {
					case <-done:
						return
					default:
					}
					q := &questions[rng.IntN(len(questions))]
					if q.imported && !h.imports {
						continue
					}
					from := v.finished.Load()
					got := ask(p.trieOf(q), q)
					to := v.started.Load()
					asked.Add(1)
					if !v.explains(q, got, from, to) {
						t.Errorf("%s=%d, history %d: %s %s was %q between states %d and %d, where it is %q and %q", seedVariable, seed, n,
							q.name, dns.TypeToString[q.qtype], got, from, to, v.states[from].Load().answer(q), v.states[to].Load().answer(q))
						return
					}
				}
			})
		}
		err := h.play(t, p, func() error {
			s := p.expected.state()
			i := v.started.Load() + 1
			v.states[i].Store(&s)
			v.started.Store(i)
			p.apply(p.batch)
			p.batch = nil
			v.finished.Store(i)
			return nil
		})
		close(done)
		wait.Wait()
		if err != nil || t.Failed() {
			t.Fatalf("%v\n%v", err, h)
		}
	}
	t.Logf("%d questions while %d events from seed %d came", asked.Load(), events, seed)
}
