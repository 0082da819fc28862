package informer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	// leftPause is the least time between two looks at the services.
	leftPause = time.Second
	// leftQuiet is how long no watch may begin for leftPauses to start anew.
	leftQuiet = 2 * time.Minute
)

// leftPauses are those between two lists of the slices of leftovers.
var leftPauses = wait.Backoff{Duration: leftPause, Factor: 2, Cap: time.Minute, Steps: 10}

// leftovers watches the slices of the EndpointSlice controller that no pod tells of.
// The controller leaves the slices of a service that loses its selector as they are, and
// kube-proxy goes on using them. So where pods are watched, leftovers watches those of
// the services without a selector: nothing while there is no such service.
type leftovers struct {
	cluster *cluster
	join    *join
	began   bool          // the services are listed; the writer's
	changed chan struct{} // holds a token when services have changed
	watch   func(ctx context.Context, o object.Origin, services map[object.Key]struct{}, q *queue) *leftWatch
}

func newLeftovers(c *cluster, j *join) *leftovers {
	return &leftovers{cluster: c, join: j, changed: make(chan struct{}, 1), watch: c.watchLeft}
}

// check looks at what the writer has changed.
func (l *leftovers) check(missing map[object.Origin]bool) {
	if !l.began {
		for o := range missing {
			if o.Kind == object.Services {
				return
			}
		}
		l.began = true
	} else if !l.join.handmadeChanged {
		return
	}
	l.join.handmadeChanged = false
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// leftWatch is the watch of the slices of some services.
type leftWatch struct {
	*store
	stop func()
}

// run watches until ctx is done. It sends at least one list for each origin. Whoever
// creates services one by one makes a list of each, so the pause between those grows while
// they go on; a service that a watch covers does not wait for it.
func (l *leftovers) run(ctx context.Context, q *queue) {
	running := make(map[object.Origin]*leftWatch)
	defer func() {
		for _, w := range running {
			w.stop()
		}
	}()
	clock := mortal{l.cluster.clock, ctx}
	backoff := leftPauses
	var last, next time.Time   // a watch began, and may begin
	var retry <-chan time.Time // nil if no origin waits for that
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
			wanted, w := l.join.handmadeIn(o.Namespace), running[o]
			if w != nil && len(wanted) > 0 {
				covered := w.covered(wanted)
				if len(covered) > 0 && w.listed.Load() { // else the list will tell
					q.push(event{Origin: o, left: covered})
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
			if now.Sub(last) > leftQuiet {
				backoff = leftPauses
			}
			last, next = now, now.Add(backoff.Step())
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.After(leftPause):
		}
	}
}

// covered returns those of some services that the watch is for.
func (w *leftWatch) covered(services map[object.Key]struct{}) map[object.Key]struct{} {
	out := make(map[object.Key]struct{})
	for k := range services {
		if _, ok := w.services[k]; ok {
			out[k] = struct{}{}
		}
	}
	return out
}

// watchLeft begins to watch the slices of some services.
func (c *cluster) watchLeft(ctx context.Context, o object.Origin, services map[object.Key]struct{}, q *queue) *leftWatch {
	ctx, cancel := context.WithCancel(ctx)
	h := newHealth(o, c)
	s := &store{Origin: o, queue: q, services: services}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.reflector(ctx, h, s).RunWithContext(ctx)
	}()
	return &leftWatch{s, func() {
		cancel()
		<-ended
		h.forget()
	}}
}
