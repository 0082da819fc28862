package records

// fitter chooses the records of a reply that fit into the message. What makes the
// records themselves is a builder or a [Packer].
type fitter struct {
	room    int    // bytes that are free
	start   uint64 // chooses the first record of a set that does not fit
	skipped int    // targets; a test bounds them
}

// take reserves room for up to n records of a size, and returns how many fit.
func (f *fitter) take(n, size int) int {
	n = min(n, max(0, f.room)/size)
	f.room -= n * size
	return n
}

// first returns the position of the first of n records from a set of total: zero if
// all fit.
func (f *fitter) first(n, total int) int {
	if n == total {
		return 0
	}
	return int(f.start % uint64(total))
}

// firstPTR returns the position of the first of n names: zero if all are sure to fit.
func (f *fitter) firstPTR(n int) int {
	if n*(compressedSize+fixedSize+maxName+1) <= f.room {
		return 0
	}
	return int(f.start % uint64(n))
}

// takeGlue reserves room for the addresses of the targets, and reports whether some do not
// fit.
func (f *fitter) takeGlue(targets []resolvedTarget) (n4, n6 int, truncated bool) {
	for i := range targets {
		t := &targets[i]
		if !t.firstOfHost {
			continue
		}
		addrs := t.addrs()
		t.v4 = f.take(addrs.v4.len(), t.ownerSize+fixedSize+len(addr4{}))
		t.v6 = f.take(addrs.v6.len(), t.ownerSize+fixedSize+len(addr6{}))
		truncated = truncated || t.v4 < addrs.v4.len() || t.v6 < addrs.v6.len()
		n4, n6 = n4+t.v4, n6+t.v6
	}
	return n4, n6, truncated
}
