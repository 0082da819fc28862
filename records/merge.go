package records

import (
	"slices"
	"sort"
)

// delta is a change of the number of endpoints behind a key.
type delta[K ordered[K]] struct {
	key  K
	refs int32
}

// sum sorts the deltas, adds up those of each key and drops those that sum to zero.
// The result shares the memory of deltas.
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

// merge returns the set with the deltas applied, which must be sorted and have each
// key once, as sum leaves them. The key of a delta replaces the equal key in the set.
// A key whose refs fall to zero leaves the set.
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

// mergeInto appends to out the nodes that replace s: as deep as s, with its items and
// the deltas applied.
func (s *set[K]) mergeInto(out []*set[K], deltas []delta[K]) []*set[K] {
	if len(s.children) == 0 {
		return appendLeaves(out, mergeItems(s.items, deltas))
	}
	done := len(out)
	i, n := s.route(deltas)
	out = s.children[i].mergeInto(out, deltas[:n])
	if n == len(deltas) && len(out) == done+1 {
		// Fast path: one child changed and did not split.
		if node := s.withChild(i, out[done]); node != nil {
			out[done] = node
			return out
		}
	}
	children := make([]*set[K], 0, len(s.children)+len(out)-done)
	for at, c := range s.children {
		if at != i {
			children = appendFused(children, c.set)
			continue
		}
		for _, changed := range out[done:] {
			children = appendFused(children, changed)
		}
		if deltas = deltas[n:]; len(deltas) > 0 {
			i, n = s.route(deltas)
			out = s.children[i].mergeInto(out[:done], deltas[:n])
		}
	}
	return appendParents(out[:done], children)
}

// route returns the child that the first delta is for, and how many deltas are for
// that child.
func (s *set[K]) route(deltas []delta[K]) (i, n int) {
	i = s.childFor(deltas[0].key)
	if i+1 == len(s.children) {
		return i, len(deltas)
	}
	limit := s.children[i+1].first()
	return i, sort.Search(len(deltas), func(d int) bool { return deltas[d].key.compare(limit) >= 0 })
}

// withChild returns a copy of the node with c as its i-th child, or nil if c must be
// fused with a neighbour.
func (s *set[K]) withChild(i int, c *set[K]) *set[K] {
	if i > 0 && fusible(s.children[i-1].set, c) || i+1 < len(s.children) && fusible(c, s.children[i+1].set) {
		return nil
	}
	grown := c.len() - s.children[i].len()
	node := &set[K]{children: slices.Clone(s.children)}
	node.children[i].set = c
	for j := range node.children[i:] {
		node.children[i+j].end += grown
	}
	return node
}

// fusible reports whether two neighbours are half full together, or less.
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
	children := make([]*set[K], 0, len(a.children)+len(b.children))
	for _, c := range a.children {
		children = append(children, c.set)
	}
	for _, c := range b.children {
		children = appendFused(children, c.set) // the first has a new neighbour, the last of a
	}
	return appendParents(nil, children)[0]
}

// appendFused appends a node to nodes of its level, or fuses it with the last of them.
func appendFused[K ordered[K]](nodes []*set[K], node *set[K]) []*set[K] {
	if n := len(nodes); n > 0 {
		if fused := fuse(nodes[n-1], node); fused != nil {
			nodes[n-1] = fused
			return nodes
		}
	}
	return append(nodes, node)
}

// appendParents appends to out as few inner nodes as can hold the children, which it
// divides evenly.
func appendParents[K ordered[K]](out []*set[K], children []*set[K]) []*set[K] {
	if len(children) == 0 {
		return out
	}
	n := (len(children) + maxChildren - 1) / maxChildren
	for part := range slices.Chunk(children, (len(children)+n-1)/n) {
		node := &set[K]{children: make([]child[K], len(part))}
		end := 0
		for i, c := range part {
			end += c.len()
			node.children[i] = child[K]{c, end}
		}
		out = append(out, node)
	}
	return out
}

// appendLeaves appends to out as few leaves as can hold the items, which it divides
// evenly.
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

// mergeItems returns the items with the deltas applied. Both are sorted.
func mergeItems[K ordered[K]](items []item[K], deltas []delta[K]) []item[K] {
	out := make([]item[K], 0, len(items)+len(deltas))
	for len(deltas) > 0 {
		d := deltas[0]
		i := sort.Search(len(items), func(i int) bool { return items[i].key.compare(d.key) >= 0 })
		out = append(out, items[:i]...)
		items, deltas = items[i:], deltas[1:]
		if len(items) > 0 && items[0].key.compare(d.key) == 0 {
			d.refs += items[0].refs()
			items = items[1:]
		}
		if d.refs > 0 {
			out = append(out, item[K]{d.key, newCount(d.refs)})
		}
	}
	return append(out, items...)
}
