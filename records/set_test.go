package records

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

type number int

func (a number) compare(b number) int { return cmp.Compare(a, b) }

// check checks the invariants of a set, and returns its height.
func (s *set[K]) check(t *testing.T) int {
	t.Helper()
	var last *K
	for x := range s.all {
		if x.refs() <= 0 || last != nil && (*last).compare(x.key) >= 0 {
			t.Fatalf("item %v is not above the one before, or has no refs", x)
		}
		last = &x.key
	}
	return s.checkNode(t, true)
}

func (s *set[K]) checkNode(t *testing.T, root bool) int {
	t.Helper()
	if len(s.children) == 0 {
		if len(s.items) > maxLeafItems || len(s.items) == 0 && !root {
			t.Fatalf("a leaf has %d items", len(s.items))
		}
		return 0
	}
	if len(s.items) > 0 || len(s.children) > maxChildren || len(s.children) == 1 && root {
		t.Fatalf("an inner node has %d children and %d items", len(s.children), len(s.items))
	}
	height, end := s.children[0].checkNode(t, false), 0
	for i, k := range s.children {
		if end += k.len(); k.end != end {
			t.Fatalf("a child ends at %d, want %d", k.end, end)
		}
		if h := k.checkNode(t, false); h != height {
			t.Fatalf("two children have the heights %d and %d", height, h)
		}
		if i > 0 {
			before := s.children[i-1]
			if height == 0 && len(before.items)+len(k.items) <= maxLeafItems/2 || height > 0 && len(before.children)+len(k.children) <= maxChildren/2 {
				t.Fatalf("two neighbours are fusible: %+v", s.children)
			}
		}
	}
	return height + 1
}

// TestSet merges random deltas into a set and into a map. Old sets must stay as they were.
func TestSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{5, 1000, 5000} {
		var s set[number]
		oracle := map[number]int32{}
		var sets []set[number]
		var oracles []map[number]int32
		for range 200 {
			var deltas []delta[number]
			grow := rng.IntN(2) == 0
			for range 1 + rng.IntN(size/2) {
				key := number(rng.IntN(size))
				if grow || oracle[key] == 0 {
					oracle[key]++
					deltas = append(deltas, delta[number]{key, 1})
				} else {
					deltas = append(deltas, delta[number]{key, -oracle[key]})
					delete(oracle, key)
				}
			}
			s = s.merge(sum(deltas))
			sets, oracles = append(sets, s), append(oracles, maps.Clone(oracle))
		}
		for i, s := range sets {
			s.check(t)
			want := slices.Sorted(maps.Keys(oracles[i]))
			if s.len() != len(want) {
				t.Fatalf("set %d has %d keys, want %d", i, s.len(), len(want))
			}
			if len(want) == 0 {
				continue
			}
			start := rng.IntN(len(want))
			c := s.at(start)
			for j := range want { // once around
				key := want[(start+j)%len(want)]
				if got := c.item(); got.key != key || got.refs() != oracles[i][key] {
					t.Fatalf("set %d has the item %v, want %d with %d refs", i, got, key, oracles[i][key])
				}
				c.next()
			}
			for key := range number(size) {
				if got := s.refsOf(key); got != oracles[i][key] {
					t.Fatalf("set %d has %d refs of %d, want %d", i, got, key, oracles[i][key])
				}
			}
		}
	}
}

// TestSetRanges removes all keys of some nodes, at any depth, and most keys of others. New
// neighbours must be fused wherever they are small enough.
func TestSetRanges(t *testing.T) {
	const size = 20_000
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 6))
		var s set[number]
		var has [size]bool
		for range 15 {
			var deltas []delta[number]
			for key := range has {
				if !has[key] && rng.IntN(3) == 0 {
					has[key] = true
					deltas = append(deltas, delta[number]{number(key), 1})
				}
			}
			s = s.merge(deltas)
			s.check(t)
			for range 40 {
				deltas = deltas[:0]
				for range 1 + rng.IntN(3) {
					node, depth, keep := &s, rng.IntN(4), 9 // of ten keys
					for ; depth > 0 && len(node.children) > 0; depth-- {
						node = node.children[rng.IntN(len(node.children))].set
					}
					if depth == 0 {
						keep = rng.IntN(4)
					}
					for x := range node.all {
						if rng.IntN(10) >= keep {
							has[x.key] = false
							deltas = append(deltas, delta[number]{x.key, -1})
						}
					}
				}
				s = s.merge(sum(deltas))
				s.check(t)
			}
			for key, want := range has {
				if got := s.refsOf(number(key)) > 0; got != want {
					t.Fatalf("seed %d: the set has %d: %v, want %v", seed, key, got, want)
				}
			}
		}
	}
}

// TestSetShares checks that a change of one key copies its leaf and the inner nodes above,
// not the set.
func TestSetShares(t *testing.T) {
	var deltas []delta[number]
	for i := range number(10_000) {
		deltas = append(deltas, delta[number]{i, 1})
	}
	before := set[number]{}.merge(deltas)
	after := before.merge([]delta[number]{{5000, -1}})
	old := before.nodes(map[*set[number]]bool{})
	copied := 0
	for n := range after.nodes(map[*set[number]]bool{}) {
		if !old[n] {
			copied++
		}
	}
	if height := after.check(t); copied != height+1 {
		t.Errorf("a change of a set %d high copied %d nodes of %d", height, copied, len(old))
	}
}

// nodes adds the nodes of a set to seen.
func (s *set[K]) nodes(seen map[*set[K]]bool) map[*set[K]]bool {
	seen[s] = true
	for _, k := range s.children {
		k.nodes(seen)
	}
	return seen
}

// TestSetShrinks checks that a set whose keys are removed at random shrinks to one leaf.
func TestSetShrinks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var s set[number]
	for _, i := range rng.Perm(20_000) {
		s = s.merge([]delta[number]{{number(i), 1}})
	}
	if height := s.check(t); height < 2 {
		t.Fatalf("a set of 20,000 keys has the height %d", height)
	}
	for left, i := range rng.Perm(20_000) {
		s = s.merge([]delta[number]{{number(i), -1}})
		if n := 20_000 - left - 1; n%1000 == 0 || n < 2 {
			height := s.check(t)
			if s.len() != n || n <= maxLeafItems/2 && height > 0 {
				t.Fatalf("a set of %d keys, want %d, has the height %d", s.len(), n, height)
			}
		}
	}
}

func TestSum(t *testing.T) {
	got := sum([]delta[number]{{2, 1}, {1, 1}, {2, -1}, {3, -1}, {1, 1}, {3, -1}, {3, 1}, {4, 0}})
	if want := []delta[number]{{1, 2}, {3, -1}}; !slices.Equal(got, want) {
		t.Errorf("the sum is %v, want %v", got, want)
	}
}
