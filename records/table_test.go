package records

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

type word string

func (w word) key() string { return string(w) }

// TestTable runs random edits on a table and on a map. Old tables must keep what
// they had.
func TestTable(t *testing.T) {
	for _, mask := range []uint64{^uint64(0), 3, 0} { // all hashes, few, one
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			narrowHash(t, mask)
			rng := rand.New(rand.NewPCG(1, mask))
			type version struct {
				table  table[word]
				oracle map[string]bool
			}
			v := version{oracle: map[string]bool{}}
			versions := []version{v}
			for range 300 {
				edit := v.table.edit()
				oracle := maps.Clone(v.oracle)
				for range 1 + rng.IntN(20) {
					w := word(fmt.Sprint("host-", rng.IntN(400)))
					if rng.IntN(3) == 0 {
						edit.delete(string(w))
						delete(oracle, string(w))
					} else {
						edit.set(w)
						oracle[string(w)] = true
					}
					if _, ok := edit.get(string(w)); ok != oracle[string(w)] {
						t.Fatalf("the editor has %q: %v", w, ok)
					}
				}
				v = version{edit.table, oracle}
				versions = append(versions, v)
			}
			for i, v := range versions {
				if v.table.n != len(v.oracle) {
					t.Fatalf("version %d has %d values, want %d", i, v.table.n, len(v.oracle))
				}
				for j := range 400 {
					label := fmt.Sprint("host-", j)
					if got, ok := v.table.get([]byte(label)); ok != v.oracle[label] || ok && string(got) != label {
						t.Fatalf("version %d has %q under %q (%v), want %v", i, got, label, ok, v.oracle[label])
					}
				}
				seen := map[string]bool{}
				for w := range v.table.all {
					seen[string(w)] = true
				}
				if !maps.Equal(seen, v.oracle) {
					t.Fatalf("version %d yields %d values, want %d", i, len(seen), len(v.oracle))
				}
			}
		})
	}
}

// narrowHash makes labels collide for the time of a test.
func narrowHash(t *testing.T, mask uint64) {
	t.Helper()
	old := hashMask
	hashMask = mask
	t.Cleanup(func() { hashMask = old })
}
