package records

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
)

// A change of a table copies one bucket, one page of buckets and the directory of
// pages. With these sizes each of them has a few hundred bytes at 10,000 values.
const (
	bucketSize = 16 // values in a bucket, at most on average
	pageSize   = 16 // buckets in a page
)

var seed = maphash.MakeSeed()

// hashMask lets tests make labels collide.
var hashMask = ^uint32(0)

func hashBytes(label []byte) uint32  { return uint32(maphash.Bytes(seed, label)) & hashMask }
func hashString(label string) uint32 { return uint32(maphash.String(seed, label)) & hashMask }

// hashed is a value that knows the hash it is found by.
type hashed interface{ hash() uint32 }

// table is an immutable hash table of values in buckets, the number of which is a
// power of two. An edit makes a new table that shares with the old what it did
// not touch. What equals what is for the user to say, who looks through a bucket.
// The zero table is empty.
type table[V hashed] struct {
	pages []*page[V]
	n     int
}

// page is a part of the buckets: all of them, or pageSize.
type page[V hashed] struct {
	buckets [][]V
	edit    uint64 // the edit that made the page, and may write to it,
	fresh   uint16 // and those of its buckets that the edit made, as bits
}

// size is the number of buckets.
func (t *table[V]) numBuckets() int {
	if len(t.pages) == 0 {
		return 0
	}
	return len(t.pages) * len(t.pages[0].buckets)
}

// bucket returns the values that may have the hash. It is not to be written.
func (t *table[V]) bucket(hash uint32) []V {
	if len(t.pages) == 0 {
		return nil
	}
	i := hash & uint32(t.numBuckets()-1)
	return t.pages[i/pageSize].buckets[i%pageSize]
}

// all yields every value, in no order.
func (t *table[V]) all(yield func(V) bool) {
	for _, p := range t.pages {
		for _, b := range p.buckets {
			for _, v := range b {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// edits numbers the edits of all tables.
var edits atomic.Uint64

// edit returns an editor whose table starts as t. Until the editor's table is
// published, nobody else may see it.
func (t table[V]) edit() editor[V] {
	return editor[V]{table: table[V]{slices.Clone(t.pages), t.n}, edit: edits.Add(1)}
}

// editor changes a private copy of a table. It copies pages and buckets when it
// first writes to them.
type editor[V hashed] struct {
	table[V]
	edit uint64
}

// own returns the bucket of a hash for the editor to write to.
func (e *editor[V]) mutable(hash uint32) *[]V {
	i := hash & uint32(e.numBuckets()-1)
	p := e.pages[i/pageSize]
	if p.edit != e.edit {
		p = &page[V]{buckets: slices.Clone(p.buckets), edit: e.edit}
		e.pages[i/pageSize] = p
	}
	b := &p.buckets[i%pageSize]
	if fresh := uint16(1) << (i % pageSize); p.fresh&fresh == 0 {
		// Room for one more: most edits add or change a single value.
		*b = append(make([]V, 0, len(*b)+1), *b...)
		p.fresh |= fresh
	}
	return b
}

// add puts a value into the table.
func (e *editor[V]) add(v V) {
	if e.n >= bucketSize*e.numBuckets() {
		e.grow()
	}
	b := e.mutable(v.hash())
	*b = append(*b, v)
	e.n++
}

// remove takes the i-th value out of the bucket of a hash.
func (e *editor[V]) remove(hash uint32, i int) {
	b := e.mutable(hash)
	last := len(*b) - 1
	(*b)[i] = (*b)[last]
	clear((*b)[last:])
	*b = (*b)[:last]
	e.n--
}

// grow doubles the buckets and deals the values out anew. A table never shrinks:
// a service that was large tends to be large again.
func (e *editor[V]) grow() {
	old := e.table
	size := max(1, 2*old.numBuckets())
	e.pages = make([]*page[V], (size+pageSize-1)/pageSize)
	for i := range e.pages {
		e.pages[i] = &page[V]{buckets: make([][]V, min(size, pageSize)), edit: e.edit, fresh: 1<<pageSize - 1}
	}
	for v := range old.all {
		b := e.mutable(v.hash())
		*b = append(*b, v)
	}
}
