package soak_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A moment is the interval in which something happened: after one time, and by another.
type moment struct{ after, by time.Time }

// A period is when something was true: certainly, and possibly.
type period struct{ certain, possible spans }

// set records that something is true or false from a moment on. It reports whether that
// is a change.
func (p *period) set(is bool, when moment) bool {
	first, last := when.after, when.by
	if !is {
		first, last = last, first
	}
	p.certain.set(is, last)
	return p.possible.set(is, first)
}

func (p period) intersect(other period) period {
	return period{p.certain.intersect(other.certain), p.possible.intersect(other.possible)}
}

func (p *period) drop(before time.Time) {
	p.certain, p.possible = p.certain.drop(before), p.possible.drop(before)
}

// A span is a time in which something was true. It has not ended if until is zero.
type span struct{ from, until time.Time }

// Spans are sorted by time.
type spans []span

// set records that something is true or false from a time on. It reports whether that is
// a change.
func (s *spans) set(is bool, now time.Time) bool {
	last := len(*s) - 1
	was := last >= 0 && (*s)[last].until.IsZero()
	switch {
	case is && !was:
		*s = append(*s, span{from: now})
	case was && !is:
		(*s)[last].until = now
	}
	return is != was
}

// intersect returns the times when both are true.
func (s spans) intersect(other spans) (out spans) {
	for _, a := range s {
		for _, b := range other {
			c := a
			if b.from.After(c.from) {
				c.from = b.from
			}
			if c.until.IsZero() || !b.until.IsZero() && b.until.Before(c.until) {
				c.until = b.until
			}
			if c.until.IsZero() || c.until.After(c.from) {
				out = append(out, c)
			}
		}
	}
	return out
}

// overlaps reports whether something was true at any time in the window.
func (s spans) overlaps(w span) bool {
	return slices.ContainsFunc(s, func(a span) bool {
		return !a.from.After(w.until) && (a.until.IsZero() || !a.until.Before(w.from))
	})
}

// covers reports whether something was true throughout the window.
func (s spans) covers(w span) bool {
	return slices.ContainsFunc(s, func(a span) bool {
		return !a.from.After(w.from) && (a.until.IsZero() || a.until.After(w.until))
	})
}

// last returns the end of the last span before a time at which nothing is true.
func (s spans) last(before time.Time) (last time.Time) {
	for _, a := range s {
		if a.until.After(last) && a.until.Before(before) {
			last = a.until
		}
	}
	return last
}

// describe formats the spans for an error.
func (s spans) describe() string {
	var b strings.Builder
	for _, a := range s {
		fmt.Fprintf(&b, "; from %s", a.from.Format(time.StampMilli))
		if !a.until.IsZero() {
			fmt.Fprintf(&b, " until %s", a.until.Format(time.StampMilli))
		}
	}
	return b.String()
}

// drop removes the spans that ended before a time.
func (s spans) drop(before time.Time) spans {
	return slices.DeleteFunc(s, func(a span) bool { return !a.until.IsZero() && a.until.Before(before) })
}
