package informer

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/headless-dns/headless/records"
)

func publish(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }

func selecting(name string, s selector) *member {
	return &member{service: &service{key: key{name: name}, selector: s}}
}

// selects reports whether a selector selects a pod.
func selects(s selector, p *pod) bool {
	var n selectors
	n.add(selecting("", s))
	found := false
	n.match(slices.Collect(p.labels), func(*member) { found = true })
	return found
}

func TestSelectorMatches(t *testing.T) {
	pod := newPod(newWeb(0, func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "nginx", "tier": "web", "zone": "a"}
	}))
	for _, test := range []struct {
		selector map[string]string
		want     bool
	}{
		{nil, false}, // its endpoints are made by hand
		{map[string]string{"app": "nginx"}, true},
		{map[string]string{"zone": "a", "app": "nginx"}, true},
		{map[string]string{"app": "nginx", "tier": "web", "zone": "a"}, true},
		{map[string]string{"app": "nginx", "tier": "web", "zone": "a", "zz": ""}, false},
		{map[string]string{"app": "nginx", "tier": "db"}, false},
		{map[string]string{"app": "nginx", "env": "prod"}, false},
		{map[string]string{"zz": "a"}, false},
		{map[string]string{"aa": "a"}, false},
	} {
		if got := selects(newSelector(test.selector), pod); got != test.want {
			t.Errorf("selector %v matches: %v, want %v", test.selector, got, test.want)
		}
	}
}

// TestSelectorsMatch adds and removes services at random, and compares what they select
// with the selectors of Kubernetes.
func TestSelectorsMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(most int) map[string]string {
		m := make(map[string]string)
		for range rng.IntN(most) {
			m[fmt.Sprint("k", rng.IntN(6))] = fmt.Sprint(rng.IntN(2))
		}
		return m
	}
	for range 100 {
		var n selectors
		held := make(map[*member]map[string]string)
		for i := range 100 {
			if rng.IntN(3) == 0 {
				for s := range held {
					n.remove(s)
					delete(held, s)
					break
				}
			} else {
				m := random(4)
				s := selecting(fmt.Sprint(i), newSelector(m))
				n.add(s)
				held[s] = m
			}
			pod := random(9)
			want := make(map[*member]bool)
			for s, m := range held {
				if len(m) > 0 && labels.SelectorFromSet(m).Matches(labels.Set(pod)) {
					want[s] = true
				}
			}
			got := make(map[*member]bool)
			n.match(newSelector(pod), func(s *member) {
				if got[s] {
					t.Fatalf("%v is found twice", s.selector)
				}
				got[s] = true
			})
			if !maps.Equal(got, want) {
				t.Fatalf("labels %v are selected by %d services, want %d", pod, len(got), len(want))
			}
		}
		for s := range held {
			n.remove(s)
		}
		if !n.empty() || len(n.services) > 0 {
			t.Fatalf("without services, the selectors are %+v", n)
		}
	}
}

// TestSelectorsLookups holds what it takes to find the services of one pod.
func TestSelectorsLookups(t *testing.T) {
	const services = 8000
	many := func(n int, prefix string) map[string]string {
		m := make(map[string]string)
		for i := range n {
			m[fmt.Sprintf("%s%05d", prefix, i)] = ""
		}
		return m
	}
	for _, test := range []struct {
		what     string
		selector func(i int) map[string]string
		pod      map[string]string
		matches  int
		budget   int
	}{
		{
			what: "a service for each replica",
			selector: func(i int) map[string]string {
				return map[string]string{"job": "big", "replica": fmt.Sprint(i), "type": "worker"}
			},
			pod:     map[string]string{"job": "big", "replica": "7", "type": "worker"},
			matches: 1, budget: 5,
		},
		{
			what: "a service for each replica, whose label comes first",
			selector: func(i int) map[string]string {
				return map[string]string{"index": fmt.Sprint(i), "job": "big"}
			},
			pod:     map[string]string{"index": "7", "job": "big", "type": "worker"},
			matches: 1, budget: 4,
		},
		{
			what:     "one selector that the pod has in part",
			selector: func(int) map[string]string { return map[string]string{"a": "1", "b": "2"} },
			pod:      map[string]string{"a": "1", "c": "3", "d": "4"},
			budget:   2,
		},
		{
			what:     "one selector",
			selector: func(int) map[string]string { return map[string]string{"a": "1"} },
			pod:      map[string]string{"a": "1", "c": "3", "d": "4"},
			matches:  services, budget: 1,
		},
		{
			what:     "a pod of 10,000 labels",
			selector: func(i int) map[string]string { return map[string]string{fmt.Sprintf("l%05d", i): "", "z": ""} },
			pod:      many(10_000, "l"),
			budget:   2 * services,
		},
		{
			what:     "a label that all services have beside one of their own",
			selector: func(i int) map[string]string { return map[string]string{"a": "1", "b": fmt.Sprint(i)} },
			pod:      map[string]string{"a": "1", "c": "3"},
			matches:  0, budget: 2,
		},
	} {
		var n selectors
		for i := range services {
			n.add(selecting(fmt.Sprint(i), newSelector(test.selector(i))))
		}
		matches := 0
		lookups := n.match(newSelector(test.pod), func(*member) { matches++ })
		if matches != test.matches || lookups > test.budget {
			t.Errorf("%s: %d services in %d lookups, want %d in %d", test.what, matches, lookups, test.matches, test.budget)
		}
	}
}

// newReplicas returns an informer with a headless service for each replica of a job, and
// functions that make the service and the pod of one.
func newReplicas(n int) (_ *Informer, serviceOf func(replica int, change ...func(*corev1.Service)) object, podOf func(replica int, change ...func(*corev1.Pod)) object) {
	labelsOf := func(replica int) map[string]string {
		return map[string]string{"job": "big", "replica": fmt.Sprint(replica), "type": "worker"}
	}
	serviceOf = func(replica int, change ...func(*corev1.Service)) object {
		return newService(newNginx(append(change, func(s *corev1.Service) {
			s.Name, s.Spec.Selector = fmt.Sprint("worker-", replica), labelsOf(replica)
		})...))
	}
	podOf = func(replica int, change ...func(*corev1.Pod)) object {
		return newPod(newWeb(0, append(change, func(p *corev1.Pod) {
			p.Name, p.Labels = fmt.Sprint("worker-", replica), labelsOf(replica)
			p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.%d.%d", replica>>8, replica&255)}}
		})...))
	}
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	var pods, services []object
	for replica := range n {
		pods, services = append(pods, podOf(replica)), append(services, serviceOf(replica))
	}
	i.apply([]event{
		{origin: origin{kind: Services}, list: true, objects: services},
		{origin: origin{kind: Pods}, list: true, objects: pods},
	})
	return i, serviceOf, podOf
}

// TestJoinLookups holds what the join of many services and many pods takes, and what
// their changes take: a few lookups for each pod, whatever comes in one batch.
func TestJoinLookups(t *testing.T) {
	const n = 8000
	// At the root, there is one label; below it, the pod has two left; then one.
	const each = 4
	i, serviceOf, podOf := newReplicas(n)
	spent := func(what string, budget int) {
		t.Helper()
		if i.join.lookups > budget {
			t.Errorf("%s: %d lookups, at most %d", what, i.join.lookups, budget)
		}
		i.join.lookups = 0
	}
	spent("the start", n*each)
	i.apply([]event{eventOf(podOf(7, notReady))})
	spent("a pod", each)
	i.apply([]event{eventOf(serviceOf(7, publish))})
	spent("a service", n*each)
	var services, pods, both []event
	for replica := range n {
		services = append(services, eventOf(serviceOf(replica)))
		pods = append(pods, eventOf(podOf(replica)))
		both = append(both, eventOf(serviceOf(replica, publish)), eventOf(podOf(replica, notReady)))
	}
	i.apply(services)
	spent("all services", n*each)
	i.apply(pods)
	spent("all pods", n*each)
	i.apply(both)
	spent("both in turn", 2*n*each)
	if got, want := i.join.trie.Stats().Endpoints[records.Ready], n; got != want {
		t.Errorf("%d endpoints, want %d", got, want)
	}
}

// TestBatchOfOnePod holds what a batch costs in which a pod that many services select
// comes and goes, as long as the batch is: as much as its last event.
func TestBatchOfOnePod(t *testing.T) {
	const n = 1000
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.damage.hook = func(Kind, int) {}
	var services []event
	for s := range n {
		services = append(services, eventOf(newService(newNginx(func(o *corev1.Service) { o.Name = fmt.Sprint("s-", s) }))))
	}
	i.apply(services)
	ready, unready := newPod(newWeb(0)), newPod(newWeb(0, notReady))
	gone := event{origin: origin{kind: Pods}, key: ready.id()}
	for _, test := range []struct {
		what  string
		batch []event
		want  records.Reason
	}{
		{"it comes", []event{gone, eventOf(unready), eventOf(ready)}, records.Ready},
		{"it changes", slices.Repeat([]event{eventOf(ready), gone, eventOf(unready)}, 30), records.NotReady},
		{"it changes back, and is broken then", append(slices.Repeat([]event{eventOf(unready), eventOf(ready)}, 30),
			event{origin: origin{kind: Pods}, object: &broken{ready.id(), errors.New("cut short")}}), records.Ready},
	} {
		i.join.lookups = 0
		i.apply(test.batch)
		if i.join.lookups != 1 {
			t.Errorf("%s: %d lookups, want that of one event", test.what, i.join.lookups)
		}
		if got := i.join.trie.Stats().Endpoints[test.want]; got != n {
			t.Errorf("%s: %d endpoints are %v, want %d", test.what, got, test.want, n)
		}
	}
	if !i.damage.any(Pods) {
		t.Error("a pod that is broken in the end is not said to be")
	}
	i.apply([]event{gone, eventOf(ready), gone})
	if i.damage.any(Pods) || i.join.trie.Stats().Endpoints[records.Ready] != 0 {
		t.Errorf("after the pod has gone there are %v", i.join.trie.Stats())
	}
}

// TestBatchDelay has a pod that becomes ready, and changes again before the writer comes to
// it: its change was late since it became ready.
func TestBatchDelay(t *testing.T) {
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.apply([]event{eventOf(newService(newNginx()))})
	var delays []time.Duration
	i.hooks.Published = func(_ int, _ records.Stats, d []time.Duration) { delays = slices.Clone(d) }
	batch := []event{eventOf(newPod(newWeb(0))), eventOf(newPod(newWeb(0, notReady))), eventOf(newPod(newWeb(0)))}
	now := time.Now()
	for n, ago := range []time.Duration{time.Hour, time.Minute, time.Second} {
		batch[n].received = now.Add(-ago)
	}
	i.apply(batch)
	if len(delays) != 1 || delays[0].Truncate(time.Minute) != time.Hour {
		t.Errorf("the delays are %v, want one of an hour", delays)
	}
}

// TestBatchOfOneService has a service that is deleted and made anew without a selector in
// one batch. It has lost no selector: the pods of the old one are not its own.
func TestBatchOfOneService(t *testing.T) {
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.join.holds = true
	i.apply([]event{eventOf(newService(newNginx())), eventOf(newPod(newWeb(0)))})
	if got := answer(i.join.trie, nginxName, dns.TypeA); got != "10.244.0.1" {
		t.Fatalf("the service has %q", got)
	}
	i.apply([]event{{origin: origin{kind: Services}, key: newService(newNginx()).key}, eventOf(newService(newNginx(unselecting)))})
	if got := answer(i.join.trie, nginxName, dns.TypeA); got != "missing" || len(i.join.losing) > 0 {
		t.Errorf("the service has %q, and %d wait for their slices", got, len(i.join.losing))
	}
}
