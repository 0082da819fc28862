package informer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	// leftoverPause is the least time between two checks of the services.
	leftoverPause = time.Second
	// leftoverQuiet: if no watch starts for so long, leftoverBackoff is reset.
	leftoverQuiet = 2 * time.Minute
)

// leftoverBackoff are the pauses between two lists of leftover slices.
var leftoverBackoff = wait.Backoff{Duration: leftoverPause, Factor: 2, Cap: time.Minute, Steps: 10}

// leftovers watches the slices that the EndpointSlice controller left behind: when a
// service loses its selector, the controller neither updates nor deletes its slices, and
// kube-proxy keeps using them. Where pods are watched, the controller's other slices are
// not, as they are made from the pods. So leftovers watches the slices of the headless
// services without a selector, and nothing while there is no such service.
type leftovers struct {
	cluster *cluster
	joiner  *joiner
	began   bool          // the services are listed; only the writer uses it
	changed chan struct{} // holds a token when the services changed
	watch   func(ctx context.Context, o object.Origin, services map[object.Key]struct{}, q *queue) *leftoverWatch
}

func newLeftovers(c *cluster, j *joiner) *leftovers {
	return &leftovers{cluster: c, joiner: j, changed: make(chan struct{}, 1), watch: c.watchLeftovers}
}

// check wakes run if the writer changed services without a selector.
func (l *leftovers) check(missing map[object.Origin]bool) {
	if !l.began {
		for o := range missing {
			if o.Kind == object.Services {
				return
			}
		}
		l.began = true
	} else if !l.joiner.selectorlessChanged {
		return
	}
	l.joiner.selectorlessChanged = false
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// leftoverWatch is a watch of the slices of some services.
type leftoverWatch struct {
	*store
	stop func()
}

// run watches until ctx is done. It sends at least one list for each origin. A service that
// no watch covers causes a new list, so the pauses between lists grow while services are
// created one by one. A service that a watch covers does not wait.
func (l *leftovers) run(ctx context.Context, q *queue) {
	running := make(map[object.Origin]*leftoverWatch)
	defer func() {
		for _, w := range running {
			w.stop()
		}
	}()
	clock := contextClock{l.cluster.clock, ctx}
	backoff := leftoverBackoff
	var last, next time.Time   // when a watch last started, and when one may start next
	var retry <-chan time.Time // nil if no origin waits
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		case <-retry:
			retry = nil
		}
		now, began := clock.Now(), false
		for _, o := range l.cluster.selected.LeftoverOrigins() {
			wanted, w := l.joiner.selectorlessIn(o.Namespace), running[o]
			if w != nil && len(wanted) > 0 {
				covered := w.covered(wanted)
				if len(covered) > 0 && w.listed.Load() { // else its list is still to come
					q.push(event{Origin: o, covered: covered})
				}
				if len(covered) == len(wanted) {
					continue
				}
			}
			if len(wanted) > 0 && now.Before(next) {
				if retry == nil {
					retry = clock.After(next.Sub(now))
				}
				continue
			}
			if w != nil {
				w.stop()
				delete(running, o)
			}
			switch {
			case len(wanted) > 0:
				running[o] = l.watch(ctx, o, wanted, q)
				began = true
			case w != nil || first:
				q.push(event{Origin: o, list: true})
			}
		}
		if began {
			if now.Sub(last) > leftoverQuiet {
				backoff = leftoverBackoff
			}
			last, next = now, now.Add(backoff.Step())
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.After(leftoverPause):
		}
	}
}

// covered returns the given services that the watch covers.
func (w *leftoverWatch) covered(services map[object.Key]struct{}) map[object.Key]struct{} {
	out := make(map[object.Key]struct{})
	for k := range services {
		if _, ok := w.services[k]; ok {
			out[k] = struct{}{}
		}
	}
	return out
}

// watchLeftovers starts a watch of the slices of some services.
func (c *cluster) watchLeftovers(ctx context.Context, o object.Origin, services map[object.Key]struct{}, q *queue) *leftoverWatch {
	ctx, cancel := context.WithCancel(ctx)
	h := newHealth(o, c)
	s := &store{Origin: o, queue: q, services: services}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.reflector(ctx, h, s).RunWithContext(ctx)
	}()
	return &leftoverWatch{s, func() {
		cancel()
		<-ended
		h.unregister()
	}}
}
