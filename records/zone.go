package records

import (
	"slices"
	"strings"
)

// Zones are the zones of a server, those with most labels first.
type Zones []Zone

// Zone is a zone of the server. [NewZones] makes it.
type Zone struct {
	Name    string // of the apex: fully qualified, in lower case
	Reverse bool   // at or below in-addr.arpa or ip6.arpa
	// External: namespaces are right below the apex, without "svc" between them, and only
	// services have names that [Update.SetExternal] chose.
	External bool
	// Clusterset: the zone has the services of several clusters. Its trie is a [NewClusterset].
	Clusterset bool
	labels     int // of Name
}

// HasReverse reports whether the reverse name of an address below the apex is the name of that
// address. It is not in external zones and in those of a clusterset.
func (z *Zone) HasReverse() bool { return !z.External && !z.Clusterset }

// Labels returns the number of labels of the apex.
func (z *Zone) Labels() int { return z.labels }

// Service returns the position of the namespace's label in a name of the zone that has the form
// of a service's name or of one below it. The service's label is next. Below an external apex,
// ns.dns is no service but the zone's name server.
func (z *Zone) Service(n *Name) (namespace int, ok bool) {
	if z.External {
		at := z.labels
		return at, n.labels >= at+2 && (string(n.Label(at)) != nameServer.Namespace || string(n.Label(at+1)) != nameServer.Name)
	}
	return z.labels + 1, n.labels >= z.labels+3 && string(n.Label(z.labels)) == svc
}

// suffix returns what follows the namespace in the names of services.
func (z *Zone) suffix() string {
	if z.External {
		return z.Name
	}
	return joinLabels(svc, z.Name)
}

// NewZones returns the zones with the names, each once. The names must be fully qualified.
func NewZones(names []string) Zones { return Zones{}.with(names, Zone{}) }

// WithExternal returns the zones and the external ones with the names. A name that is there
// already stays what it is. The names must be fully qualified.
func (zs Zones) WithExternal(names ...string) Zones { return zs.with(names, Zone{External: true}) }

// WithClustersets is WithExternal for the zones of clustersets.
func (zs Zones) WithClustersets(names ...string) Zones {
	return zs.with(names, Zone{Clusterset: true})
}

// with returns the zones and those with the names that are not there, which are of a kind.
func (zs Zones) with(names []string, kind Zone) Zones {
	zones := slices.Clone(zs)
	for _, name := range names {
		var n Name
		n.Fold(name)
		z := kind
		z.Name, z.labels = string(n.text[:n.length]), n.labels
		z.Reverse = n.labels >= 2 && (string(n.suffix(1)) == "in-addr.arpa." || string(n.suffix(1)) == "ip6.arpa.")
		if slices.ContainsFunc(zones, func(other Zone) bool { return other.Name == z.Name }) {
			continue
		}
		at := 0
		for at < len(zones) && zones[at].labels >= z.labels {
			at++
		}
		zones = slices.Insert(zones, at, z)
	}
	return zones
}

// Match returns the zone that qname is in, the most specific one, or nil. Most queries
// are for names in no zone, so Match reads qname from its end, no further than it must.
func (zs Zones) Match(qname string) *Zone {
	for i := range zs {
		if z := &zs[i]; z.labels == 0 || hasSuffix(qname, z.Name) && startsLabel(qname, len(qname)-len(z.Name)) {
			return z
		}
	}
	return nil
}

// MatchName is Match for a name that was folded. Escaped dots separate no labels.
func (zs Zones) MatchName(n *Name) *Zone {
	for i := range zs {
		z := &zs[i]
		if z.labels == 0 || z.labels == n.labels && string(n.text[:n.length]) == z.Name ||
			z.labels < n.labels && string(n.suffix(z.labels-1)) == z.Name {
			return z
		}
	}
	return nil
}

// Parent returns the zone that z is delegated from: the most specific one above it,
// or nil.
func (zs Zones) Parent(z *Zone) *Zone {
	for i := range zs {
		if parent := &zs[i]; parent.labels < z.labels && zs[i:i+1].Match(z.Name) != nil {
			return parent
		}
	}
	return nil
}

// Below reports whether a zone is below the name. If so, and the name has no records, it
// is an empty non-terminal (RFC 4592, section 2.2.2).
func (zs Zones) Below(name string) bool {
	for i := range zs {
		z := zs[i].Name
		if at := len(z) - len(name); at > 0 && (name == "." || strings.EqualFold(z[at:], name) && startsLabel(z, at)) {
			return true
		}
	}
	return false
}

// hasSuffix reports whether qname ends with suffix, which must be in lower case.
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

// startsLabel reports whether a label of qname starts at i: at the start of qname, or
// after a dot that is not escaped.
func startsLabel(qname string, i int) bool {
	if i == 0 || qname[i-1] != '.' {
		return i == 0
	}
	before := strings.TrimRight(qname[:i-1], `\`)
	return (i-1-len(before))%2 == 0
}
