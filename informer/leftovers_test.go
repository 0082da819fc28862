package informer

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
	"github.com/headless-dns/headless/informer/internal/snapshot"
	"github.com/headless-dns/headless/records"
)

// controlledSlice returns a slice of nginx that the EndpointSlice controller manages.
func controlledSlice(addresses ...string) *discoveryv1.EndpointSlice {
	s := fixture.Slice("nginx-abcde")
	s.Labels[discoveryv1.LabelManagedBy] = object.SliceController
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

func unselecting(s *corev1.Service) { s.Spec.Selector = nil }

func (f *faulty) watchesOfSlices() int {
	_, watches := f.api.Requests("endpointslices")
	return watches
}

// TestSelectorLost removes the selector of a service. The EndpointSlice controller leaves
// its slices behind, and the informer serves them from then on, whatever the pods do. No
// answer in between lacks them.
func TestSelectorLost(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, 10, "10.244.0.2")
	f.api.Put(controlledSlice("10.244.0.1", "10.244.0.2"))
	f.start(t)
	if n := f.watchesOfSlices(); n != 1 {
		t.Errorf("%d watches of slices while each service has a selector", n)
	}
	lose := func() {
		f.api.Put(fixture.Nginx(unselecting))
		f.await(t, "web-0."+nginxName, dns.TypeA, "missing") // the slice has no hostnames
		f.await(t, nginxName, dns.TypeA, twoPods)
	}
	lose()
	// Another service without a selector keeps the watch alive, with both names.
	const byHand = "by-hand.default.svc.cluster.local."
	f.api.Put(fixture.Nginx(func(s *corev1.Service) { s.Name = "by-hand" }, unselecting))
	f.await(t, byHand, dns.TypeA, "missing")
	f.awaitThat(t, "both are watched", func() bool { return f.watchesOfSlices() == 3 })

	f.api.Put(fixture.Web(2))
	f.api.Apply(gone(fixture.Web(0)))
	f.api.Put(controlledSlice("10.244.0.1", "10.244.0.2", "10.244.0.9"))
	f.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.9")

	// With the selector, the pods count again.
	f.api.Put(fixture.Web(0))
	f.api.Put(fixture.Nginx())
	f.await(t, nginxName, dns.TypeA, threePods)
	f.api.Apply(gone(fixture.Web(2)))
	f.await(t, nginxName, dns.TypeA, twoPods)

	// It loses the selector again. Its slices are already watched.
	f.api.Put(controlledSlice("10.244.0.1", "10.244.0.2"))
	lose()
	if n := f.watchesOfSlices(); n != 3 {
		t.Errorf("%d watches of slices, want 3", n)
	}
	f.api.Apply(gone(fixture.Nginx(func(s *corev1.Service) { s.Name = "by-hand" })))
	f.await(t, byHand, dns.TypeA, "outside")
}

// TestSelectorLostStart starts with a service without a selector that has leftover slices.
// The informer is not synced before they are listed.
func TestSelectorLostStart(t *testing.T) {
	for name, c := range map[string]Config{"all": {}, "namespaces": {Namespaces: []string{"default", "prod"}}} {
		for server, o := range servers {
			t.Run(name+", "+server, func(t *testing.T) {
				p := watchServer(t, c, o, fixture.Nginx(unselecting), fixture.Web(0), controlledSlice("10.244.0.9"))
				if got := answer(p.trie, nginxName, dns.TypeA); got != "10.244.0.9" {
					t.Errorf("the service has %q", got)
				}
				p.api.Apply(gone(controlledSlice()))
				p.await(t, nginxName, dns.TypeA, "missing")
			})
		}
	}
}

// TestLeftoverPauses creates services without a selector one by one. The pauses between
// the lists for them grow. A service after a quiet time is served at once, as is one that
// a watch covers.
func TestLeftoverPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeftovers(&cluster{selected: &selection.Selection{Pods: true}, clock: clock.RealClock{}}, newJoiner(records.New(), false, false))
		start := time.Now()
		var mu sync.Mutex // guards both
		var began []time.Duration
		l.watch = func(_ context.Context, o object.Origin, services map[object.Key]struct{}, _ *queue) *leftoverWatch {
			mu.Lock()
			began = append(began, time.Since(start).Round(time.Second))
			mu.Unlock()
			w := &leftoverWatch{&store{Origin: o, services: services}, func() {}}
			w.listed.Store(true)
			return w
		}
		q := newQueue(func(object.Kind, string) {})
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx, q)
		defer cancel()
		create := func(name string) {
			l.joiner.mu.Lock()
			l.joiner.selectorless[object.Key{Namespace: "default", Name: name}] = struct{}{}
			l.joiner.mu.Unlock()
			l.joiner.selectorlessChanged = true
			l.check(nil)
			synctest.Wait()
		}
		check := func(what string, want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for i := range want {
				want[i] *= time.Second
			}
			if !slices.Equal(began, want) {
				t.Errorf("%s: lists start after %v, want %v", what, began, want)
			}
			start, began = time.Now(), nil
		}
		quiet := func() {
			<-time.After(leftoverQuiet + time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			start = time.Now()
		}
		create("first")
		check("one service", 0)
		quiet()
		for n := range 300 {
			create(fmt.Sprint("s", n))
			<-time.After(time.Second)
		}
		check("one service a second", 0, 1, 3, 7, 15, 31, 63, 123, 183, 243)
		// The last services are covered after the pause, even if no other follows.
		<-time.After(time.Minute)
		check("nothing new", 3)
		if w := len(q.drain(nil)); w == 0 {
			t.Error("no service that is covered was served")
		}
		create("one more")
		<-time.After(leftoverPause)
		synctest.Wait()
		events := q.drain(nil)
		if len(events) == 0 || len(events[0].covered) != 301 {
			t.Errorf("in a pause, %d events have covered services, want 301 services", len(events))
		}
		<-time.After(time.Minute)
		check("one more", 3)
		quiet()
		create("after a quiet time")
		check("after a quiet time", 0)
		<-time.After(leftoverPause)
		create("and another")
		check("and another", 1) // the next is in two seconds
		l.joiner.mu.Lock()
		clear(l.joiner.selectorless)
		l.joiner.mu.Unlock()
		l.joiner.selectorlessChanged = true
		l.check(nil)
		<-time.After(leftoverPause)
		synctest.Wait()
		if events := q.drain(nil); !events[len(events)-1].list {
			t.Error("without services, there is no empty list in a pause")
		}
	})
}

// TestLeftoverStore sends the store slices that it must not take: of services with the
// same name in other namespaces, of other services, and of another controller.
func TestLeftoverStore(t *testing.T) {
	q := newQueue(func(object.Kind, string) {})
	s := &store{Origin: object.Origin{Kind: object.LeftoverSlices}, queue: q, services: map[object.Key]struct{}{{Namespace: "default", Name: "nginx"}: {}}}
	elsewhere := controlledSlice("10.244.0.1")
	elsewhere.Namespace = "prod"
	moved := controlledSlice("10.244.0.1")
	moved.Labels[discoveryv1.LabelServiceName] = "other"
	foreign := fixture.Slice("nginx-foreign")
	if err := s.Replace(decodedAll(t, controlledSlice("10.244.0.1"), elsewhere, moved, foreign), "1"); err != nil {
		t.Fatal(err)
	}
	for _, o := range decodedAll(t, controlledSlice("10.244.0.2"), moved) {
		if err := s.Update(o); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range q.drain(nil) {
		switch {
		case e.list:
			got = append(got, fmt.Sprint("list of ", len(e.objects)))
		case e.object != nil:
			got = append(got, "object")
		default:
			got = append(got, "gone "+e.key.Name)
		}
	}
	if want := "list of 1, object, gone nginx-abcde"; strings.Join(got, ", ") != want {
		t.Errorf("the events are %q, want %q", got, want)
	}
}

// TestLeftoverSnapshot restores a leftover slice.
func TestLeftoverSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	held := []object.Object{object.NewService(fixture.Nginx(unselecting)), object.NewEndpointSlice(controlledSlice("10.244.0.9"))}
	if _, err := snapshot.Write(path, time.Now(), "", held); err != nil {
		t.Fatal(err)
	}
	s, err := snapshot.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := s.Objects()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProbe(Config{Cluster: Cluster{Endpoint: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	p.apply([]event{{snapshot: &objects}})
	if got := answer(p.trie, nginxName, dns.TypeA); got != "10.244.0.9" {
		t.Errorf("the service has %q", got)
	}
	// The first list without it removes it.
	p.apply([]event{{Origin: object.Origin{Kind: object.LeftoverSlices}, list: true}})
	if got := answer(p.trie, nginxName, dns.TypeA); got != "missing" {
		t.Errorf("after a list, the service has %q", got)
	}
}
