package records

import (
	"cmp"
	"slices"
	"testing"
)

// TestSortByShard compares with a stable sort.
func TestSortByShard(t *testing.T) {
	for _, n := range []int{0, 1, minDealt - 1, minDealt, 5000} {
		deltas := make([]entry[addr4], n)
		for i := range deltas {
			deltas[i] = entry[addr4]{addr: ipv4(i * 7919 % 50).As4(), refs: int32(i)}
		}
		want := slices.Clone(deltas)
		slices.SortStableFunc(want, func(a, b entry[addr4]) int {
			return cmp.Or(cmp.Compare(a.hash()>>24, b.hash()>>24), a.addr.compare(b.addr))
		})
		if got := sortByShard(deltas); !slices.Equal(got, want) {
			t.Errorf("%d deltas are not sorted", n)
		}
	}
}
