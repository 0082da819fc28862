package informer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

func publish(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }

func memberSelecting(name string, s object.Selector) *joinedService {
	return &joinedService{Service: &object.Service{Key: object.Key{Name: name}, Selector: s}}
}

// selects reports whether a selector selects a pod.
func selects(s object.Selector, p *object.Pod) bool {
	var n selectors
	n.add(memberSelecting("", s))
	var labels []object.Label
	for l := range p.Labels {
		labels = append(labels, l)
	}
	found := false
	n.root.match(labels, func(*joinedService) { found = true })
	return found
}

func TestSelectorMatches(t *testing.T) {
	pod := object.NewPod(fixture.Web(0, func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "nginx", "tier": "web", "zone": "a"}
	}))
	for _, test := range []struct {
		selector map[string]string
		want     bool
	}{
		{nil, false}, // such a service selects no pods
		{map[string]string{"app": "nginx"}, true},
		{map[string]string{"zone": "a", "app": "nginx"}, true},
		{map[string]string{"app": "nginx", "tier": "web", "zone": "a"}, true},
		{map[string]string{"app": "nginx", "tier": "web", "zone": "a", "zz": ""}, false},
		{map[string]string{"app": "nginx", "tier": "db"}, false},
		{map[string]string{"app": "nginx", "env": "prod"}, false},
		{map[string]string{"zz": "a"}, false},
		{map[string]string{"aa": "a"}, false},
	} {
		if got := selects(object.NewSelector(test.selector), pod); got != test.want {
			t.Errorf("selector %v matches: %v, want %v", test.selector, got, test.want)
		}
	}
}

// TestSelectsOwnNames selects pods by labels whose values follow from their names, which
// the template stores as codes.
func TestSelectsOwnNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	for range 3000 {
		name, hostname := pick("web-0", "web-17", "0", "7-007"), pick("web-0", "job-3", "0", "")
		labels := map[string]string{}
		for range rng.IntN(5) {
			labels[pick("app", "pod-index", "pod-name", "", "\x00", string(make([]byte, 200)))] =
				pick(name, hostname, ordinalOf(name), ordinalOf(hostname), "", "\x00", "\x04", string(make([]byte, 300)))
		}
		p := object.NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Name, p.Spec.Hostname, p.Labels = name, hostname, labels }))
		for k, v := range labels {
			if !selects(object.Selector{{Key: k, Value: v}}, p) || selects(object.Selector{{Key: k, Value: v + "x"}}, p) {
				t.Fatalf("%q with %q is not selected by %q=%q, or by another value", name, labels, k, v)
			}
		}
	}
}

// ordinalOf returns what follows the last dash of a name.
func ordinalOf(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// TestSelectorsMatch adds and removes services at random. It compares the services that
// select a pod with Kubernetes' own selectors.
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
		held := make(map[*joinedService]map[string]string)
		for i := range 100 {
			if rng.IntN(3) == 0 {
				for s := range held {
					n.remove(s)
					delete(held, s)
					break
				}
			} else {
				m := random(4)
				s := memberSelecting(fmt.Sprint(i), object.NewSelector(m))
				n.add(s)
				held[s] = m
			}
			pod := random(9)
			want := make(map[*joinedService]bool)
			for s, m := range held {
				if len(m) > 0 && labels.SelectorFromSet(m).Matches(labels.Set(pod)) {
					want[s] = true
				}
			}
			got := make(map[*joinedService]bool)
			n.root.match(object.NewSelector(pod), func(s *joinedService) {
				if got[s] {
					t.Fatalf("%v is found twice", s.Selector)
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
		if !n.empty() || len(n.root.services)+len(n.keys) > 0 {
			t.Fatalf("without services, the selectors are %+v", n)
		}
	}
}

// TestSelectorsLookups limits the lookups for the services of one pod.
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
			what: "a service for each replica, with its label first",
			selector: func(i int) map[string]string {
				return map[string]string{"index": fmt.Sprint(i), "job": "big"}
			},
			pod:     map[string]string{"index": "7", "job": "big", "type": "worker"},
			matches: 1, budget: 4,
		},
		{
			what:     "one selector that the pod matches in part",
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
			what:     "a label of all services, and one of each",
			selector: func(i int) map[string]string { return map[string]string{"a": "1", "b": fmt.Sprint(i)} },
			pod:      map[string]string{"a": "1", "c": "3"},
			matches:  0, budget: 2,
		},
	} {
		var n selectors
		for i := range services {
			n.add(memberSelecting(fmt.Sprint(i), object.NewSelector(test.selector(i))))
		}
		matches := 0
		lookups := n.root.match(object.NewSelector(test.pod), func(*joinedService) { matches++ })
		if matches != test.matches || lookups > test.budget {
			t.Errorf("%s: %d services in %d lookups, want %d in %d", test.what, matches, lookups, test.matches, test.budget)
		}
	}
}

// newReplicas returns an informer with a headless service for each replica of a job, and
// functions that make the service and the pod of a replica.
func newReplicas(n int) (_ *Informer, serviceOf func(replica int, change ...func(*corev1.Service)) object.Object, podOf func(replica int, change ...func(*corev1.Pod)) object.Object) {
	labelsOf := func(replica int) map[string]string {
		return map[string]string{"job": "big", "replica": fmt.Sprint(replica), "type": "worker"}
	}
	serviceOf = func(replica int, change ...func(*corev1.Service)) object.Object {
		return object.NewService(fixture.Nginx(append(change, func(s *corev1.Service) {
			s.Name, s.Spec.Selector = fmt.Sprint("worker-", replica), labelsOf(replica)
		})...))
	}
	podOf = func(replica int, change ...func(*corev1.Pod)) object.Object {
		return object.NewPod(fixture.Web(0, append(change, func(p *corev1.Pod) {
			p.Name, p.Labels = fmt.Sprint("worker-", replica), labelsOf(replica)
			p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.%d.%d", replica>>8, replica&255)}}
		})...))
	}
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	var pods, services []object.Object
	for replica := range n {
		pods, services = append(pods, podOf(replica)), append(services, serviceOf(replica))
	}
	i.apply([]event{
		{Origin: object.Origin{Kind: object.Services}, list: true, objects: services},
		{Origin: object.Origin{Kind: object.Pods}, list: true, objects: pods},
	})
	return i, serviceOf, podOf
}

// TestJoinLookups limits the lookups for many services and many pods, and for their
// changes: a few for each pod, whatever the batch.
func TestJoinLookups(t *testing.T) {
	const n = 8000
	// At the root there is one label; below it, the pod has two more; then one.
	const each = 4
	i, serviceOf, podOf := newReplicas(n)
	spent := func(what string, budget int) {
		t.Helper()
		if i.joiner.lookups > budget {
			t.Errorf("%s: %d lookups, at most %d", what, i.joiner.lookups, budget)
		}
		i.joiner.lookups = 0
	}
	spent("the start", n*each)
	i.apply([]event{eventOf(podOf(7, fixture.NotReady))})
	spent("a pod", each)
	i.apply([]event{eventOf(serviceOf(7, publish))})
	spent("a service", n*each)
	var services, pods, both []event
	for replica := range n {
		services = append(services, eventOf(serviceOf(replica)))
		pods = append(pods, eventOf(podOf(replica)))
		both = append(both, eventOf(serviceOf(replica, publish)), eventOf(podOf(replica, fixture.NotReady)))
	}
	i.apply(services)
	spent("all services", n*each)
	i.apply(pods)
	spent("all pods", n*each)
	i.apply(both)
	spent("both in turn", 2*n*each)
	if got, want := i.joiner.trie.Stats().Endpoints[records.Ready], n; got != want {
		t.Errorf("%d endpoints, want %d", got, want)
	}
}

// TestMatchesOfTemplates compares the services that select a pod with Kubernetes' own
// selectors, for pods of few templates with labels that follow from their names. Services
// come and go in between.
func TestMatchesOfTemplates(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	drawLabels := func(name, hostname string) map[string]string {
		m := make(map[string]string)
		for _, k := range []string{"a", "b", "c"} {
			if v := []string{"", "x", name, hostname, ordinalOf(name), ordinalOf(hostname)}[rng.IntN(6)]; rng.IntN(2) == 0 {
				m[k] = v
			}
		}
		return m
	}
	drawNames := func() (name, hostname string) {
		return fmt.Sprint("web-", rng.IntN(3)), []string{"", "same-0", fmt.Sprint("host-", rng.IntN(3))}[rng.IntN(3)]
	}
	recalled := 0
	for range 200 {
		j := newJoiner(records.New(), false, false)
		n := new(selectors)
		held := make(map[*joinedService]map[string]string)
		for range 100 {
			switch rng.IntN(30) {
			case 0:
				for s := range held {
					n.remove(s)
					delete(held, s)
					break
				}
			case 1:
				s := drawLabels(drawNames())
				m := memberSelecting("", object.NewSelector(s))
				n.add(m)
				held[m] = s
			case 2:
				most := len(n.matched)
				if j.clearCaches(); most > 8 && n.matched != nil {
					t.Fatalf("the cache keeps the memory of %d templates", most)
				}
			}
			name, hostname := drawNames()
			podLabels := drawLabels(name, hostname)
			p := object.NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Name, p.Spec.Hostname, p.Labels = name, hostname, podLabels }))
			if _, ok := n.matched[p.Template]; ok {
				recalled++
			}
			want := make(map[*joinedService]bool)
			for m, s := range held {
				if len(s) > 0 && labels.SelectorFromSet(s).Matches(labels.Set(podLabels)) {
					want[m] = true
				}
			}
			got := make(map[*joinedService]bool)
			j.match(n, p, func(s *joinedService) { got[s] = true })
			if !maps.Equal(got, want) {
				t.Fatalf("%q with hostname %q and labels %q is selected by %d services, want %d", name, hostname, podLabels, len(got), len(want))
			}
		}
	}
	if recalled < 1000 {
		t.Errorf("%d matches were cached", recalled)
	}
}

// TestTemplateLookups limits the lookups for pods of one template where many services
// select by some of their labels and one more: those of one pod, whatever the number.
func TestTemplateLookups(t *testing.T) {
	const services, common = 1000, 10
	podOf := func(n int, change ...func(*corev1.Pod)) object.Object {
		return object.NewPod(fixture.Web(0, append([]func(*corev1.Pod){func(p *corev1.Pod) {
			fixture.NameWeb(p, 0, n, n)
			for k := range common {
				p.Labels[fmt.Sprint("l", k)] = ""
			}
		}}, change...)...))
	}
	serviceOf := func(n int, change ...func(*corev1.Service)) object.Object {
		return object.NewService(fixture.Nginx(append(change, func(s *corev1.Service) {
			s.Name, s.Spec.Selector = fmt.Sprint("s-", n), map[string]string{"none": ""}
			for k := range common {
				if n>>k&1 != 0 {
					s.Spec.Selector[fmt.Sprint("l", k)] = ""
				}
			}
		})...))
	}
	relabelled := func(p *corev1.Pod) { p.Labels["app"] = "other" }
	steps := []string{"the start", "a service", "all services", "all pods", "other labels"}
	lookups := func(pods int) (out []int) {
		i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), missing: map[object.Origin]bool{{Kind: object.Pods}: true},
			synced: make(chan struct{}), complete: make(chan struct{})}
		apply := func(n int, object func(n int) object.Object) {
			var batch []event
			for n := range n {
				batch = append(batch, eventOf(object(n)))
			}
			i.apply(batch)
		}
		spent := func() {
			if len(i.joiner.matchCaches) > 0 || len(i.joiner.namespaces["default"].selectors.matched) > 0 {
				t.Fatal("matches are cached after a batch")
			}
			out = append(out, i.joiner.lookups)
			i.joiner.lookups = 0
		}
		apply(services, func(n int) object.Object { return serviceOf(n) })
		apply(pods, func(n int) object.Object { return podOf(n) })
		i.apply([]event{{Origin: object.Origin{Kind: object.Pods}, list: true, objects: i.joiner.objects()[services:]}})
		spent()
		apply(1, func(n int) object.Object { return serviceOf(n, publish) })
		spent()
		apply(services, func(n int) object.Object {
			return serviceOf(n, publish, func(s *corev1.Service) { s.Spec.Ports = nil })
		})
		spent()
		apply(pods, func(n int) object.Object { return podOf(n, fixture.NotReady) })
		spent()
		apply(pods, func(n int) object.Object { return podOf(n, fixture.NotReady, relabelled) })
		spent()
		return out
	}
	one, many := lookups(1), lookups(500)
	for i, what := range steps {
		if one[i] == 0 || many[i] > one[i] {
			t.Errorf("%s: %d lookups, want %d as with one pod", what, many[i], one[i])
		}
	}
}
