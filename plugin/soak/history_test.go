package soak_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// namespace is that of all services and pods here.
const namespace = "soak"

// steady is a service with one pod that is always there.
var steady = question{service: "steady"}

// A history is what the API server said of headless services and their pods, and
// when. The label app of a pod is the name of its service.
//
// A watch may be late on a busy machine, that of this program as well as that of the
// server. So something with the time is written to the API server again and again: what
// the watch tells after that happened after that time, and until it tells that, nobody
// knows what was so then.
type history struct {
	mu       sync.Mutex
	written  map[string]time.Time // the last time that the watch of a resource told
	services map[string]*service  // by name
	changed  []question           // the last ones that changed, oldest first
	events   int
	outages  spans // times without an API server
}

// A service has its hosts by label. What is gone stays for as long as it matters.
type service struct {
	exists period
	hosts  map[string][]*endpoint
}

// An endpoint is a pod with an address.
type endpoint struct {
	uid   types.UID
	addr  string
	ready period
}

// A moment is when something happened: after one time, and no later than another.
type moment struct{ after, by time.Time }

// A period is when something was so: surely, and perhaps.
type period struct{ sure, perhaps spans }

// set says that something is so, or not, from a moment on. It returns whether that is
// new.
func (p *period) set(is bool, when moment) bool {
	first, last := when.after, when.by
	if !is {
		first, last = last, first
	}
	p.sure.set(is, last)
	return p.perhaps.set(is, first)
}

func (p period) and(other period) period {
	return period{p.sure.and(other.sure), p.perhaps.and(other.perhaps)}
}

func (p *period) drop(before time.Time) {
	p.sure, p.perhaps = p.sure.drop(before), p.perhaps.drop(before)
}

// A span is a time during which something was so. It goes on if until is zero.
type span struct{ from, until time.Time }

// Spans are in order.
type spans []span

// set says that something is so, or not, from a time on. It returns whether that
// is new.
func (s *spans) set(is bool, now time.Time) bool {
	last := len(*s) - 1
	was := last >= 0 && (*s)[last].until.IsZero()
	switch {
	case is && !was:
		*s = append(*s, span{from: now})
	case was && !is:
		(*s)[last].until = now
	}
	return is != was
}

// and is when both are so.
func (s spans) and(other spans) (out spans) {
	for _, a := range s {
		for _, b := range other {
			c := a
			if b.from.After(c.from) {
				c.from = b.from
			}
			if c.until.IsZero() || !b.until.IsZero() && b.until.Before(c.until) {
				c.until = b.until
			}
			if c.until.IsZero() || c.until.After(c.from) {
				out = append(out, c)
			}
		}
	}
	return out
}

// meets is whether any of it is within the window.
func (s spans) meets(w span) bool {
	return slices.ContainsFunc(s, func(a span) bool {
		return !a.from.After(w.until) && (a.until.IsZero() || !a.until.Before(w.from))
	})
}

// covers is whether it is so during all of the window.
func (s spans) covers(w span) bool {
	return slices.ContainsFunc(s, func(a span) bool {
		return !a.from.After(w.from) && (a.until.IsZero() || a.until.After(w.until))
	})
}

// last is when it was last so, before a time at which it is not.
func (s spans) last(before time.Time) (last time.Time) {
	for _, a := range s {
		if a.until.After(last) && a.until.Before(before) {
			last = a.until
		}
	}
	return last
}

// tell lists the spans for a reader.
func (s spans) tell() string {
	var b strings.Builder
	for _, a := range s {
		fmt.Fprintf(&b, "; from %s", a.from.Format(time.StampMilli))
		if !a.until.IsZero() {
			fmt.Fprintf(&b, " until %s", a.until.Format(time.StampMilli))
		}
	}
	return b.String()
}

// drop forgets what ended before a time.
func (s spans) drop(before time.Time) spans {
	return slices.DeleteFunc(s, func(a span) bool { return !a.until.IsZero() && a.until.Before(before) })
}

const (
	// bound is how old an answer may be, while the API server is up: it is for a small
	// machine, of which a Kubernetes and its churn take all. On one at rest an answer is
	// old by milliseconds.
	bound = 5 * time.Second
	// recovery is how long after an outage the bound does not hold yet: the server
	// and this program connect again in their own time. The server pauses for up to ten
	// seconds between attempts, of which an API server that has just begun may refuse some.
	recovery = 45 * time.Second
	// memory is for how long what is gone is remembered.
	memory = 5 * time.Minute
)

// A question is for the addresses of a service, or of a host of it.
type question struct{ service, host string }

func (q question) name() string {
	return strings.TrimPrefix(q.host+"."+q.service+"."+namespace+".svc.cluster.local.", ".")
}

// An answer is what the server said.
type answer struct {
	question
	asked, answered time.Time
	rcode           string
	addrs           []string
	truncated       bool
}

func newHistory() *history {
	return &history{services: make(map[string]*service), written: make(map[string]time.Time)}
}

func (h *history) service(name string) *service {
	s := h.services[name]
	if s == nil {
		s = &service{hosts: make(map[string][]*endpoint)}
		h.services[name] = s
	}
	return s
}

// setService takes in an event of a service.
func (h *history) setService(name string, exists bool, when moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name != steady.service { // which only has the time written to it
		h.events++
	}
	if h.service(name).exists.set(exists, when) {
		h.note(question{service: name})
	}
}

// setPod takes in an event of a pod.
func (h *history) setPod(pod *corev1.Pod, gone bool, when moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := pod.Labels["app"]
	if name != steady.service {
		h.events++
	}
	s := h.service(name)
	label := hostLabel(pod)
	ready := !gone && pod.DeletionTimestamp == nil && isReady(pod)
	seen := false
	for _, e := range s.hosts[label] {
		if e.uid != pod.UID {
			continue
		}
		is := ready && e.addr == pod.Status.PodIP
		seen = seen || is
		if e.ready.set(is, when) {
			h.note(question{name, label})
		}
	}
	if ready && !seen {
		e := &endpoint{uid: pod.UID, addr: pod.Status.PodIP}
		e.ready.set(true, when)
		s.hosts[label] = append(s.hosts[label], e)
		h.note(question{name, label})
	}
}

// hostLabel is what a pod is called below its service.
func hostLabel(pod *corev1.Pod) string {
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == pod.Labels["app"] {
		return pod.Spec.Hostname
	}
	return strings.ReplaceAll(pod.Status.PodIP, ".", "-")
}

func isReady(pod *corev1.Pod) bool {
	return pod.Status.PodIP != "" && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// note keeps a question whose answer has changed.
func (h *history) note(q question) {
	const most = 100
	if len(h.changed) == most {
		h.changed = slices.Delete(h.changed, 0, most/2)
	}
	h.changed = append(h.changed, q)
}

// questions returns the questions whose answers changed last, and all that had one
// lately.
func (h *history) questions() (recent, all []question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, s := range h.services {
		all = append(all, question{service: name})
		for host := range s.hosts {
			all = append(all, question{name, host})
		}
	}
	return slices.Clone(h.changed), all
}

// total is how many events there were.
func (h *history) total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events
}

// setOutage says that there is no API server, or that there is one again.
func (h *history) setOutage(down bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outages.set(down, now)
}

// since is when what the watch of a resource tells now has happened.
func (h *history) since(resource string) moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return moment{h.written[resource], time.Now()}
}

// setWritten says that the watch of a resource has told what was written at a time.
func (h *history) setWritten(resource string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written[resource] = at
}

// window is the time in which what was answered has to have been so: from the bound
// before the question, or before an outage that began since, until the answer. It is
// not known yet while an outage lasts, nor before this program has seen all of it.
func (h *history) window(a *answer) (w span, calm, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w, calm = span{a.asked.Add(-bound), a.answered}, true
	for _, o := range slices.Backward(h.outages) {
		end := o.until.Add(recovery)
		if o.from.After(w.until) || !o.until.IsZero() && end.Before(w.from) {
			continue
		}
		if o.until.IsZero() {
			return w, false, false
		}
		calm = false
		if before := o.from.Add(-bound); before.Before(w.from) {
			w.from = before
		}
		if end.After(w.until) {
			w.until = end
		}
	}
	return w, calm, h.written["pods"].After(w.until) && h.written["services"].After(w.until)
}

// judge says what is wrong with an answer, and how old it was: for how long it had
// an address that was not ready any more, or lacked one that was. Of an answer
// during an outage, the age says nothing and is zero.
func (h *history) judge(a *answer, w span, calm bool) (age time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case a.rcode == "NOERROR" && len(a.addrs) > 0:
	case a.rcode == "NXDOMAIN" && len(a.addrs) == 0:
	default:
		return 0, fmt.Errorf("%s with %d addresses", a.rcode, len(a.addrs))
	}
	var candidates []*endpoint
	s := h.services[a.service]
	if s != nil {
		candidates = s.hosts[a.host]
		if a.host == "" {
			for _, host := range s.hosts {
				candidates = append(candidates, host...)
			}
		}
	}
	asked := span{a.asked, a.answered}
	served := make(map[string]period)
	for _, e := range candidates {
		p, when := served[e.addr], e.ready.and(s.exists)
		served[e.addr] = period{append(p.sure, when.sure...), append(p.perhaps, when.perhaps...)}
	}
	for _, addr := range a.addrs {
		when := served[addr].perhaps
		if !when.meets(w) {
			return 0, fmt.Errorf("%s is not its address, and was not within %v%s", addr, bound, when.tell())
		}
		if calm && !when.meets(asked) {
			age = max(age, a.asked.Sub(when.last(a.asked)))
		}
	}
	for addr, p := range served {
		when := p.sure
		if slices.Contains(a.addrs, addr) || a.truncated && len(a.addrs) > 0 {
			continue
		}
		if when.covers(w) {
			return 0, fmt.Errorf("%s is missing, and was ready for more than %v%s", addr, bound, when.tell())
		}
		for _, r := range when {
			if calm && (spans{r}).covers(asked) {
				age = max(age, a.asked.Sub(r.from))
			}
		}
	}
	return age, nil
}

// forget drops what ended too long ago to matter. Nothing is dropped during an
// outage, whose answers are judged after it.
func (h *history) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.outages); n > 0 && (h.outages[n-1].until.IsZero() || now.Sub(h.outages[n-1].until) < 2*recovery) {
		return
	}
	before := now.Add(-memory)
	h.outages = h.outages.drop(before)
	for name, s := range h.services {
		s.exists.drop(before)
		for label, endpoints := range s.hosts {
			endpoints = slices.DeleteFunc(endpoints, func(e *endpoint) bool {
				e.ready.drop(before)
				return len(e.ready.perhaps) == 0
			})
			if s.hosts[label] = endpoints; len(endpoints) == 0 {
				delete(s.hosts, label)
			}
		}
		if len(s.exists.perhaps) == 0 && len(s.hosts) == 0 {
			delete(h.services, name)
		}
	}
}
