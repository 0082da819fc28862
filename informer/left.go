package informer

import (
	"context"
	"time"
)

// leftPause is the least time between two lists of the slices of leftovers.
const leftPause = time.Second

// leftovers watches the slices of the EndpointSlice controller that no pod tells of.
// The controller leaves the slices of a service that loses its selector as they are, and
// kube-proxy goes on using them. So where pods are watched, leftovers watches those of
// the services without a selector: nothing while there is no such service.
type leftovers struct {
	cluster *cluster
	join    *join
	began   bool          // the services are listed; the writer's
	changed chan struct{} // holds a token when services have changed
}

func newLeftovers(c *cluster, j *join) *leftovers {
	return &leftovers{cluster: c, join: j, changed: make(chan struct{}, 1)}
}

// check looks at what the writer has changed.
func (l *leftovers) check(missing map[origin]bool) {
	if !l.began {
		for o := range missing {
			if o.kind == Services {
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

// run watches until ctx is done. It sends at least one list for each origin.
func (l *leftovers) run(ctx context.Context, q *queue) {
	running := make(map[origin]*leftWatch)
	defer func() {
		for _, w := range running {
			w.stop()
		}
	}()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		}
		for _, o := range l.cluster.selected.leftOrigins() {
			wanted, w := l.join.handmadeIn(o.namespace), running[o]
			if w != nil {
				if len(wanted) > 0 && w.covers(wanted) {
					if w.listed.Load() { // else the list will tell
						q.push(event{origin: o, left: wanted})
					}
					continue
				}
				w.stop()
				delete(running, o)
			}
			switch {
			case len(wanted) > 0:
				running[o] = l.watch(ctx, o, wanted, q)
			case w != nil || first:
				q.push(event{origin: o, list: true})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-mortal{l.cluster.clock, ctx}.After(leftPause):
		}
	}
}

func (w *leftWatch) covers(services map[key]struct{}) bool {
	for k := range services {
		if _, ok := w.services[k]; !ok {
			return false
		}
	}
	return true
}

func (l *leftovers) watch(ctx context.Context, o origin, services map[key]struct{}, q *queue) *leftWatch {
	ctx, cancel := context.WithCancel(ctx)
	h := newHealth(o, l.cluster)
	s := &store{origin: o, queue: q, services: services}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.cluster.reflector(ctx, h, s).RunWithContext(ctx)
	}()
	return &leftWatch{s, func() {
		cancel()
		<-ended
		h.forget()
	}}
}

// handmadeIn returns the headless services without a selector of a namespace, or of all
// where that is empty. It may be called by anyone.
func (j *join) handmadeIn(namespace string) map[key]struct{} {
	j.mu.RLock()
	defer j.mu.RUnlock()
	out := make(map[key]struct{})
	for k := range j.handmade {
		if namespace == "" || namespace == k.namespace {
			out[k] = struct{}{}
		}
	}
	return out
}
