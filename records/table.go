package records

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
)

// A change of a table copies one bucket, one page of buckets and the directory of
// pages. With these sizes each takes a few hundred bytes at 10,000 values.
const (
	bucketSize = 16 // the most values in a bucket on average
	pageSize   = 16 // buckets in a page
)

// seed makes the hashes of a process secret, so that nobody can choose labels that
// collide.
var seed = maphash.MakeSeed()

// hashMask lets tests make labels collide.
var hashMask = ^uint32(0)

func hashBytes(label []byte) uint32  { return uint32(maphash.Bytes(seed, label)) & hashMask }
func hashString(label string) uint32 { return uint32(maphash.String(seed, label)) & hashMask }

// hashed is a value with the hash by which a table finds it.
type hashed interface{ hash() uint32 }

// table is an immutable hash table. The zero table is empty.
//
// The values are in buckets, whose number is a power of two, and the buckets are in
// pages. A new table shares with the old one the pages and buckets that the edit did
// not touch. Callers compare the values in a bucket themselves.
type table[V hashed] struct {
	pages []*page[V]
	n     int // values
}

// page is pageSize buckets, or all buckets of a smaller table.
type page[V hashed] struct {
	buckets [][]V
	edit    uint64 // the only edit that may write the page
	fresh   uint16 // bit i: that edit made bucket i, so it may write it
}

// numBuckets returns the number of buckets.
func (t *table[V]) numBuckets() int {
	if len(t.pages) == 0 {
		return 0
	}
	return len(t.pages) * len(t.pages[0].buckets)
}

// bucket returns the values that may have the hash. The caller must not write it.
func (t *table[V]) bucket(hash uint32) []V {
	if len(t.pages) == 0 {
		return nil
	}
	i := hash & uint32(t.numBuckets()-1)
	return t.pages[i/pageSize].buckets[i%pageSize]
}

// all yields every value, unsorted.
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

// edits numbers the edits of all tables, so that no page has the number of another
// edit.
var edits atomic.Uint64

// edit returns an editor whose table starts as t. Nobody else may see the editor's
// table before it is published, and nobody may use the editor afterwards.
func (t table[V]) edit() editor[V] {
	return editor[V]{table: table[V]{slices.Clone(t.pages), t.n}, edit: edits.Add(1)}
}

// editor changes a private copy of a table. It copies a page or a bucket when it
// first writes it.
type editor[V hashed] struct {
	table[V]
	edit uint64
}

// mutable returns the bucket of a hash for the editor to write.
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

// add adds a value.
func (e *editor[V]) add(v V) {
	if e.n >= bucketSize*e.numBuckets() {
		e.grow()
	}
	b := e.mutable(v.hash())
	*b = append(*b, v)
	e.n++
}

// remove removes the i-th value of the bucket of a hash.
func (e *editor[V]) remove(hash uint32, i int) {
	b := e.mutable(hash)
	last := len(*b) - 1
	(*b)[i] = (*b)[last]
	clear((*b)[last:])
	*b = (*b)[:last]
	e.n--
}

// removeValue removes a value, which the table must have.
func removeValue[V interface {
	hashed
	comparable
}](edit *editor[V], v V) {
	edit.remove(v.hash(), slices.Index(edit.bucket(v.hash()), v))
}

// grow doubles the number of buckets. A table never shrinks: a large service tends to
// become large again.
func (e *editor[V]) grow() {
	old := e.table
	n := max(1, 2*old.numBuckets())
	e.pages = make([]*page[V], (n+pageSize-1)/pageSize)
	for i := range e.pages {
		e.pages[i] = &page[V]{buckets: make([][]V, min(n, pageSize)), edit: e.edit, fresh: 1<<pageSize - 1}
	}
	for v := range old.all {
		b := e.mutable(v.hash())
		*b = append(*b, v)
	}
}
