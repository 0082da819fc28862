package informer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
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
	// silenceLimit is how long a list may take, and how long a watch may deliver nothing.
	// Kube-apiserver ends a list after a minute, and sends a bookmark every minute.
	silenceLimit = 3 * time.Minute
	// probeLimit is how long the probe of the version before a watch may take.
	probeLimit = 10 * time.Second
)

// health tracks whether an origin can be listed and watched. It stands between a reflector,
// which retries forever and sometimes silently, and the API server: it ends requests that
// would never end, and reports faults to the outage, which logs them. One goroutine at a
// time uses it: a reflector has either a list or one watch, and stops a watch before the
// next request.
type health struct {
	object.Origin
	clock  clock.WithTickerAndDelayedExecution
	log    logr.Logger
	hook   func(object.Kind, bool) // Failing of Hooks
	outage *outage                 // shared by all watches of the informer

	restored *atomic.Bool // a snapshot stands in for what was not listed

	failing bool
	current time.Time // of the last list, event or bookmark; zero before the first
	// silent: the watch delivered nothing although bookmarks were due. An open watch is then
	// no sign of health.
	silent bool
	// bookmarks: the API server sends bookmarks. If it does not, a watch may be silent because
	// nothing changes.
	bookmarks bool
}

func newHealth(o object.Origin, c *cluster) *health {
	return &health{
		Origin: o, clock: c.clock, log: c.log.WithValues("kind", o.Kind, "namespace", o.Namespace),
		hook: c.failing, outage: &c.outage, restored: &c.restored,
	}
}

// serving returns what the server answers with while the watch fails.
func (h *health) serving(now time.Time) string {
	layout := time.TimeOnly
	if now.Sub(h.current) > 12*time.Hour {
		layout = time.DateTime
	}
	switch {
	case !h.current.IsZero():
		return "serving what was known at " + h.current.Format(layout)
	case h.restored.Load():
		return "serving the snapshot"
	}
	return "nothing to serve yet"
}

// fails records a fault.
func (h *health) fails(err error) {
	if !h.failing {
		h.failing = true
		h.hook(h.Kind, true)
	}
	h.outage.fails(h, err)
}

// works records that the watch is healthy.
func (h *health) works() {
	if !h.failing {
		return
	}
	h.failing, h.silent = false, false
	h.hook(h.Kind, false)
	h.outage.works(h)
}

// unregister removes a watch that is over, with its fault.
func (h *health) unregister() {
	if h.failing {
		h.hook(h.Kind, false)
		h.outage.unregister(h)
	}
}

// list calls do, which sends a list request, with a time limit.
func (h *health) list(outer context.Context, do func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer h.clock.AfterFunc(silenceLimit, cancel).Stop()
	list, err := do(ctx)
	switch {
	case outer.Err() != nil: // the caller cancelled it
	case err == nil:
		h.silent = false // no watch has been silent since
		h.current = h.clock.Now()
	default:
		if ctx.Err() != nil {
			err = fmt.Errorf("list: not complete within %v", silenceLimit)
		}
		// On this error a reflector relists at once.
		if !versionRefused(err) {
			h.fails(err)
		}
	}
	return list, err
}

// checkVersion returns an error if the API server is behind the version at which a watch is
// to resume, as it is after etcd was restored from a backup. Such a server accepts the
// watch and sends nothing until it is past that version. do sends any list request, to
// learn the current version.
//
// A server that can't be listed is not watched either, though it may accept a watch a
// moment later. A reflector that gets 429 for a watch waits and retries the watch, without
// a relist: so that is the error.
func (h *health) checkVersion(outer context.Context, version string, do func(context.Context) rest.Result) error {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer h.clock.AfterFunc(probeLimit, cancel).Stop()
	obj, err := do(ctx).Get()
	switch {
	case outer.Err() != nil: // the caller cancelled it
		return outer.Err()
	case err != nil:
		if ctx.Err() != nil {
			err = fmt.Errorf("watch: the API server did not return its version within %v", probeLimit)
		}
		h.fails(err)
		return apierrors.NewTooManyRequests(err.Error(), 0)
	}
	list, ok := obj.(*object.DecodedList)
	if !ok || !isBefore(list.ResourceVersion, version) {
		return nil
	}
	h.log.Info("API server has gone back in time; relisting everything", "version", list.ResourceVersion, "known", version)
	return apierrors.NewResourceExpired(fmt.Sprintf("watch: version %s is later than the API server's, %s", version, list.ResourceVersion))
}

// watch calls open, which opens a watch, and supervises the watch.
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
	case outer.Err() != nil: // the caller cancelled it
	case versionRefused(err) || initial && apierrors.IsInvalid(err): // the reflector lists instead
	default:
		h.fails(err)
	}
	return nil, err
}

// versionRefused reports whether the API server refused a resource version, as too old or
// not yet reached. A reflector then asks for any version.
func versionRefused(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// anyVersionRefused is the error for a server that refuses even any version. It hides the
// cause: a reflector that recognized it would retry at once, forever.
func anyVersionRefused(err error) error {
	return errors.New("watch: the API server refuses every version: " + err.Error())
}

// isBefore reports whether resource version a is before b. Versions that are not numbers
// have no order.
func isBefore(a, b string) bool {
	x, err1 := strconv.ParseUint(a, 10, 64)
	y, err2 := strconv.ParseUint(b, 10, 64)
	return err1 == nil && err2 == nil && x < y
}
