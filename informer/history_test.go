package informer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/snapshot"
)

// history is a series of steps: what happens to a cluster and to its watches. The steps are
// independent of each other, so a history without some steps is still a history. So shrink
// can remove the steps that a failure does not need.
type history struct {
	podNames, selectNamespaces, addressed, zonal, imports bool
	steps                                                 []step
}

type step struct {
	op   op
	kind object.Kind
	name int    // of the object: an index into the names
	seed uint64 // of its content
}

type op uint8

const (
	changed    op = iota // an object is added, changed, or replaced under its name
	deleted              // it is deleted
	repeated             // an event arrives a second time
	unwatched            // the watch ends; the changes that follow are missed
	relisted             // everything is listed, and watched from now on
	rolledBack           // an old state is listed: the API server was restored from a backup
	drained              // the events so far are published and compared
	ops
)

func (s step) String() string {
	name := [ops]string{"changed", "deleted", "repeated", "unwatched", "relisted", "rolledBack", "drained"}[s.op]
	kind := [object.Kinds]string{"Services", "Pods", "EndpointSlices", "Namespaces", "Nodes", "ServiceImports", "ImportedSlices"}[s.kind]
	return fmt.Sprintf("{%s, %s, %d, %d}", name, kind, s.name, s.seed)
}

func (h *history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "history{%t, %t, %t, %t, %t, []step{\n", h.podNames, h.selectNamespaces, h.addressed, h.zonal, h.imports)
	for _, s := range h.steps {
		fmt.Fprintf(&b, "\t%v,", s)
		if s.op == changed {
			fmt.Fprintf(&b, " // %s", sketch(build(s.kind, s.name, s.seed)))
		}
		b.WriteByte('\n')
	}
	b.WriteString("}}")
	return b.String()
}

// drawHistory draws a history of n steps. It begins with a few objects and the lists of all
// kinds, in some order.
func drawHistory(rng *rand.Rand, n int) *history {
	h := &history{podNames: rng.IntN(4) == 0, selectNamespaces: rng.IntN(4) == 0, addressed: rng.IntN(4) == 0, zonal: rng.IntN(2) == 0, imports: rng.IntN(3) == 0}
	watched := newModel(h).watched()
	draw := func() step {
		s := step{op: changed, kind: watched[rng.IntN(len(watched))], seed: rng.Uint64N(1 << 32)}
		if rng.IntN(3) > 0 {
			s.kind = object.Pods // most events are of pods, as in a cluster
			if h.imports && rng.IntN(3) == 0 {
				s.kind = object.ImportedSlices
			}
		}
		if rng.IntN(3) == 0 {
			s.op = deleted
		}
		s.name = rng.IntN(objectNames[s.kind])
		return s
	}
	for range rng.IntN(20) {
		h.steps = append(h.steps, draw())
	}
	for _, i := range rng.Perm(len(watched)) {
		h.steps = append(h.steps, step{op: relisted, kind: watched[i]})
		if rng.IntN(2) == 0 {
			h.steps = append(h.steps, draw(), step{op: drained})
		}
	}
	often := 2 + rng.IntN(40) // steps to a drain
	for len(h.steps) < n {
		switch s := draw(); {
		case rng.IntN(often) == 0:
			h.steps = append(h.steps, step{op: drained})
		case rng.IntN(40) == 0:
			s.op = unwatched
			h.steps = append(h.steps, s)
		case rng.IntN(30) == 0:
			s.op = relisted
			if rng.IntN(8) == 0 {
				s.op = rolledBack
			}
			h.steps = append(h.steps, s)
		case rng.IntN(10) == 0:
			s.op = repeated
			h.steps = append(h.steps, s)
		default:
			h.steps = append(h.steps, s)
		}
	}
	h.steps = append(h.steps, step{op: drained})
	return h
}

// play plays a history and calls look at each drain, which must apply the batch. It stops
// at the first error.
func (h *history) play(t testing.TB, p *pipeline, look func() error) error {
	var watching [object.Kinds]bool
	truth := newModel(h)
	old := truth.clone()
	for i, s := range h.steps {
		k := keyOf(s.kind, s.name)
		now, received := truth.objects[s.kind], p.expected.objects[s.kind]
		switch s.op {
		case changed:
			o := build(s.kind, s.name, s.seed)
			if now[k] = o; watching[s.kind] {
				received[k] = o
				p.batch = append(p.batch, event{Origin: object.Origin{Kind: s.kind}, object: p.decode(t, o)})
			}
		case deleted:
			delete(now, k)
			if watching[s.kind] {
				delete(received, k)
				p.batch = append(p.batch, event{Origin: object.Origin{Kind: s.kind}, key: k})
			}
		case repeated:
			if !watching[s.kind] {
				break
			}
			e := event{Origin: object.Origin{Kind: s.kind}, key: k}
			if o := now[k]; o != nil {
				e.object = p.decode(t, o)
			}
			p.batch = append(p.batch, e)
		case unwatched:
			if watching[s.kind] {
				watching[s.kind] = false
				old = truth.clone()
			}
		case relisted, rolledBack:
			listed := now
			if s.op == rolledBack {
				// The old state is listed, and the watch continues from there.
				listed = maps.Clone(old.objects[s.kind])
				truth.objects[s.kind] = listed
			}
			p.expected.objects[s.kind] = maps.Clone(listed)
			p.expected.listed[s.kind] = true
			watching[s.kind] = true
			e := event{Origin: object.Origin{Kind: s.kind}, list: true}
			for _, o := range listed {
				e.objects = append(e.objects, p.decode(t, o))
			}
			p.batch = append(p.batch, e)
		case drained:
			if err := look(); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
	}
	return nil
}

// questions are all names and types that can have records.
var questions = func() []question {
	var out []question
	for _, ns := range namespacesOf {
		for _, service := range services {
			base := fmt.Sprintf("%s.%s.svc.cluster.local.", service, ns)
			hosts := slices.Concat([]string{""}, hostnames[:len(hostnames)-1], podsOf[3:])
			for i := range addresses4 {
				hosts = append(hosts, dashes.Replace(address4(i)))
			}
			for i := range addresses6 {
				hosts = append(hosts, dashes.Replace(address6(i)))
			}
			for _, host := range hosts {
				name := base
				if host != "" {
					name = host + "." + base
				}
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
					out = append(out, question{name: name, service: object.Key{Namespace: ns, Name: service}, host: host, qtype: qtype})
				}
			}
			for _, port := range []string{"web tcp", "peer udp"} {
				name, protocol, _ := strings.Cut(port, " ")
				out = append(out, question{name: fmt.Sprintf("_%s._%s.%s", name, protocol, base), service: object.Key{Namespace: ns, Name: service},
					port: name, protocol: protocol, qtype: dns.TypeSRV})
			}
			for i, zone := range zones {
				mode := []string{"pin", "prefer"}[i]
				q := question{name: fmt.Sprintf("%s.%s._zone.%s", zone, mode, base), service: object.Key{Namespace: ns, Name: service}, zone: zone, prefer: i > 0}
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
					q.qtype = qtype
					out = append(out, q)
				}
				q.name, q.protocol, q.port = "_web._tcp."+q.name, "tcp", "web"
				out = append(out, q)
			}
			out = append(out, importQuestions(object.Key{Namespace: ns, Name: service})...)
		}
	}
	for _, q := range slices.Clone(out) {
		if q.imported {
			continue
		}
		q.name, q.service = strings.Replace(q.name, ".svc.cluster.local.", ".example.org.", 1), externalKey(q.service)
		if q.host == "" || q.host == hostnames[0] || q.host == dashes.Replace(address4(0)) {
			out = append(out, q)
		}
	}
	reverse := func(address string) {
		name, err := dns.ReverseAddr(address)
		if err != nil {
			panic(err)
		}
		out = append(out, question{name: name, addr: netip.MustParseAddr(address), qtype: dns.TypePTR})
	}
	for i := range addresses4 {
		reverse(address4(i))
	}
	for i := range addresses6 {
		reverse(address6(i))
	}
	return out
}()

// check plays a history and compares every name and every client with the model at each drain.
func (h *history) check(t testing.TB) error {
	p := newPipeline(h)
	release, drains := p.IndexClients(), 0
	return h.play(t, p, func() error {
		p.apply(p.batch)
		p.batch = nil
		if drains++; drains%8 == 0 { // a new index is that of the objects so far
			release()
			release = p.IndexClients()
		}
		return p.compare()
	})
}

// compare compares every name and every client with the model.
func (p *pipeline) compare() error {
	if err := p.checkClients(); err != nil {
		return err
	}
	s := p.expected.state()
	for i := range questions {
		q := &questions[i]
		if q.imported && !p.expected.imports {
			continue
		}
		if got, want := ask(p.trieOf(q), q), s.answer(q); got != want {
			return fmt.Errorf("%s %s is %q, want %q", q.name, dns.TypeToString[q.qtype], got, want)
		} else if want != "missing" || q.imported || q.host == "" || q.qtype != dns.TypeA {
			continue
		}
		if got, want := denialOf(p.joiner.trie, q.name), p.expected.denial(plainKey(q.service), q.host); got != want {
			return fmt.Errorf("%s is missing because of %q, want %q", q.name, got, want)
		}
	}
	return nil
}

// shrink removes from a failing history the steps that it does not need to fail: large
// parts first, then single steps.
func (h *history) shrink(fails func(*history) bool) *history {
	small := *h
	for size := len(small.steps) / 2; size > 0; {
		shrunk := false
		for at := 0; at < len(small.steps); {
			less := small
			less.steps = slices.Delete(slices.Clone(small.steps), at, min(at+size, len(small.steps)))
			if fails(&less) {
				small, shrunk = less, true
			} else {
				at += size
			}
		}
		if size > 1 || !shrunk {
			size /= 2
		}
	}
	return &small
}

// Histories are drawn from a seed, which a failure prints.
const eventsVariable, seedVariable = "HISTORY_EVENTS", "HISTORY_SEED"

func numberFrom(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", variable, text)
	}
	return n
}

const (
	historyEvents = 400_000 // by default
	historySteps  = 2000    // of one history
)

// TestHistory plays random histories of a watched cluster.
func TestHistory(t *testing.T) {
	events, seed := numberFrom(t, eventsVariable, historyEvents), numberFrom(t, seedVariable, 1)
	var next, played atomic.Uint64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for n := next.Add(1); n <= (events+historySteps-1)/historySteps && !t.Failed(); n = next.Add(1) {
				h := drawHistory(rand.New(rand.NewPCG(seed, n)), historySteps)
				if err := h.check(t); err != nil {
					small := h.shrink(func(h *history) bool { return h.check(t) != nil })
					t.Errorf("%s=%d, history %d: %v\nthe shortest history that fails: %v\n%v", seedVariable, seed, n, err, small.check(t), small)
					return
				}
				played.Add(uint64(len(h.steps)))
			}
		})
	}
	wait.Wait()
	t.Logf("%d events from seed %d", played.Load(), seed)
}

// TestHistoryRestored plays short histories. An informer that starts from a snapshot of the last
// objects serves the same.
func TestHistoryRestored(t *testing.T) {
	seed := numberFrom(t, seedVariable, 1)
	file := filepath.Join(t.TempDir(), "snapshot")
	for n := range uint64(100) {
		h := drawHistory(rand.New(rand.NewPCG(seed, 2<<32+n)), 200)
		p := newPipeline(h)
		err := h.play(t, p, func() error {
			p.apply(p.batch)
			p.batch = nil
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.Write(file, time.Unix(1e9, 0), "", p.joiner.objects()); err != nil {
			t.Fatal(err)
		}
		s, err := snapshot.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := s.Objects()
		if err != nil {
			t.Fatal(err)
		}
		restored := newPipeline(h)
		restored.expected = p.expected
		restored.IndexClients()
		restored.missing[object.Origin{Kind: object.LeftoverSlices}] = true
		restored.apply([]event{{snapshot: &objects}})
		if err := restored.compare(); err != nil {
			t.Fatalf("%s=%d, history %d: %v", seedVariable, seed, n, err)
		}
	}
}

// TestShrink checks that a shrunk history has exactly the steps that it needs to fail.
func TestShrink(t *testing.T) {
	h := drawHistory(rand.New(rand.NewPCG(1, 1)), 500)
	needed := []step{h.steps[17], h.steps[230], h.steps[400]}
	small := h.shrink(func(h *history) bool {
		rest := h.steps
		for _, s := range needed {
			i := slices.Index(rest, s)
			if i < 0 {
				return false
			}
			rest = rest[i+1:]
		}
		return true
	})
	if !slices.Equal(small.steps, needed) {
		t.Errorf("the history is %v, want %v", small, needed)
	}
}
