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
	buckets [][]entry[V]
	n       int
}

// entry keeps the hash beside the value, so that a scan touches one value.
type entry[V keyed] struct {
	hash  uint64
	value V
}

// get returns the value under label, and whether there is one.
func (t table[V]) get(label []byte) (V, bool) {
	if t.n > 0 {
		h := hashBytes(label)
		for _, e := range t.buckets[h&uint64(len(t.buckets)-1)] {
			if e.hash == h && e.value.key() == string(label) {
				return e.value, true
			}
		}
	}
	var none V
	return none, false
}

// all yields every value, in no order.
func (t table[V]) all(yield func(V) bool) {
	for _, b := range t.buckets {
		for _, e := range b {
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
		b, i := e.find(label)
		if i >= 0 {
			return e.buckets[b][i].value, true
		}
	}
	var none V
	return none, false
}

func (e *editor[V]) set(value V) {
	if e.n >= bucketSize*len(e.buckets) {
		e.grow()
	}
	b, i := e.find(value.key())
	e.own(b)
	if i >= 0 {
		e.buckets[b][i].value = value
		return
	}
	e.buckets[b] = append(e.buckets[b], entry[V]{hashString(value.key()), value})
	e.n++
}

func (e *editor[V]) delete(label string) {
	if e.n == 0 {
		return
	}
	b, i := e.find(label)
	if i < 0 {
		return
	}
	e.own(b)
	bucket := e.buckets[b]
	last := len(bucket) - 1
	bucket[i] = bucket[last]
	bucket[last] = entry[V]{}
	e.buckets[b] = bucket[:last]
	e.n--
}

func (e *editor[V]) find(label string) (bucket, index int) {
	h := hashString(label)
	b := int(h & uint64(len(e.buckets)-1))
	return b, slices.IndexFunc(e.buckets[b], func(x entry[V]) bool {
		return x.hash == h && x.value.key() == label
	})
}

func (e *editor[V]) own(b int) {
	if !e.fresh[b] {
		// Room for one more: most edits add or remove a single value.
		e.buckets[b] = append(make([]entry[V], 0, len(e.buckets[b])+1), e.buckets[b]...)
		e.fresh[b] = true
	}
}

// grow doubles the directory and deals the entries out anew. A table never
// shrinks: a service that was large tends to be large again.
func (e *editor[V]) grow() {
	old := e.buckets
	e.buckets = make([][]entry[V], max(1, 2*len(old)))
	e.fresh = make([]bool, len(e.buckets))
	for i := range e.fresh {
		e.fresh[i] = true
	}
	for _, bucket := range old {
		for _, x := range bucket {
			b := x.hash & uint64(len(e.buckets)-1)
			e.buckets[b] = append(e.buckets[b], x)
		}
	}
}
