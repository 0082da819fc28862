package records

import (
	"slices"
	"testing"
)

func TestZones(t *testing.T) {
	names := []string{"cluster.local.", "in-addr.arpa.", "Prod.cluster.local.", "example.org."}
	checkZones(t, NewZones(names))
	slices.Reverse(names) // a zone within another may come before or after it
	checkZones(t, NewZones(names))
}

// TestZoneKinds checks what kind of zone each name is, and that a name that is there stays what it
// is.
func TestZoneKinds(t *testing.T) {
	ordinary := NewZones([]string{"cluster.local.", "x.example.org."})
	external := ordinary.WithExternal("example.org.", "Cluster.local.")
	zones := external.WithClustersets("clusterset.local.", "x.clusterset.local.", "EXAMPLE.org.", "clusterset.local.")
	for _, z := range []Zones{ordinary, external, zones} {
		if !slices.IsSortedFunc(z, func(a, b Zone) int { return b.labels - a.labels }) {
			t.Errorf("the zones %v are not sorted", z)
		}
	}
	if len(ordinary) != 2 || len(external) != 3 || len(zones) != 5 {
		t.Fatalf("there are %d, %d and %d zones", len(ordinary), len(external), len(zones))
	}
	for name, want := range map[string][3]bool{ // external, of a clusterset, has reverse names
		"cluster.local.": {false, false, true}, "x.example.org.": {false, false, true}, "example.org.": {true, false, false},
		"clusterset.local.": {false, true, false}, "x.clusterset.local.": {false, true, false},
	} {
		if z := zones.Match(name); z.Name != name || [3]bool{z.External, z.Clusterset, z.HasReverse()} != want {
			t.Errorf("%s is in %+v, want %v", name, z, want)
		}
	}
	roomy := slices.Grow(ordinary, 8)
	roomy.WithClustersets("a.b.clusterset.local.")
	if roomy[0].Clusterset {
		t.Error("the zones became those with a clusterset's")
	}
}

func checkZones(t *testing.T, zones Zones) {
	t.Helper()
	for name, want := range map[string]string{
		"cluster.local.":                   "cluster.local.",
		"nginx.default.svc.Cluster.LOCAL.": "cluster.local.",
		"prod.cluster.local.":              "prod.cluster.local.",
		"x.prod.cluster.local.":            "prod.cluster.local.",
		"xprod.cluster.local.":             "cluster.local.",
		"xcluster.local.":                  "",
		"local.":                           "",
		".":                                "",
		"5.1.244.10.in-addr.arpa.":         "in-addr.arpa.",
		`x\.cluster.local.`:                "",
		`x\\.cluster.local.`:               "cluster.local.",
		`\.cluster.local.`:                 "",
		`x\.prod.cluster.local.`:           "cluster.local.",
		"cluster.local.example.org.":       "example.org.",
	} {
		got := ""
		if z := zones.Match(name); z != nil {
			got = z.Name
		}
		if got != want {
			t.Errorf("%q is in zone %q, want %q", name, got, want)
		}
	}
	if z := append(zones, NewZones([]string{"."})...).Match("anything."); z == nil || z.Name != "." {
		t.Errorf("the root zone does not match every name")
	}
}

// TestNestedZones checks from which zone each zone is delegated, and which names have zones
// below them.
func TestNestedZones(t *testing.T) {
	zones := NewZones([]string{"cluster.local.", "a.b.cluster.local.", ".", "cluster.LOCAL.", "prod.cluster.local.", "x.prod.cluster.local.", "xcluster.local."})
	if len(zones) != 6 {
		t.Errorf("there are %d zones, want 6", len(zones))
	}
	for name, want := range map[string]string{
		".": "", "cluster.local.": ".", "xcluster.local.": ".", "a.b.cluster.local.": "cluster.local.",
		"prod.cluster.local.": "cluster.local.", "x.prod.cluster.local.": "prod.cluster.local.",
	} {
		got := ""
		if parent := zones.Parent(zones.Match(name)); parent != nil {
			got = parent.Name
		}
		if got != want {
			t.Errorf("%s is delegated from %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]bool{
		".": true, "local.": true, "LOCAL.": true, "cluster.local.": true, "B.cluster.local.": true, "prod.cluster.local.": true,
		"a.b.cluster.local.": false, "uster.local.": false, "c.cluster.local.": false, "org.": false,
	} {
		if got := zones.Below(name); got != want {
			t.Errorf("Below(%s) is %v, want %v", name, got, want)
		}
	}
	if NewZones([]string{"."}).Below(".") {
		t.Error("the root zone is below itself")
	}
}
