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

// check verifies what every set promises.
func (s set[K]) check(t *testing.T) {
	t.Helper()
	n := 0
	var last *K
	for _, c := range s.chunks {
		if len(c.items) == 0 || len(c.items) > chunkSize {
			t.Fatalf("a chunk has %d items", len(c.items))
		}
		n += len(c.items)
		if c.end != n {
			t.Fatalf("a chunk ends at %d, want %d", c.end, n)
		}
		for _, x := range c.items {
			if x.refs <= 0 || last != nil && (*last).compare(x.key) >= 0 {
				t.Fatalf("item %v is out of order or stands for nothing", x)
			}
			last = &x.key
		}
	}
	if len(s.chunks) > 1 && n < len(s.chunks)*chunkSize/4 {
		t.Fatalf("%d items lie in %d chunks", n, len(s.chunks))
	}
}

// TestSet merges random deltas into a set and into a map. Old sets must keep what
// they had.
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
			s = s.merge(net(deltas))
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
				if got := c.item(); got.key != key || got.refs != oracles[i][key] {
					t.Fatalf("set %d has %v, want %d of %d", i, got, oracles[i][key], key)
				}
				c.next()
			}
			for key := range number(size) {
				if got := s.refsOf(key); got != oracles[i][key] {
					t.Fatalf("set %d has %d of %d, want %d", i, got, key, oracles[i][key])
				}
			}
		}
	}
}

// One endpoint's change copies what holds it, not the set.
func TestSetShares(t *testing.T) {
	var deltas []delta[number]
	for i := range number(10_000) {
		deltas = append(deltas, delta[number]{i, 1})
	}
	before := set[number]{}.merge(deltas)
	after := before.merge([]delta[number]{{5000, -1}})
	copied := 0
	for i := range after.chunks {
		if &after.chunks[i].items[0] != &before.chunks[i].items[0] {
			copied++
		}
	}
	if copied != 1 || len(after.chunks) != len(before.chunks) {
		t.Errorf("a change copied %d chunks of %d, want 1", copied, len(before.chunks))
	}
}

func TestNet(t *testing.T) {
	got := net([]delta[number]{{2, 1}, {1, 1}, {2, -1}, {3, -1}, {1, 1}, {3, -1}, {3, 1}, {4, 0}})
	if want := []delta[number]{{1, 2}, {3, -1}}; !slices.Equal(got, want) {
		t.Errorf("net is %v, want %v", got, want)
	}
}
