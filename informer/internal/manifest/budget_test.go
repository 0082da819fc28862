//go:build !race

package manifest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/headless-dns/headless/informer/internal/selection"
)

// TestBudget checks that a list is decoded item by item: the memory for an item is
// bounded, and close to zero for an item after an error. The race detector allocates
// more.
func TestBudget(t *testing.T) {
	sel, err := selection.New(selection.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const short, long = 4000, 8000 // items; both lists are long enough to be split
	asJSON := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"apiVersion":"v1","items":[null`)
		for i := range n {
			fmt.Fprintf(&b, `,{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"text":"%s"},"labels":{"app":"nginx"},"name":"web-%d"},"spec":{"hostname":"web-%[2]d"}}`,
				strings.Repeat("x", 500), i)
		}
		return b.String() + `],"kind":"List"}`
	}
	for _, test := range []struct {
		what        string
		short, long string
		null        string // the item that is replaced by an invalid one for an error
		each, rest  int    // bytes for an item, and for one after an error
	}{
		{"YAML", listOf(short, ""), listOf(long, ""), "items:\n- null\n", 60_000, 100},
		{"JSON", asJSON(short), asJSON(long), "[null", 10_000, 10},
	} {
		perItem := func(change func(string) string, fails bool) int {
			var allocated [2]uint64
			for i, text := range []string{test.short, test.long} {
				data := []byte(change(text))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := parse(data, sel)
				runtime.ReadMemStats(&after)
				if (err != nil) != fails {
					t.Fatalf("%s: %v", test.what, err)
				}
				allocated[i] = after.TotalAlloc - before.TotalAlloc
			}
			return (int(allocated[1]) - int(allocated[0])) / (long - short)
		}
		if got := perItem(func(text string) string { return text }, false); got > test.each {
			t.Errorf("%s: %d bytes are allocated for an item, want at most %d", test.what, got, test.each)
		}
		broken := strings.Replace(test.null, "null", "7", 1)
		if got := perItem(func(text string) string {
			text = strings.Replace(text, "items:\n-", "items:\n- null\n-", 1)
			return strings.Replace(text, test.null, broken, 1)
		}, true); got > test.rest {
			t.Errorf("%s: %d bytes are allocated for an item that is not reached, want at most %d", test.what, got, test.rest)
		}
	}
}
