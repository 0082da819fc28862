package soak_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headless-dns/headless/internal/cluster"
)

// namespace has the services and pods of the test.
const namespace = "soak"

// steady is a service with one pod that churn leaves alone.
var steady = question{service: "steady"}

// A history records what the API server reported of headless services and their pods, and
// when. The label app of a pod names its service.
//
// On a busy machine the watches of the test and of the server may be late. So the test
// writes the time to an object in the API server several times a second. An event that
// the watch delivers after such a time happened after it. Until the watch has delivered a
// time, the state at that time is unknown.
type history struct {
	mu       sync.Mutex
	written  map[string]time.Time // by resource: the latest time that its watch has delivered
	services map[string]*service  // by name
	changed  []question           // questions whose answers changed last, oldest first
	events   int
	outages  spans // times without an API server
}

// A service has endpoints by the label of their host. Past ones stay for the retention.
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

const (
	// bound is the maximum age of an answer while the API server is up. It is for a small
	// machine that a Kubernetes and the churn keep fully busy. On an idle one an answer
	// is milliseconds old.
	bound = 5 * time.Second
	// recovery is how long after an outage the bound does not apply. The server and this
	// test reconnect at different times. The server pauses for up to ten seconds between
	// attempts, and an API server refuses some requests just after its start.
	recovery = 45 * time.Second
	// retention is how long the history keeps what is gone.
	retention = 5 * time.Minute
)

// A question is for the addresses of a service, or of one of its hosts.
type question struct{ service, host string }

func (q question) name() string {
	return strings.TrimPrefix(q.host+"."+q.service+"."+namespace+".svc.cluster.local.", ".")
}

// An answer is the server's reply to a question.
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

// setService records an event of a service.
func (h *history) setService(name string, exists bool, when moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name != steady.service { // whose events are only the written times
		h.events++
	}
	if h.service(name).exists.set(exists, when) {
		h.note(question{service: name})
	}
}

// setPod records an event of a pod.
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

// hostLabel returns the label of a pod below its service.
func hostLabel(pod *corev1.Pod) string {
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == pod.Labels["app"] {
		return pod.Spec.Hostname
	}
	return strings.ReplaceAll(pod.Status.PodIP, ".", "-")
}

func isReady(pod *corev1.Pod) bool {
	return pod.Status.PodIP != "" && cluster.PodReady(pod)
}

// note records a question whose answer has changed.
func (h *history) note(q question) {
	const most = 100
	if len(h.changed) == most {
		h.changed = slices.Delete(h.changed, 0, most/2)
	}
	h.changed = append(h.changed, q)
}

// questions returns the questions whose answers changed last, and all questions that had
// an answer within the retention.
func (h *history) questions() (recent, known []question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, s := range h.services {
		known = append(known, question{service: name})
		for host := range s.hosts {
			known = append(known, question{name, host})
		}
	}
	return slices.Clone(h.changed), known
}

// total returns the number of events so far.
func (h *history) total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events
}

// setOutage records the begin or the end of an outage of the API server.
func (h *history) setOutage(down bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outages.set(down, now)
}

// since returns the moment of an event that the watch of a resource delivers now.
func (h *history) since(resource string) moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return moment{h.written[resource], time.Now()}
}

// setWritten records that the watch of a resource has delivered a written time.
func (h *history) setWritten(resource string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written[resource] = at
}

// window returns the time span in which the content of an answer must have been true. It
// begins the bound before the question, or before an outage since then, and ends with the
// answer, or with the recovery from an outage. calm reports whether no outage is near.
// complete is false while an outage lasts, and until this test has seen the whole window.
func (h *history) window(a *answer) (w span, calm, complete bool) {
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

// judge returns an error for a wrong answer, and the age of a right one. The age is how
// long the answer had an address that was no longer ready, or lacked one that was. Near
// an outage the age has no meaning and is zero.
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
		p, when := served[e.addr], e.ready.intersect(s.exists)
		served[e.addr] = period{append(p.certain, when.certain...), append(p.possible, when.possible...)}
	}
	for _, addr := range a.addrs {
		when := served[addr].possible
		if !when.overlaps(w) {
			return 0, fmt.Errorf("%s is not its address, and was not within %v%s", addr, bound, when.describe())
		}
		if calm && !when.overlaps(asked) {
			age = max(age, a.asked.Sub(when.last(a.asked)))
		}
	}
	for addr, p := range served {
		when := p.certain
		if slices.Contains(a.addrs, addr) || a.truncated && len(a.addrs) > 0 {
			continue
		}
		if when.covers(w) {
			return 0, fmt.Errorf("%s is missing, though it was ready for more than %v%s", addr, bound, when.describe())
		}
		for _, r := range when {
			if calm && (spans{r}).covers(asked) {
				age = max(age, a.asked.Sub(r.from))
			}
		}
	}
	return age, nil
}

// forget drops what ended before the retention. It drops nothing during an outage, whose
// answers are judged later.
func (h *history) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.outages); n > 0 && (h.outages[n-1].until.IsZero() || now.Sub(h.outages[n-1].until) < 2*recovery) {
		return
	}
	before := now.Add(-retention)
	h.outages = h.outages.drop(before)
	for name, s := range h.services {
		s.exists.drop(before)
		for label, endpoints := range s.hosts {
			endpoints = slices.DeleteFunc(endpoints, func(e *endpoint) bool {
				e.ready.drop(before)
				return len(e.ready.possible) == 0
			})
			if s.hosts[label] = endpoints; len(endpoints) == 0 {
				delete(s.hosts, label)
			}
		}
		if len(s.exists.possible) == 0 && len(s.hosts) == 0 {
			delete(h.services, name)
		}
	}
}
