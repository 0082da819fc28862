package records

import (
	"hash/maphash"
	"slices"
)

// bucketSize is how many values a bucket holds at most on average. A change
// copies one bucket and the directory, a lookup scans half a bucket's hashes,
// so both are cheap between 8 and 64; 32 balances them at 10,000 values.
const bucketSize = 32

var seed = maphash.MakeSeed()

// hashMask lets tests make labels collide.
var hashMask = ^uint64(0)

func hashBytes(label []byte) uint64  { return maphash.Bytes(seed, label) & hashMask }
func hashString(label string) uint64 { return maphash.String(seed, label) & hashMask }

// keyed is a value that knows the label it is found under.
type keyed interface{ key() string }

// table is an immutable hash table: a directory of buckets, its length a power
// of two. An edit makes a new table that shares the buckets it did not touch.
type table[V keyed] struct {
	buckets []*bucket[V] // a nil bucket is empty
	n       int
}

type bucket[V keyed] struct{ entries []entry[V] }

// entry keeps the hash beside the value, so that a scan touches one value.
type entry[V keyed] struct {
	hash  uint64
	value V
}

// get returns the value under label, and whether there is one.
func (t table[V]) get(label []byte) (V, bool) {
	if t.n > 0 {
		h := hashBytes(label)
		if b := t.buckets[h&uint64(len(t.buckets)-1)]; b != nil {
			for i := range b.entries {
				if e := &b.entries[i]; e.hash == h && e.value.key() == string(label) {
					return e.value, true
				}
			}
		}
	}
	var none V
	return none, false
}

// all yields every value, in no order.
func (t table[V]) all(yield func(V) bool) {
	for _, b := range t.buckets {
		if b == nil {
			continue
		}
		for _, e := range b.entries {
			if !yield(e.value) {
				return
			}
		}
	}
}

// edit returns an editor whose table starts as t. Until the editor's table is
// published, nobody else may see it.
func (t table[V]) edit() *editor[V] {
	e := &editor[V]{table: t}
	e.buckets = slices.Clone(t.buckets)
	e.fresh = make([]bool, len(e.buckets))
	return e
}

// editor changes a private copy of a table. It copies a bucket when it first
// writes to it; fresh tells which are its own.
type editor[V keyed] struct {
	table[V]
	fresh []bool
}

func (e *editor[V]) get(label string) (V, bool) {
	if e.n > 0 {
		if at, i := e.find(label); i >= 0 {
			return e.buckets[at].entries[i].value, true
		}
	}
	var none V
	return none, false
}

func (e *editor[V]) set(value V) {
	if e.n >= bucketSize*len(e.buckets) {
		e.grow()
	}
	at, i := e.find(value.key())
	b := e.own(at)
	if i >= 0 {
		b.entries[i].value = value
		return
	}
	b.entries = append(b.entries, entry[V]{hashString(value.key()), value})
	e.n++
}

func (e *editor[V]) delete(label string) {
	if e.n == 0 {
		return
	}
	at, i := e.find(label)
	if i < 0 {
		return
	}
	b := e.own(at)
	last := len(b.entries) - 1
	b.entries[i] = b.entries[last]
	b.entries[last] = entry[V]{}
	b.entries = b.entries[:last]
	e.n--
}

// find returns the bucket that the label belongs to, and its place there or -1.
func (e *editor[V]) find(label string) (at, index int) {
	h := hashString(label)
	at = int(h & uint64(len(e.buckets)-1))
	if e.buckets[at] == nil {
		return at, -1
	}
	return at, slices.IndexFunc(e.buckets[at].entries, func(x entry[V]) bool {
		return x.hash == h && x.value.key() == label
	})
}

// own makes a bucket the editor's to write.
func (e *editor[V]) own(at int) *bucket[V] {
	if !e.fresh[at] {
		b := new(bucket[V])
		if old := e.buckets[at]; old != nil {
			// Room for one more: most edits add or remove a single value.
			b.entries = append(make([]entry[V], 0, len(old.entries)+1), old.entries...)
		}
		e.buckets[at], e.fresh[at] = b, true
	}
	return e.buckets[at]
}

// grow doubles the directory and deals the entries out anew. A table never
// shrinks: a service that was large tends to be large again.
func (e *editor[V]) grow() {
	old := e.table
	e.buckets = make([]*bucket[V], max(1, 2*len(old.buckets)))
	e.fresh = make([]bool, len(e.buckets))
	for _, b := range old.buckets {
		if b == nil {
			continue
		}
		for _, x := range b.entries {
			to := e.own(int(x.hash & uint64(len(e.buckets)-1)))
			to.entries = append(to.entries, x)
		}
	}
}
