package informer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

const (
	// silence is how long a list may take, and how long a watch may bring nothing.
	// Kube-apiserver ends a list after a minute, and sends bookmarks as often.
	silence = 3 * time.Minute
	// initialLimit is how long the initial events of a watch may take to come.
	initialLimit = 10 * time.Minute
	// settled is how long a watch has to stand before it is said to work again: one
	// that is let in and then cut would otherwise be told of at each try.
	settled = 10 * time.Second
	// short is how long a watch without events lasts if it was not meant to.
	short = time.Second
)

// health is whether an origin can be listed and watched. It stands between a
// reflector, which tries again and again and in places silently, and the API server:
// it ends what would never end, and tells of a fault once, and once more when it is
// over.
type health struct {
	origin
	clock clock.WithTickerAndDelayedExecution
	log   logr.Logger
	hook  func(Kind, bool) // Failing of Hooks

	mu      sync.Mutex
	failing bool
	since   time.Time
	told    map[metav1.StatusReason]bool // reasons that were logged since then
	silent  bool                         // what fails is that nothing comes
	// bookmarks tells that the API server sends bookmarks. Without them, a watch may
	// be silent because nothing happens.
	bookmarks bool
	// suspect tells that the watch was not simply ended and resumed, so that the API
	// server may not be what it was.
	suspect bool
}

func newHealth(o origin, c *cluster) *health {
	return &health{origin: o, clock: c.clock, log: c.log.WithValues("kind", o.kind, "namespace", o.namespace), hook: c.failing}
}

// fails notes a fault. A fault that has begun is logged once for each reason.
func (h *health) fails(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = true
	if !h.failing {
		h.failing, h.since, h.told = true, h.clock.Now(), make(map[metav1.StatusReason]bool)
		h.hook(h.kind, true)
	}
	if reason := apierrors.ReasonForError(err); !h.told[reason] {
		h.told[reason] = true
		h.log.Error(err, "watch fails; what is known goes on to be served")
	}
}

// works notes that the watch is well, and heard something if it did.
func (h *health) works(heard bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.failing || h.silent && !heard {
		return
	}
	h.failing, h.silent = false, false
	h.hook(h.kind, false)
	h.log.Info("watch works again", "after", h.clock.Since(h.since).Round(time.Second))
}

// listed notes that everything was sent. That a watch follows is not said.
func (h *health) listed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent, h.suspect = false, false
}

// heard notes an event or a bookmark.
func (h *health) heard(e watch.EventType) {
	h.mu.Lock()
	if e == watch.Bookmark {
		h.bookmarks = true
	}
	silent := h.silent
	h.mu.Unlock()
	if silent {
		h.works(true)
	}
}

// quiet notes that a watch brought nothing for too long, which is a fault where
// there should have been bookmarks.
func (h *health) quiet() {
	h.mu.Lock()
	h.suspect = true
	fault := h.bookmarks
	h.silent = h.silent || fault
	h.mu.Unlock()
	if fault {
		h.fails(fmt.Errorf("watch: neither an event nor a bookmark for %v", silence))
	}
}

// suspicious tells whether the API server may not be what it was, once.
func (h *health) suspicious() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.suspect
	h.suspect = false
	return s
}

// list lists by a function.
func (h *health) list(outer context.Context, do func(context.Context) rest.Result) (runtime.Object, error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer h.clock.AfterFunc(silence, cancel).Stop()
	list, err := do(ctx).Get()
	switch {
	case outer.Err() != nil: // we ended it
	case err == nil:
		h.listed()
	default:
		if ctx.Err() != nil {
			err = fmt.Errorf("list: not complete within %v", silence)
		}
		// A reflector lists anew at once if the version is the fault.
		if !outdated(err) {
			h.fails(err)
		}
	}
	return list, err
}

// restored fails if the API server is behind the version that a watch is to resume
// at, as it is when etcd was restored from a backup. It would send what happens only
// when it is past that version, and say nothing meanwhile.
func (h *health) restored(ctx context.Context, version string, do func(context.Context) rest.Result) error {
	if !h.suspicious() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer h.clock.AfterFunc(settled, cancel).Stop()
	obj, err := do(ctx).Get()
	list, ok := obj.(*decodedList)
	if err != nil || !ok {
		h.mu.Lock()
		h.suspect = true // the watch that follows tells of the fault
		h.mu.Unlock()
		return nil
	}
	if !before(list.ResourceVersion, version) {
		return nil
	}
	h.log.Info("API server has gone back in time, all is listed anew", "version", list.ResourceVersion, "known", version)
	return apierrors.NewResourceExpired(fmt.Sprintf("watch: version %s is past that of the API server, %s", version, list.ResourceVersion))
}

// watch opens a watch by a function, and sees to it that it ends. Initial tells that
// it begins with everything that there is.
func (h *health) watch(outer context.Context, o *metav1.ListOptions, get func(context.Context) (watch.Interface, error)) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(outer)
	late := h.clock.AfterFunc(silence, cancel)
	source, err := get(ctx)
	if !late.Stop() && err == nil {
		source.Stop()
		err = ctx.Err()
	}
	initial := o.SendInitialEvents != nil && *o.SendInitialEvents
	anyVersion := initial && o.ResourceVersion == ""
	if err == nil {
		w := &watched{
			health: h, outer: outer, source: source, cancel: cancel, initial: initial, anyVersion: anyVersion,
			events: make(chan watch.Event), stopped: make(chan struct{}), ended: make(chan struct{}),
		}
		go w.run()
		return w, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("watch: no answer within %v", silence)
	}
	cancel()
	if anyVersion && outdated(err) {
		err = senseless(err)
	}
	// What knows no initial events is listed.
	if outer.Err() == nil && !outdated(err) && (!initial || !apierrors.IsInvalid(err)) {
		h.fails(err)
	}
	return nil, err
}

// outdated tells whether an API server refuses a version, as it no longer knows it
// or does not yet. Then it is to be asked for any.
func outdated(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// senseless is the error of a server that refuses any version. A reflector that is
// told of the version would try again at once, and for ever.
func senseless(err error) error { return errors.New("watch: any version is refused: " + err.Error()) }

// watched is a watch between an API server and a reflector.
type watched struct {
	*health
	outer      context.Context
	source     watch.Interface
	cancel     context.CancelFunc
	initial    bool // the initial events are not yet complete
	anyVersion bool // they are asked for at any version

	events  chan watch.Event
	stop    sync.Once
	stopped chan struct{}
	ended   chan struct{}
}

// ResultChan implements watch.Interface.
func (w *watched) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *watched) Stop() {
	w.stop.Do(func() { close(w.stopped) })
	<-w.ended
}

func (w *watched) run() {
	defer close(w.ended)
	defer close(w.events)
	defer w.cancel()
	defer w.source.Stop()
	start, heard := w.clock.Now(), false
	quiet := w.clock.NewTimer(silence)
	defer quiet.Stop()
	limit := w.clock.NewTimer(initialLimit) // then until it is settled
	defer limit.Stop()
	if !w.initial {
		limit.Reset(settled)
	}
	for {
		select {
		case <-w.stopped:
			return
		case <-w.outer.Done():
			return
		case <-quiet.C():
			if w.initial {
				w.broken(fmt.Errorf("watch: nothing for %v, and the initial events are not complete", silence))
			} else {
				w.quiet()
			}
			return
		case <-limit.C():
			if w.initial {
				w.broken(fmt.Errorf("watch: the initial events are not complete within %v", initialLimit))
				return
			}
			w.works(heard)
		case e, ok := <-w.source.ResultChan():
			switch {
			case !ok && w.outer.Err() != nil:
				return
			case !ok && w.initial:
				w.broken(errors.New("watch: ended before the initial events were complete"))
				return
			case !ok && !heard && w.clock.Since(start) < short:
				w.fails(errors.New("watch: ended as soon as it had begun"))
				return
			case !ok:
				return // as watches do, by themselves or because they are cut
			case e.Type == watch.Error:
				w.error(e)
				return
			}
			d, ok := e.Object.(*decoded)
			if !ok {
				w.broken(fmt.Errorf("watch: %T is none that is watched", e.Object))
				return
			}
			heard = true
			quiet.Reset(silence)
			switch {
			case !w.initial:
				w.heard(e.Type)
			case e.Type == watch.Bookmark && d.initialEvents:
				w.initial = false
				w.listed()
				limit.Reset(settled)
			}
			if !w.send(e) {
				return
			}
		}
	}
}

// error passes on an error of the API server.
func (w *watched) error(e watch.Event) {
	err := apierrors.FromObject(e.Object)
	switch {
	case outdated(err) && w.initial && w.anyVersion:
		w.broken(senseless(err))
		return
	case !outdated(err):
		w.fails(err)
	}
	w.send(e)
}

// broken ends the watch with an error of our own. A reflector then lists, where
// after a watch that simply ends it would try the same again, and at once.
func (w *watched) broken(err error) {
	w.fails(err)
	w.send(watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(err).ErrStatus})
}

func (w *watched) send(e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.stopped:
	case <-w.outer.Done():
	}
	return false
}

// before tells whether a resource version is before another. Those of an API server
// that has others than numbers are not.
func before(a, b string) bool {
	x, err1 := strconv.ParseUint(a, 10, 64)
	y, err2 := strconv.ParseUint(b, 10, 64)
	return err1 == nil && err2 == nil && x < y
}

// mortal is a clock whose waits end with a context. A reflector that waits to try
// again does not look at its own.
type mortal struct {
	clock.WithTickerAndDelayedExecution
	ctx context.Context
}

// After implements clock.Clock.
func (m mortal) After(d time.Duration) <-chan time.Time {
	out := make(chan time.Time, 1)
	t := m.NewTimer(d)
	go func() {
		defer t.Stop()
		select {
		case now := <-t.C():
			out <- now
		case <-m.ctx.Done():
			out <- m.Now()
		}
	}()
	return out
}
