package records

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

type word string

func (w word) hash() uint32 { return hashString(string(w)) }

// index returns the index in its bucket of the value for which is reports true, or -1.
func (t *table[V]) index(hash uint32, is func(V) bool) int {
	return slices.IndexFunc(t.bucket(hash), is)
}

// TestTable makes random edits of a table and of a map. Old tables must stay as they were.
func TestTable(t *testing.T) {
	for _, mask := range []uint32{^uint32(0), 3, 0} { // all hashes, few, one
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			setHashMask(t, mask)
			rng := rand.New(rand.NewPCG(1, uint64(mask)))
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
					is := func(v word) bool { return v == w }
					at := edit.index(w.hash(), is)
					if (at >= 0) != oracle[string(w)] {
						t.Fatalf("the editor has %q at index %d, want it present: %t", w, at, oracle[string(w)])
					}
					switch {
					case rng.IntN(3) == 0 && at >= 0:
						edit.remove(w.hash(), at)
						delete(oracle, string(w))
					case at >= 0:
						(*edit.mutable(w.hash()))[at] = w
					default:
						edit.add(w)
						oracle[string(w)] = true
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
					w := word(fmt.Sprint("host-", j))
					if at := v.table.index(w.hash(), func(v word) bool { return v == w }); (at >= 0) != v.oracle[string(w)] {
						t.Fatalf("version %d has %q at index %d, want it present: %t", i, w, at, v.oracle[string(w)])
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
