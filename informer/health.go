package informer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	// silenceLimit is how long a list may take, and how long a watch may bring nothing.
	// Kube-apiserver ends a list after a minute, and sends bookmarks as often.
	silenceLimit = 3 * time.Minute
	// probeLimit is how long the look at the version may take before a watch.
	probeLimit = 10 * time.Second
)

// health is whether an origin can be listed and watched. It stands between a
// reflector, which tries again and again and in places silently, and the API server:
// it ends what would never end, and reports faults to the outage, which logs them. It
// is used by one goroutine at a time: a reflector lists or has one watch, and has
// stopped that before it goes on.
type health struct {
	object.Origin
	clock  clock.WithTickerAndDelayedExecution
	log    logr.Logger
	hook   func(object.Kind, bool) // Failing of Hooks
	outage *outage                 // of all watches of the informer

	failing bool
	// silent tells that nothing came where there should have been bookmarks. That a
	// watch stands is then no sign that it works.
	silent bool
	// bookmarks tells that the API server sends bookmarks. Without them, a watch may
	// be silent because nothing happens.
	bookmarks bool
}

func newHealth(o object.Origin, c *cluster) *health {
	return &health{Origin: o, clock: c.clock, log: c.log.WithValues("kind", o.Kind, "namespace", o.Namespace), hook: c.failing, outage: &c.outage}
}

// fails notes a fault.
func (h *health) fails(err error) {
	if !h.failing {
		h.failing = true
		h.hook(h.Kind, true)
	}
	h.outage.fails(h, err)
}

// works notes that a watch is well.
func (h *health) works() {
	if !h.failing {
		return
	}
	h.failing, h.silent = false, false
	h.hook(h.Kind, false)
	h.outage.works(h)
}

// unregister ends a fault that nobody looks after any more.
func (h *health) unregister() {
	if h.failing {
		h.hook(h.Kind, false)
		h.outage.unregister(h)
	}
}

// list lists by a function.
func (h *health) list(outer context.Context, do func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer h.clock.AfterFunc(silenceLimit, cancel).Stop()
	list, err := do(ctx)
	switch {
	case outer.Err() != nil: // we ended it
	case err == nil:
		h.silent = false // whether a watch follows remains to be seen
	default:
		if ctx.Err() != nil {
			err = fmt.Errorf("list: not complete within %v", silenceLimit)
		}
		// A reflector lists anew at once if the version is the fault.
		if !versionRefused(err) {
			h.fails(err)
		}
	}
	return list, err
}

// checkVersion fails if the API server, of which a function lists anything, is behind the
// version that a watch is to resume at, as it is when etcd was restored from a backup.
// It would send what happens only when it is past that version, and say nothing
// meanwhile. So a server that can't be listed is not watched, though it may let a
// watch in a moment later: that of a 429 is the error on which a reflector waits, and
// then tries the watch again, without a list of everything.
func (h *health) checkVersion(outer context.Context, version string, do func(context.Context) rest.Result) error {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer h.clock.AfterFunc(probeLimit, cancel).Stop()
	obj, err := do(ctx).Get()
	switch {
	case outer.Err() != nil: // we ended it
		return outer.Err()
	case err != nil:
		if ctx.Err() != nil {
			err = fmt.Errorf("watch: the version of the API server is not there within %v", probeLimit)
		}
		h.fails(err)
		return apierrors.NewTooManyRequests(err.Error(), 0)
	}
	list, ok := obj.(*object.DecodedList)
	if !ok || !isBefore(list.ResourceVersion, version) {
		return nil
	}
	h.log.Info("API server has gone back in time, all is listed anew", "version", list.ResourceVersion, "known", version)
	return apierrors.NewResourceExpired(fmt.Sprintf("watch: version %s is past that of the API server, %s", version, list.ResourceVersion))
}

// watch opens a watch by a function, and sees to it that it ends.
func (h *health) watch(outer context.Context, o *metav1.ListOptions, open func(context.Context) (watch.Interface, error)) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(outer)
	late := h.clock.AfterFunc(silenceLimit, cancel)
	source, err := open(ctx)
	if !late.Stop() && err == nil {
		source.Stop()
		err = ctx.Err()
	}
	initial := o.SendInitialEvents != nil && *o.SendInitialEvents
	anyVersion := initial && o.ResourceVersion == ""
	if err == nil {
		w := &watched{
			health: h, ctx: ctx, cancel: cancel, source: source, initial: initial, anyVersion: anyVersion,
			events: make(chan watch.Event), ended: make(chan struct{}),
		}
		go w.run()
		return w, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("watch: no answer within %v", silenceLimit)
	}
	cancel()
	if anyVersion && versionRefused(err) {
		err = anyVersionRefused(err)
	}
	switch {
	case outer.Err() != nil: // we ended it
	case versionRefused(err) || initial && apierrors.IsInvalid(err): // all is listed instead
	default:
		h.fails(err)
	}
	return nil, err
}

// versionRefused tells whether an API server refuses a version, as it no longer knows it
// or does not yet. Then it is to be asked for any.
func versionRefused(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// anyVersionRefused is the error of a server that refuses any version. A reflector that is
// told of the version would try again at once, and for ever.
func anyVersionRefused(err error) error {
	return errors.New("watch: any version is refused: " + err.Error())
}

// isBefore tells whether a resource version is before another. Those of an API server
// that has others than numbers are not.
func isBefore(a, b string) bool {
	x, err1 := strconv.ParseUint(a, 10, 64)
	y, err2 := strconv.ParseUint(b, 10, 64)
	return err1 == nil && err2 == nil && x < y
}
