package informer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// TestBatchOfOnePod checks that a batch with many events of one pod, which many services
// select, costs as much as its last event.
func TestBatchOfOnePod(t *testing.T) {
	const n = 1000
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.broken.hook = func(object.Kind, int) {}
	var services []event
	for s := range n {
		services = append(services, eventOf(object.NewService(fixture.Nginx(func(o *corev1.Service) { o.Name = fmt.Sprint("s-", s) }))))
	}
	i.apply(services)
	ready, unready := object.NewPod(fixture.Web(0)), object.NewPod(fixture.Web(0, fixture.NotReady))
	gone := event{Origin: object.Origin{Kind: object.Pods}, key: ready.ID()}
	for _, test := range []struct {
		what  string
		batch []event
		want  records.Reason
	}{
		{"it comes", []event{gone, eventOf(unready), eventOf(ready)}, records.Ready},
		{"it changes", slices.Repeat([]event{eventOf(ready), gone, eventOf(unready)}, 30), records.NotReady},
		{"it changes back, and is broken then", append(slices.Repeat([]event{eventOf(unready), eventOf(ready)}, 30),
			event{Origin: object.Origin{Kind: object.Pods}, object: &object.Broken{Key: ready.ID(), Err: errors.New("cut short")}}), records.Ready},
	} {
		i.joiner.lookups = 0
		i.apply(test.batch)
		if i.joiner.lookups != 1 {
			t.Errorf("%s: got %d lookups, want those of one event", test.what, i.joiner.lookups)
		}
		if got := i.joiner.trie.Stats().Endpoints[test.want]; got != n {
			t.Errorf("%s: %d endpoints are %v, want %d", test.what, got, test.want, n)
		}
	}
	if !i.broken.has(object.Pods) {
		t.Error("a pod that is broken at the end does not count as broken")
	}
	i.apply([]event{gone, eventOf(ready), gone})
	if i.broken.has(object.Pods) || i.joiner.trie.Stats().Endpoints[records.Ready] != 0 {
		t.Errorf("after the deletion of the pod the trie has %v", i.joiner.trie.Stats())
	}
}

// TestBatchDelay makes a pod ready and changes it again before the writer handles that.
// The delay counts from the first event.
func TestBatchDelay(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.apply([]event{eventOf(object.NewService(fixture.Nginx()))})
	var delays []time.Duration
	i.hooks.Published = func(_ int, _ records.Stats, d []time.Duration) { delays = slices.Clone(d) }
	batch := []event{eventOf(object.NewPod(fixture.Web(0))), eventOf(object.NewPod(fixture.Web(0, fixture.NotReady))), eventOf(object.NewPod(fixture.Web(0)))}
	now := time.Now()
	for n, ago := range []time.Duration{time.Hour, time.Minute, time.Second} {
		batch[n].received = now.Add(-ago)
	}
	i.apply(batch)
	if len(delays) != 1 || delays[0].Truncate(time.Minute) != time.Hour {
		t.Errorf("the delays are %v, want one of an hour", delays)
	}
}

// TestBatchOfOneService deletes a service and creates it again without a selector in one
// batch. It has not lost a selector: the pods of the old one do not belong to it.
func TestBatchOfOneService(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.joiner.awaitsLeftovers = true
	i.apply([]event{eventOf(object.NewService(fixture.Nginx())), eventOf(object.NewPod(fixture.Web(0)))})
	if got := answer(i.joiner.trie, nginxName, dns.TypeA); got != "10.244.0.1" {
		t.Fatalf("the service has %q", got)
	}
	i.apply([]event{{Origin: object.Origin{Kind: object.Services}, key: object.NewService(fixture.Nginx()).Key}, eventOf(object.NewService(fixture.Nginx(unselecting)))})
	if got := answer(i.joiner.trie, nginxName, dns.TypeA); got != "missing" || len(i.joiner.losing) > 0 {
		t.Errorf("the service has %q, and %d wait for their slices", got, len(i.joiner.losing))
	}
}

// TestWriterInterval pushes events to a writer one by one. It publishes a lone one at once,
// and those of a burst together, a publishInterval after the batch before.
func TestWriterInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{}), queue: newQueue(func(object.Kind, string) {})}
		i.apply([]event{eventOf(object.NewService(fixture.Nginx()))})
		type publication struct {
			at     time.Duration
			events int
		}
		var got []publication
		start := time.Now()
		i.hooks.Published = func(_ int, _ records.Stats, delays []time.Duration) {
			got = append(got, publication{time.Since(start), len(delays)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			i.write(ctx)
		}()
		push := func(pods ...int) {
			for _, k := range pods {
				i.queue.push(eventOf(object.NewPod(fixture.Web(k))))
				synctest.Wait() // the writer has taken the event, or waits to take it
			}
		}
		push(0)
		push(1, 2, 3, 4)
		time.Sleep(publishInterval)
		synctest.Wait()
		push(5)
		time.Sleep(5*publishInterval + publishInterval/2)
		push(6)
		push(7)
		want := []publication{{0, 1}, {publishInterval, 4}, {2 * publishInterval, 1}, {6*publishInterval + publishInterval/2, 1}}
		if !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
		cancel() // while an event waits
		<-ended
		if !slices.Equal(got, want) {
			t.Errorf("published %v after the end", got[len(want):])
		}
	})
}
