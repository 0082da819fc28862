package records

import "sort"

// A change of a set copies one leaf and the inner nodes above it. With these sizes
// that is about a kilobyte, however large the set is.
const (
	maxLeafItems = 64 // of a leaf
	maxChildren  = 32 // of an inner node
)

// ordered is a value with a total order.
type ordered[K any] interface{ compare(K) int }

// set is an immutable sorted multiset. The zero set is empty.
//
// It is a B+ tree: the leaves have the items, and all leaves are equally deep. As
// the items are sorted, the set finds an item and merges a change without an index
// of positions. Each inner node knows how many items precede the end of each child,
// so that a reader may start at any position.
//
// Neighbours that are half full together, or less, are fused, so that deletions
// never leave a set in many small nodes.
type set[K ordered[K]] struct {
	items    []item[K]  // of a leaf
	children []child[K] // of an inner node
}

// child is a child of an inner node.
type child[K ordered[K]] struct {
	*set[K]
	end int // the items in this child and in its left siblings
}

// item is a key and the number of endpoints behind it. Two pods on the host network
// of one node are one address with two refs.
type item[K ordered[K]] struct {
	key     K
	counted count
}

func (x *item[K]) refs() int32 { return x.counted.int() }

// count is a number of endpoints in three bytes: an item is aligned as its key is, and
// an address with its topology zone is five bytes. Beyond maxCount it is too low. No
// memory holds so many endpoints of one address.
type count [3]byte

const maxCount = 1<<24 - 1

func newCount(n int32) count {
	n = min(n, maxCount)
	return count{byte(n >> 16), byte(n >> 8), byte(n)}
}

func (c count) int() int32 { return int32(c[0])<<16 | int32(c[1])<<8 | int32(c[2]) }

// len returns the number of keys.
func (s *set[K]) len() int {
	if n := len(s.children); n > 0 {
		return s.children[n-1].end
	}
	return len(s.items)
}

// first returns the lowest key. The set must not be empty.
func (s *set[K]) first() K {
	for len(s.children) > 0 {
		s = s.children[0].set
	}
	return s.items[0].key
}

// search returns the position of the first key that is at or above key.
func (s *set[K]) search(key K) int {
	before := 0
	for len(s.children) > 0 {
		i := s.childFor(key)
		if i > 0 {
			before += s.children[i-1].end
		}
		s = s.children[i].set
	}
	return before + sort.Search(len(s.items), func(i int) bool { return s.items[i].key.compare(key) >= 0 })
}

// searchFunc returns the position of the first key for which below reports false. The keys
// must be sorted so that it is true first.
func (s *set[K]) searchFunc(below func(K) bool) int {
	before := 0
	for len(s.children) > 0 {
		i := max(0, sort.Search(len(s.children), func(i int) bool { return !below(s.children[i].first()) })-1)
		if i > 0 {
			before += s.children[i-1].end
		}
		s = s.children[i].set
	}
	return before + sort.Search(len(s.items), func(i int) bool { return !below(s.items[i].key) })
}

// childFor returns the index of the child where key belongs: the last one that
// starts at or below key, or else the first.
func (s *set[K]) childFor(key K) int {
	return max(0, sort.Search(len(s.children), func(i int) bool { return s.children[i].first().compare(key) > 0 })-1)
}

// refsOf returns the number of endpoints behind key.
func (s *set[K]) refsOf(key K) int32 {
	if i := s.search(key); i < s.len() {
		leaf, k := s.leafAt(i)
		if leaf[k].key.compare(key) == 0 {
			return leaf[k].refs()
		}
	}
	return 0
}

// all yields every item, sorted.
func (s *set[K]) all(yield func(item[K]) bool) { s.walk(yield) }

// walk yields every item. It reports whether yield wants more.
func (s *set[K]) walk(yield func(item[K]) bool) bool {
	for _, c := range s.children {
		if !c.walk(yield) {
			return false
		}
	}
	for _, x := range s.items {
		if !yield(x) {
			return false
		}
	}
	return true
}

// at returns a cursor at position i, which must exist. It wraps around at the end.
func (s *set[K]) at(i int) cursor[K] {
	c := cursor[K]{part: s.whole()}
	c.seek(i)
	return c
}

// leafAt returns the items of the leaf that has position i, and the index in them.
func (s *set[K]) leafAt(i int) ([]item[K], int) {
	for len(s.children) > 0 {
		k := 0
		for s.children[k].end <= i {
			k++
		}
		if k > 0 {
			i -= s.children[k-1].end
		}
		s = s.children[k].set
	}
	return s.items, i
}
