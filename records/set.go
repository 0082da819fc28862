package records

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// A change of a set copies one leaf and the nodes above it. With these sizes that
// is about a kilobyte, however large the set is.
const (
	maxLeafItems = 64 // items in a leaf, at most
	maxChildren  = 32 // kids of a node, at most
)

// ordered is a value with a total order.
type ordered[K any] interface{ compare(K) int }

// set is an immutable ordered multiset: a tree with the items in its leaves, all
// of which are equally deep (a B+ tree). It is sorted, so that an item is found,
// and a change merged in, without an index of positions; and each node knows how
// many items end with each of its kids, so that a reader can start anywhere.
//
// Neighbours are joined when together they are half full or less, so that no
// sequence of deletions leaves a set in pieces. The zero set is empty.
type set[K ordered[K]] struct {
	items    []item[K]  // of a leaf
	children []child[K] // of any other node
}

type child[K ordered[K]] struct {
	*set[K]
	end int // items up to the end of this kid
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
func (s *set[K]) len() int {
	if n := len(s.children); n > 0 {
		return s.children[n-1].end
	}
	return len(s.items)
}

// first is the lowest key of a set that is not empty.
func (s *set[K]) first() K {
	for len(s.children) > 0 {
		s = s.children[0].set
	}
	return s.items[0].key
}

// search returns the position of the first key that is not below key.
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

// kidOf returns the index of the kid that key is in or would go to: the last one
// that starts at or below it, or else the first.
func (s *set[K]) childFor(key K) int {
	return max(0, sort.Search(len(s.children), func(i int) bool { return s.children[i].first().compare(key) > 0 })-1)
}

// refsOf returns how many endpoints key stands for.
func (s *set[K]) refsOf(key K) int32 {
	if i := s.search(key); i < s.len() {
		c := s.at(i)
		if x := c.item(); x.key.compare(key) == 0 {
			return x.refs
		}
	}
	return 0
}

// all yields every item in order.
func (s *set[K]) all(yield func(item[K]) bool) { s.walk(yield) }

func (s *set[K]) walk(yield func(item[K]) bool) bool {
	for _, k := range s.children {
		if !k.walk(yield) {
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

// at returns a cursor that stands on position i, which must exist.
func (s *set[K]) at(i int) cursor[K] {
	c := cursor[K]{set: s, position: i}
	c.leaf, c.index = s.leafAt(i)
	return c
}

// leafAt returns the leaf with position i, and where in the leaf that is.
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

// cursor walks a set from anywhere, around its end.
type cursor[K ordered[K]] struct {
	set      *set[K]
	position int
	leaf     []item[K]
	index    int // in the leaf
}

func (c *cursor[K]) item() *item[K] { return &c.leaf[c.index] }

func (c *cursor[K]) next() {
	c.index++
	c.position++
	if c.index == len(c.leaf) {
		if c.position == c.set.len() {
			c.position = 0
		}
		c.leaf, c.index = c.set.leafAt(c.position)
	}
}

// merge returns the set with the deltas applied, which are sorted and have a key
// once (see net). A key whose refs fall to zero leaves the set.
func (s set[K]) merge(deltas []delta[K]) set[K] {
	if len(deltas) == 0 {
		return s
	}
	if len(s.children) == 0 {
		if items := mergeItems(s.items, deltas); len(items) <= maxLeafItems {
			return set[K]{items: items}
		}
	}
	nodes := s.mergeInto(make([]*set[K], 0, 2), deltas)
	for len(nodes) > 1 {
		nodes = appendParents(nil, nodes)
	}
	if len(nodes) == 0 {
		return set[K]{}
	}
	root := nodes[0]
	for len(root.children) == 1 {
		root = root.children[0].set
	}
	return *root
}

// edit appends to out the nodes, as deep as s, that have its items with the
// deltas applied.
func (s *set[K]) mergeInto(out []*set[K], deltas []delta[K]) []*set[K] {
	if len(s.children) == 0 {
		return appendLeaves(out, mergeItems(s.items, deltas))
	}
	done := len(out)
	i, n := s.route(deltas)
	out = s.children[i].mergeInto(out, deltas[:n])
	if n == len(deltas) && len(out) == done+1 {
		// One kid has changed into one. Nearly always it stays where it is.
		if changed := s.withChild(i, out[done]); changed != nil {
			out[done] = changed
			return out
		}
	}
	kids := make([]*set[K], 0, len(s.children)+len(out)-done)
	for at, k := range s.children {
		if at != i {
			kids = appendFused(kids, k.set)
			continue
		}
		for _, changed := range out[done:] {
			kids = appendFused(kids, changed)
		}
		if deltas = deltas[n:]; len(deltas) > 0 {
			i, n = s.route(deltas)
			out = s.children[i].mergeInto(out[:done], deltas[:n])
		}
	}
	return appendParents(out[:done], kids)
}

// next returns the kid that the first of the deltas is for, and how many are.
func (s *set[K]) route(deltas []delta[K]) (i, n int) {
	i = s.childFor(deltas[0].key)
	if i+1 == len(s.children) {
		return i, len(deltas)
	}
	limit := s.children[i+1].first()
	return i, sort.Search(len(deltas), func(d int) bool { return deltas[d].key.compare(limit) >= 0 })
}

// replace returns the node with another kid in the i-th place, or nil if that
// kid is to be fused with a neighbour.
func (s *set[K]) withChild(i int, k *set[K]) *set[K] {
	if i > 0 && fusible(s.children[i-1].set, k) || i+1 < len(s.children) && fusible(k, s.children[i+1].set) {
		return nil
	}
	grown := k.len() - s.children[i].len()
	changed := &set[K]{children: slices.Clone(s.children)}
	changed.children[i].set = k
	for j := range changed.children[i:] {
		changed.children[i+j].end += grown
	}
	return changed
}

// fusible tells whether two neighbours are half full together at most.
func fusible[K ordered[K]](a, b *set[K]) bool {
	if len(a.children) == 0 {
		return len(a.items)+len(b.items) <= maxLeafItems/2
	}
	return len(a.children)+len(b.children) <= maxChildren/2
}

// fuse returns two neighbours as one node if they are fusible, else nil.
func fuse[K ordered[K]](a, b *set[K]) *set[K] {
	if !fusible(a, b) {
		return nil
	}
	if len(a.children) == 0 {
		return &set[K]{items: slices.Concat(a.items, b.items)}
	}
	kids := make([]*set[K], 0, len(a.children)+len(b.children))
	for _, k := range a.children {
		kids = append(kids, k.set)
	}
	for _, k := range b.children {
		kids = appendFused(kids, k.set) // the first is a new neighbour of the last of a
	}
	return appendParents(nil, kids)[0]
}

// push appends a node to others of its level. It fuses it with the last of them
// if they are fusible.
func appendFused[K ordered[K]](nodes []*set[K], k *set[K]) []*set[K] {
	if n := len(nodes); n > 0 {
		if both := fuse(nodes[n-1], k); both != nil {
			nodes[n-1] = both
			return nodes
		}
	}
	return append(nodes, k)
}

// raise appends to out as few nodes as have the kids, of even size: they are one
// level above.
func appendParents[K ordered[K]](out []*set[K], kids []*set[K]) []*set[K] {
	if len(kids) == 0 {
		return out
	}
	n := (len(kids) + maxChildren - 1) / maxChildren
	for part := range slices.Chunk(kids, (len(kids)+n-1)/n) {
		node := &set[K]{children: make([]child[K], len(part))}
		end := 0
		for i, k := range part {
			end += k.len()
			node.children[i] = child[K]{k, end}
		}
		out = append(out, node)
	}
	return out
}

// cutLeaves appends to out as few leaves as have the items, of even size.
func appendLeaves[K ordered[K]](out []*set[K], items []item[K]) []*set[K] {
	if len(items) == 0 {
		return out
	}
	n := (len(items) + maxLeafItems - 1) / maxLeafItems
	for part := range slices.Chunk(items, (len(items)+n-1)/n) {
		out = append(out, &set[K]{items: slices.Clip(part)})
	}
	return out
}

// apply merges sorted deltas into sorted items.
func mergeItems[K ordered[K]](items []item[K], deltas []delta[K]) []item[K] {
	out := make([]item[K], 0, len(items)+len(deltas))
	for len(deltas) > 0 {
		d := deltas[0]
		i := sort.Search(len(items), func(i int) bool { return items[i].key.compare(d.key) >= 0 })
		out = append(out, items[:i]...)
		items, deltas = items[i:], deltas[1:]
		if len(items) > 0 && items[0].key.compare(d.key) == 0 {
			d.refs += items[0].refs
			items = items[1:]
		}
		if d.refs > 0 {
			out = append(out, item[K](d))
		}
	}
	return append(out, items...)
}

// net sorts deltas, adds up those of one key and drops what cancels out.
func sum[K ordered[K]](deltas []delta[K]) []delta[K] {
	if len(deltas) > 1 {
		slices.SortFunc(deltas, func(a, b delta[K]) int { return a.key.compare(b.key) })
	}
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

// hostID stands for a host label within a service: its hash, and 16 bits that
// differ between labels with one hash. It takes half the memory of a string, and
// the collector does not look at it.
type hostID uint64

func newHostID(hash uint32, seq uint16) hostID { return hostID(hash)<<16 | hostID(seq) }

// maxHostID is above all ids.
const endHostID = hostID(1 << 48)

func (h hostID) hash() uint32 { return uint32(h >> 16) }
func (h hostID) seq() uint16  { return uint16(h) }

// target is where an SRV record points to: a host and a port. It is in halves, for
// an item to have twelve bytes rather than sixteen.
type target struct{ hash, rest uint32 }

func newTarget(host hostID, port uint16) target {
	return target{host.hash(), uint32(host.seq())<<16 | uint32(port)}
}

func (t target) host() hostID { return newHostID(t.hash, uint16(t.rest>>16)) }
func (t target) port() uint16 { return uint16(t.rest) }
func (t target) compare(u target) int {
	return cmp.Compare(uint64(t.hash)<<32|uint64(t.rest), uint64(u.hash)<<32|uint64(u.rest))
}
