package informer

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/time/rate"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	// maxCauses is how many causes of an outage are logged without a pause.
	maxCauses = 4
	// newPause is the least time between log lines of new causes. A cause that affects more
	// watches is logged again with their number after this pause, then after twice as long,
	// and so on up to causePause.
	newPause = 30 * time.Second
	// causePause is the least time between log lines of a cause that alternates with others.
	causePause = 10 * time.Minute
)

// outage logs the faults of all watches of an informer. They share it because a fault ends
// most of them at once, and a line for each watch would bury the cause. The zero value is
// ready to use. It is safe for concurrent use.
type outage struct {
	mu        sync.Mutex
	failing   map[*health]time.Time // since when
	causes    map[string]*cause     // that were logged and that a failing watch has had, by text
	lines     *rate.Limiter         // of new causes
	logged    int                   // number of lines about causes
	recovered []recovery            // that are not logged yet
}

// cause is why watches fail.
type cause struct {
	first   *health              // the watch that the log names; nil once it works
	watches map[*health]struct{} // that have had the cause since they began to fail
	counted int                  // how many of them are logged
	line    int                  // the number of the last line about it
	at      time.Time            // the time of that line
	pause   time.Duration        // until the cause may be logged with a new number
}

// recovery is a watch that works again.
type recovery struct {
	*health
	since, at time.Time // when it failed, and when it worked again
}

// fails records a fault of a watch. It logs the cause if that is new, or is not the last
// one logged for this watch. One fault may alternately end a watch and refuse a list, so
// causes that alternate are not logged each time.
func (o *outage) fails(h *health, err error) {
	now := h.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failing) == 0 {
		o.failing, o.causes = make(map[*health]time.Time), make(map[string]*cause)
		o.lines = rate.NewLimiter(rate.Every(newPause), maxCauses)
	}
	if _, ok := o.failing[h]; !ok {
		o.failing[h] = now
		o.recovered = slices.DeleteFunc(o.recovered, func(m recovery) bool { return m.health == h })
	}
	defer o.logRecovered(now)
	text := causeOf(h.Origin, err)
	c, known := o.causes[text]
	if !known {
		c = &cause{watches: make(map[*health]struct{})}
	}
	c.watches[h] = struct{}{}
	switch since := now.Sub(c.at); {
	case known && len(c.watches) > c.counted && since >= c.pause:
		c.pause = min(2*c.pause, causePause)
	case known && (since < causePause || o.lastCause(h) == c) || !o.lines.AllowN(now, 1):
		return
	default:
		c.pause = newPause
	}
	if c.first == nil {
		c.first = h
	}
	o.causes[text] = c
	o.logged++
	c.line, c.at, c.counted = o.logged, now, len(c.watches)
	c.first.log.Error(fmt.Errorf("%s (%s)", plainCause(err), c.first.serving(now)), "can't watch "+c.first.Kind.String(), "others", c.counted-1)
}

// plainCause returns the text of an error without what a reader knows already: the URL of the
// request, and the address of the API server.
func plainCause(err error) string {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
		if call := (*os.SyscallError)(nil); errors.As(err, &call) {
			err = call.Err
		}
	}
	return err.Error()
}

// lastCause returns the cause that was last logged for a watch.
func (o *outage) lastCause(h *health) *cause {
	var last *cause
	for _, c := range o.causes {
		if _, ok := c.watches[h]; ok && (last == nil || c.line > last.line) {
			last = c
		}
	}
	return last
}

// works records that a failing watch works again.
func (o *outage) works(h *health) {
	now := h.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recovered = append(o.recovered, recovery{h, o.failing[h], now})
	o.drop(h)
	o.logRecovered(now)
}

// unregister removes a watch that is over.
func (o *outage) unregister(h *health) {
	now := h.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(h)
	o.logRecovered(now)
}

func (o *outage) drop(h *health) {
	delete(o.failing, h)
	for text, c := range o.causes {
		delete(c.watches, h)
		c.counted = min(c.counted, len(c.watches))
		if c.first == h {
			c.first = nil
		}
		if len(c.watches) == 0 {
			delete(o.causes, text)
		}
	}
}

// logRecovered logs which watches work again: at once if none fails any more, else together
// with those that recover soon after. Each retry of a failing watch calls it.
func (o *outage) logRecovered(now time.Time) {
	if len(o.recovered) == 0 || len(o.failing) > 0 && now.Sub(o.recovered[0].at) < newPause {
		return
	}
	first := o.recovered[0]
	since := first.since
	for _, m := range o.recovered {
		if m.since.Before(since) {
			since = m.since
		}
	}
	first.log.Info("watch works again", "others", len(o.recovered)-1, "failing", len(o.failing), "after", now.Sub(since).Round(time.Second))
	o.recovered = nil
}

// causeOf returns the text of an error without the parts that differ between retries and
// between watches: the URL, the namespace, the kind unless a permission for it is missing,
// and each word with a digit, such as addresses, ports, times and IDs.
func causeOf(of object.Origin, err error) string {
	text := err.Error()
	if u := (*url.Error)(nil); errors.As(err, &u) {
		text = u.Err.Error()
	}
	text = strings.ReplaceAll(text, strconv.Quote(of.Namespace), "")
	if !apierrors.IsForbidden(err) {
		resource := of.Kind.Resource()
		switch of.Kind {
		case object.EndpointSlices, object.LeftoverSlices, object.ImportedSlices:
			resource = discoveryv1.Resource(resource).String()
		case object.ServiceImports:
			resource = schema.GroupResource{Group: mcsv1beta1.GroupName, Resource: resource}.String()
		}
		text = strings.ReplaceAll(text, resource, "")
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	words = slices.DeleteFunc(words, func(w string) bool { return strings.ContainsFunc(w, unicode.IsDigit) })
	return strings.Join(words, " ")
}
