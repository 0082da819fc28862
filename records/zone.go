package records

import "strings"

// Zones are the zones of a server, the longest first.
type Zones []Zone

// Zone is the apex that names are matched against.
type Zone struct {
	Name    string // fully qualified, lower case
	Reverse bool   // in in-addr.arpa or ip6.arpa
	labels  int
}

// Labels is the number of labels of the zone's name.
func (z *Zone) Labels() int { return z.labels }

// NewZones returns the zones with the given names, fully qualified.
func NewZones(names []string) Zones {
	zones := make(Zones, 0, len(names))
	for _, name := range names {
		var n Name
		n.Fold(name)
		z := Zone{Name: string(n.text[:n.length]), labels: n.labels}
		z.Reverse = n.labels >= 2 && (string(n.Suffix(1)) == "in-addr.arpa." || string(n.Suffix(1)) == "ip6.arpa.")
		at := 0
		for at < len(zones) && zones[at].labels >= z.labels {
			at++
		}
		zones = append(zones[:at], append(Zones{z}, zones[at:]...)...)
	}
	return zones
}

// Match returns the zone that qname is in, the most specific one, or nil. Most of
// what a server is asked for is in no zone of ours, so it looks at qname from its
// end on, no further than it must.
func (zs Zones) Match(qname string) *Zone {
	for i := range zs {
		if z := &zs[i]; z.labels == 0 || hasSuffix(qname, z.Name) && separated(qname, len(qname)-len(z.Name)) {
			return z
		}
	}
	return nil
}

// hasSuffix tells whether qname ends with suffix, which is in lower case.
func hasSuffix(qname, suffix string) bool {
	if len(qname) < len(suffix) {
		return false
	}
	end := qname[len(qname)-len(suffix):]
	for i := len(end) - 1; i >= 0; i-- {
		if lower(end[i]) != suffix[i] {
			return false
		}
	}
	return true
}

// separated tells whether a label of qname begins at i: it follows no other, or a
// dot that is not escaped.
func separated(qname string, i int) bool {
	if i == 0 || qname[i-1] != '.' {
		return i == 0
	}
	before := strings.TrimRight(qname[:i-1], `\`)
	return (i-1-len(before))%2 == 0
}
