package informer

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	// initialLimit is how long the initial events of a watch may take.
	initialLimit = 10 * time.Minute
	// settleTime is how long a watch must stay open to count as healthy. Otherwise a watch
	// that is accepted and then cut would be logged as healthy at each retry.
	settleTime = 10 * time.Second
	// shortWatch: the end of a shorter watch without events is a fault.
	shortWatch = time.Second
)

// watched is a watch between an API server and a reflector. It passes on the events, and
// reports faults and recovery to the health.
type watched struct {
	*health
	ctx        context.Context // until the reflector stops the watch
	cancel     context.CancelFunc
	source     watch.Interface
	initial    bool // the initial events are not complete
	anyVersion bool // it began at any version
	heard      bool // it delivered anything

	events chan watch.Event
	ended  chan struct{}
}

// ResultChan implements watch.Interface.
func (w *watched) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *watched) Stop() {
	w.cancel()
	<-w.ended
}

func (w *watched) run() {
	defer close(w.ended)
	defer close(w.events)
	defer w.cancel()
	defer w.source.Stop()
	start := w.clock.Now()
	quiet := w.clock.NewTimer(silenceLimit)
	defer quiet.Stop()
	limit := w.clock.NewTimer(initialLimit) // then until settleTime
	defer limit.Stop()
	if !w.initial {
		limit.Reset(settleTime)
	}
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-quiet.C():
			w.timedOut()
			return
		case <-limit.C():
			if w.initial {
				w.abort(fmt.Errorf("watch: the initial events are not complete within %v", initialLimit))
				return
			}
			if w.heard || !w.silent {
				w.works()
			}
		case e, ok := <-w.source.ResultChan():
			switch {
			case w.ctx.Err() != nil: // the event may be the error of the cancellation
				return
			case !ok:
				w.closed(w.clock.Since(start))
				return
			case e.Type == watch.Error:
				w.error(e)
				return
			}
			began := w.initial
			if !w.pass(e) {
				return
			}
			quiet.Reset(silenceLimit)
			if began && !w.initial {
				limit.Reset(settleTime)
			}
		}
	}
}

// pass passes on an event. It reports whether the watch continues.
func (w *watched) pass(e watch.Event) bool {
	d, ok := e.Object.(*object.Decoded)
	if !ok {
		w.abort(fmt.Errorf("watch: %T is not a watched kind", e.Object))
		return false
	}
	w.heard = true
	w.current = w.clock.Now()
	switch {
	case w.initial:
		w.initial = e.Type != watch.Bookmark || !d.InitialEvents
		w.silent = w.silent && w.initial
	case w.silent:
		w.works()
	}
	if e.Type == watch.Bookmark && !w.initial && !d.InitialEvents {
		w.bookmarks = true
	}
	return w.send(e)
}

// closed handles the end of the watch by the API server.
func (w *watched) closed(after time.Duration) {
	switch {
	case w.initial:
		w.abort(errors.New("watch: ended before the initial events were complete"))
	case !w.heard && after < shortWatch:
		w.fails(errors.New("watch: ended immediately"))
	}
	// Any other end is normal: a timeout, or a cut connection.
}

// timedOut handles a silent watch. Silence is a fault if events or bookmarks were due.
func (w *watched) timedOut() {
	switch {
	case w.initial:
		w.abort(fmt.Errorf("watch: no event for %v, and the initial events are not complete", silenceLimit))
	case w.bookmarks:
		w.silent = true
		w.fails(fmt.Errorf("watch: neither an event nor a bookmark for %v", silenceLimit))
	}
}

// error passes on an error of the API server.
func (w *watched) error(e watch.Event) {
	err := apierrors.FromObject(e.Object)
	switch {
	case versionRefused(err) && w.initial && w.anyVersion:
		w.abort(anyVersionRefused(err))
		return
	case !versionRefused(err):
		w.fails(err)
	}
	w.send(e)
}

// abort ends the watch with an error of the informer, so that the reflector lists. After
// an end without an error it would retry the same watch at once.
func (w *watched) abort(err error) {
	w.fails(err)
	w.send(watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(err).ErrStatus})
}

func (w *watched) send(e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.ctx.Done():
		return false
	}
}
