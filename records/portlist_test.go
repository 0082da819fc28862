package records

import (
	"slices"
	"testing"
)

// TestPortListEqual checks which lists are equal.
func TestPortListEqual(t *testing.T) {
	reversed := slices.Clone(manyPorts(100).ports)
	slices.Reverse(reversed)
	other := slices.Clone(reversed)
	other[50].Number++
	renamed := slices.Clone(reversed)
	renamed[50].Name, renamed[50].Protocol = "t", "cpp50"
	lazy := func(id string) *PortList { return NewLazyPortList([]byte(id), nil) }
	for _, test := range []struct {
		what string
		a, b *PortList
		want bool
	}{
		{"none", nil, NewPortList(nil), true},
		{"none and one", nil, universePorts[1], false},
		{"one and none", universePorts[1], nil, false},
		{"short", universePorts[1], NewPortList([]Port{{"web", "tcp", 80}}), true},
		{"another number", universePorts[1], universePorts[2], false},
		{"long, in another order", manyPorts(100), NewPortList(reversed), true},
		{"long, another number", manyPorts(100), NewPortList(other), false},
		{"long, another name", manyPorts(100), NewPortList(renamed), false},
		{"long, one more", manyPorts(100), manyPorts(101), false},
		{"lazy", lazy("a"), lazy("a"), true},
		{"lazy, another id", lazy("a"), lazy("b"), false},
		{"short and long", manyPorts(maxShortPorts), manyPorts(maxShortPorts + 1), false},
	} {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("%s: equal is %v, want %v", test.what, got, test.want)
		}
	}
}
