package records

import "slices"

// resolvedTarget is a target with its host.
type resolvedTarget struct {
	*host
	port        uint16
	firstOfHost bool   // no target before it has the host, so its glue is here
	name        string // of the host; a builder's
	at          int    // offset of the name in the message, if the owners before it are compressed
	ownerSize   int    // bytes of the owner name of a glue record
	v4, v6      int    // glue records that fit
}

// window returns the targets of the ranges that fit, and whether some are left out. It stores
// the targets in buffer if that has the capacity.
func (f *fitter) window(n *Node, ranges []targetRange, suffixLen int, buffer []resolvedTarget) (out []resolvedTarget, truncated bool) {
	total := 0
	for i := range ranges {
		total += ranges[i].len()
	}
	if total == 0 {
		return nil, false
	}
	start := 0
	if total*n.longestTarget(suffixLen) > f.room {
		start = int(f.start % uint64(total))
	}
	if most := min(total, max(0, f.room)/srvSize("-", suffixLen)); cap(buffer) < most {
		buffer = make([]resolvedTarget, 0, most)
	}
	w := finder{fitter: *f, suffixLen: suffixLen, targets: buffer[:0], scattered: n.zone == noZone && n.numZones() > 0}
	if len(ranges) > 1 {
		w.seen, w.seenHosts = make(map[target]bool), make(map[*host]bool)
	}
	i := 0
	for start >= ranges[i].len() {
		start -= ranges[i].len()
		i++
	}
	for k := range ranges {
		r, from := &ranges[(i+k)%len(ranges)], 0
		if k == 0 {
			from = start
		}
		if truncated = !w.scan(n, r, from, r.len()); truncated {
			break
		}
	}
	if !truncated {
		truncated = !w.scan(n, &ranges[i], 0, start)
	}
	*f = w.fitter
	return w.targets, truncated
}

// finder collects targets while there is room.
type finder struct {
	fitter        // skipped: targets whose names are too long; with a long list, hosts
	suffixLen int // bytes of the service's name
	targets   []resolvedTarget
	// scattered: the targets of a host may be in several topology zones, and so in several places
	// of a range.
	scattered bool

	// Targets and hosts collected so far. seen is nil if there is one range, which has each
	// target once; seenHosts is nil if they need not be remembered.
	seen      map[target]bool
	seenHosts map[*host]bool
}

// maxSkipped is the most targets that a reply skips because their names are too long. In
// a long zone that may be all targets of a service, and looking at each would cost a
// query more than a reply carries. A reply that ends for this reason is truncated. It may
// lack records, but other replies have them, because replies start anywhere in a large
// set.
const maxSkipped = 256

// skip counts a skipped target, and reports whether another may be skipped.
func (f *finder) skip() bool {
	f.skipped++
	return f.skipped < maxSkipped
}

// scan collects the targets of a range between two positions. It reports whether it
// reached the end, rather than running out of room or skipping too many.
func (f *finder) scan(n *Node, r *targetRange, from, to int) bool {
	if from == to {
		return true
	}
	if r.short.set != nil {
		c := r.short.set.at(r.short.first + from)
		for range to - from {
			t := c.item().key
			c.next()
			// A target has no host in an interim snapshot, or if the caller removed the
			// host without its ports.
			h := n.hostByID(t.host())
			if h == nil {
				continue
			}
			if nameFits(h, f.suffixLen) {
				if !f.add(h, t.port()) {
					return false
				}
			} else if !f.skip() {
				return false
			}
		}
		return true
	}
	c := r.hosts.set.at(r.hosts.first + from/len(r.numbers))
	for from < to {
		h := n.hostByID(c.item().key.host())
		c.next()
		i := from % len(r.numbers)
		end := min(len(r.numbers), i+to-from)
		from += end - i
		if h == nil {
			continue
		}
		if !nameFits(h, f.suffixLen) {
			if !f.skip() {
				return false
			}
			continue
		}
		for ; i < end; i++ {
			if i > 0 && r.numbers[i] == r.numbers[i-1] {
				continue
			}
			if !f.add(h, r.numbers[i]) {
				return false
			}
		}
	}
	return true
}

// add adds a target, and reports whether there was room for it.
func (f *finder) add(h *host, port uint16) bool {
	if f.seen != nil && f.seen[newTarget(noZone, h.id, port)] {
		return true
	}
	size := srvSize(h.label, f.suffixLen)
	if size > f.room {
		return false
	}
	f.room -= size
	t := resolvedTarget{host: h, port: port}
	t.firstOfHost = !f.hasHost(h)
	if f.seen != nil {
		f.seen[newTarget(noZone, h.id, port)] = true
	}
	if f.seenHosts != nil {
		f.seenHosts[h] = true
	}
	f.targets = append(f.targets, t)
	return true
}

// fewTargets is the most targets that hasHost looks through, rather than remembering their hosts
// in memory of their own. Most replies over UDP have no more.
const fewTargets = 48

// hasHost reports whether a target with the host was collected.
func (f *finder) hasHost(h *host) bool {
	n := len(f.targets)
	switch {
	case f.seenHosts != nil:
		return f.seenHosts[h]
	case !f.scattered: // the targets of a host are neighbours, unless the window begins between them
		return n > 0 && (h == f.targets[n-1].host || h == f.targets[0].host)
	case n == fewTargets:
		f.seenHosts = make(map[*host]bool)
		for i := range f.targets {
			f.seenHosts[f.targets[i].host] = true
		}
		return f.seenHosts[h]
	}
	return slices.ContainsFunc(f.targets, func(t resolvedTarget) bool { return t.host == h })
}
