package records

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// chunkSize is how many items a chunk holds at most. A change copies one chunk
// and the directory, which are of one size at about 10,000 items.
const chunkSize = 128

// ordered is a value with a total order.
type ordered[K any] interface{ compare(K) int }

// set is an immutable ordered multiset in chunks. It is sorted, so that an item
// is found, and a change merged in, without an index of positions; and each
// chunk knows how many items end with it, so that a reader can start anywhere.
// The zero set is empty.
type set[K ordered[K]] struct {
	chunks []chunk[K] // none of them empty
}

type chunk[K ordered[K]] struct {
	items []item[K]
	end   int // items up to the end of this chunk
}

// item is a key and the number of endpoints that it stands for: two pods on the
// host network of one node are one address.
type item[K ordered[K]] struct {
	key  K
	refs int32
}

// delta is a change of the number of endpoints that a key stands for.
type delta[K ordered[K]] item[K]

// len is the number of different keys.
func (s set[K]) len() int {
	if len(s.chunks) == 0 {
		return 0
	}
	return s.chunks[len(s.chunks)-1].end
}

// search returns the position of the first key that is not below key.
func (s set[K]) search(key K) int {
	c := s.chunkOf(key)
	if c < 0 {
		return 0
	}
	items := s.chunks[c].items
	i := sort.Search(len(items), func(i int) bool { return items[i].key.compare(key) >= 0 })
	return s.chunks[c].end - len(items) + i
}

// refsOf returns how many endpoints key stands for.
func (s set[K]) refsOf(key K) int32 {
	if i := s.search(key); i < s.len() {
		c := s.at(i)
		if x := c.item(); x.key.compare(key) == 0 {
			return x.refs
		}
	}
	return 0
}

// chunkOf returns the index of the chunk that key is in or would go to: the
// last one that starts at or below it. It is -1 in an empty set.
func (s set[K]) chunkOf(key K) int {
	c := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].items[0].key.compare(key) > 0 })
	return max(c-1, min(0, len(s.chunks)-1))
}

// at returns a cursor that stands on position i, which must exist.
func (s set[K]) at(i int) cursor[K] {
	c := sort.Search(len(s.chunks), func(c int) bool { return s.chunks[c].end > i })
	items := s.chunks[c].items
	return cursor[K]{s.chunks, c, i - (s.chunks[c].end - len(items))}
}

// cursor walks a set from anywhere, around its end.
type cursor[K ordered[K]] struct {
	chunks []chunk[K]
	chunk  int
	index  int
}

func (c *cursor[K]) item() item[K] { return c.chunks[c.chunk].items[c.index] }

func (c *cursor[K]) next() {
	c.index++
	if c.index == len(c.chunks[c.chunk].items) {
		c.index = 0
		c.chunk++
		if c.chunk == len(c.chunks) {
			c.chunk = 0
		}
	}
}

// merge returns the set with the deltas applied, which are sorted and have a
// key once (see net). A key whose refs fall to zero leaves the set.
func (s set[K]) merge(deltas []delta[K]) set[K] {
	if len(deltas) == 0 {
		return s
	}
	chunks := make([]chunk[K], 0, len(s.chunks)+1)
	next := 0 // the first chunk not yet taken over
	for len(deltas) > 0 {
		c := s.chunkOf(deltas[0].key)
		if c < 0 {
			chunks = appendChunks(chunks, apply(nil, deltas))
			break
		}
		chunks = append(chunks, s.chunks[next:c]...)
		next = c + 1
		n := len(deltas)
		if next < len(s.chunks) {
			limit := s.chunks[next].items[0].key
			n = sort.Search(len(deltas), func(i int) bool { return deltas[i].key.compare(limit) >= 0 })
		}
		chunks = appendChunks(chunks, apply(s.chunks[c].items, deltas[:n]))
		deltas = deltas[n:]
	}
	if next < len(s.chunks) {
		chunks = append(chunks, s.chunks[next:]...)
	}
	return set[K]{chunks}.count()
}

// apply merges sorted deltas into sorted items.
func apply[K ordered[K]](items []item[K], deltas []delta[K]) []item[K] {
	out := make([]item[K], 0, len(items)+len(deltas))
	for len(items) > 0 || len(deltas) > 0 {
		order := -1
		switch {
		case len(items) == 0:
			order = 1
		case len(deltas) > 0:
			order = items[0].key.compare(deltas[0].key)
		}
		var x item[K]
		if order <= 0 {
			x, items = items[0], items[1:]
		}
		if order >= 0 {
			x.key = deltas[0].key
			x.refs += deltas[0].refs
			deltas = deltas[1:]
		}
		if x.refs > 0 {
			out = append(out, x)
		}
	}
	return out
}

// appendChunks cuts items into chunks of even size.
func appendChunks[K ordered[K]](chunks []chunk[K], items []item[K]) []chunk[K] {
	if len(items) == 0 {
		return chunks
	}
	n := (len(items) + chunkSize - 1) / chunkSize
	size := (len(items) + n - 1) / n
	for part := range slices.Chunk(items, size) {
		chunks = append(chunks, chunk[K]{items: slices.Clip(part)})
	}
	return chunks
}

// count fills in what each chunk knows of those before it. Where deletions have
// left the chunks less than a quarter full, it packs them anew.
func (s set[K]) count() set[K] {
	n := 0
	for i := range s.chunks {
		n += len(s.chunks[i].items)
		s.chunks[i].end = n
	}
	if len(s.chunks) < 2 || n >= len(s.chunks)*chunkSize/4 {
		return s
	}
	items := make([]item[K], 0, n)
	for _, c := range s.chunks {
		items = append(items, c.items...)
	}
	return set[K]{appendChunks(nil, items)}.count()
}

// net sorts deltas, adds up those of one key and drops what cancels out.
func net[K ordered[K]](deltas []delta[K]) []delta[K] {
	slices.SortFunc(deltas, func(a, b delta[K]) int { return a.key.compare(b.key) })
	out := deltas[:0]
	for _, d := range deltas {
		if n := len(out); n > 0 && out[n-1].key.compare(d.key) == 0 {
			out[n-1].refs += d.refs
			if out[n-1].refs == 0 {
				out = out[:n-1]
			}
			continue
		}
		if d.refs != 0 {
			out = append(out, d)
		}
	}
	return out
}

// The keys of the sets of a service.

// addr4 and addr6 hold an address in as many bytes as it has.
type (
	addr4 [4]byte
	addr6 [16]byte
)

func (a addr4) compare(b addr4) int {
	return cmp.Compare(binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(b[:]))
}

func (a addr6) compare(b addr6) int { return bytes.Compare(a[:], b[:]) }

// target is where an SRV record points to, below the service's name.
type target struct {
	host string
	port uint16
}

func (t target) compare(u target) int {
	return cmp.Or(cmp.Compare(t.host, u.host), cmp.Compare(t.port, u.port))
}
