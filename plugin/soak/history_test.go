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

// A history is what the API server said of headless services and their pods, and
// when. The label app of a pod is the name of its service.
type history struct {
	mu       sync.Mutex
	services map[string]*service // by name
	changed  []question          // the last ones that changed, oldest first
	events   int
	outages  spans // times without an API server
}

// A service has its hosts by label. What is gone stays for as long as it matters.
type service struct {
	exists spans
	hosts  map[string][]*endpoint
}

// An endpoint is a pod with an address.
type endpoint struct {
	uid   types.UID
	addr  string
	ready spans
}

// A span is a time during which something was so. It goes on if until is zero.
type span struct{ from, until time.Time }

// Spans are in order and apart.
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

// drop forgets what ended before a time.
func (s spans) drop(before time.Time) spans {
	return slices.DeleteFunc(s, func(a span) bool { return !a.until.IsZero() && a.until.Before(before) })
}

const (
	// bound is how old an answer may be.
	bound = 2 * time.Second
	// lag is how much later than the server this program may see an event: both
	// have a watch of their own, and the machine may be busy.
	lag = time.Second
	// recovery is how long after an outage the bound does not hold yet: the server
	// and this program connect again in their own time. A reflector waits for up to
	// half a minute between attempts, and half as long again.
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

func newHistory() *history { return &history{services: make(map[string]*service)} }

func (h *history) service(name string) *service {
	s := h.services[name]
	if s == nil {
		s = &service{hosts: make(map[string][]*endpoint)}
		h.services[name] = s
	}
	return s
}

// setService takes in an event of a service.
func (h *history) setService(name string, exists bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events++
	if h.service(name).exists.set(exists, now) {
		h.note(question{service: name})
	}
}

// setPod takes in an event of a pod.
func (h *history) setPod(pod *corev1.Pod, gone bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events++
	name := pod.Labels["app"]
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
		if e.ready.set(is, now) {
			h.note(question{name, label})
		}
	}
	if ready && !seen {
		s.hosts[label] = append(s.hosts[label], &endpoint{pod.UID, pod.Status.PodIP, spans{{from: now}}})
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

// window is the time in which what was answered has to have been so: the bound
// before the question, or before an outage that began since. It is not known yet
// while an outage lasts, nor before this program has seen all of it.
func (h *history) window(a *answer, now time.Time) (w span, calm, known bool) {
	w, calm = span{a.asked.Add(-bound), a.answered.Add(lag)}, true
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
	return w, calm, now.After(w.until)
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
	asked := span{a.asked, a.answered.Add(lag)}
	served := make(map[string]spans)
	for _, e := range candidates {
		served[e.addr] = append(served[e.addr], e.ready.and(s.exists)...)
	}
	for _, addr := range a.addrs {
		when := served[addr]
		if !when.meets(w) {
			return 0, fmt.Errorf("%s is not its address, and was not within %v", addr, bound)
		}
		if calm && !when.meets(asked) {
			var last time.Time
			for _, r := range when {
				if r.until.After(last) {
					last = r.until
				}
			}
			age = max(age, a.asked.Sub(last))
		}
	}
	for addr, when := range served {
		if slices.Contains(a.addrs, addr) || a.truncated && len(a.addrs) > 0 {
			continue
		}
		if when.covers(w) {
			return 0, fmt.Errorf("%s is missing, and was ready for more than %v", addr, bound)
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
		s.exists = s.exists.drop(before)
		for label, endpoints := range s.hosts {
			endpoints = slices.DeleteFunc(endpoints, func(e *endpoint) bool {
				e.ready = e.ready.drop(before)
				return len(e.ready) == 0
			})
			if s.hosts[label] = endpoints; len(endpoints) == 0 {
				delete(s.hosts, label)
			}
		}
		if len(s.exists) == 0 && len(s.hosts) == 0 {
			delete(h.services, name)
		}
	}
}
