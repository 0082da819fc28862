package records

import "github.com/miekg/dns"

// Labels of zonal names: the records of ZONE.pin._zone.SERVICE are those of the service's
// endpoints in a topology zone, and with "prefer" those of all if the zone has none. ZONE may be
// several labels.
const (
	zoneLabel   = "_zone"
	pinLabel    = "pin"
	preferLabel = "prefer"
)

// EnableZones makes [Trie.Find] find zonal names, but not in a clusterset. It must be called before
// the first lookup.
func (t *Trie) EnableZones() { t.zonal = !t.clusterset }

// ZonalName is a zonal name, or a name above one. Its slices share the memory of the [Name].
type ZonalName struct {
	Directive []byte // "pin" or "prefer"; empty if nothing is left of the label "_zone"
	Zone      []byte // a topology zone in lower case; empty if nothing is left of the directive
	// Protocol and Port are those of the name of a port or a protocol, without their underscores;
	// else empty.
	Protocol, Port []byte
}

// Zonal parses a name with the label "_zone" below a service. The last service labels of the name
// are the name of the service. Zonal reports whether the name has the form of a zonal name, or of
// a name above one. The first two labels are a port and a protocol if both begin with an
// underscore, as no topology zone begins with one: it is the value of a label of Kubernetes.
func (n *Name) Zonal(service int) (z ZonalName, ok bool) {
	at := service
	if n.Len() <= at || string(n.Label(at)) != zoneLabel {
		return z, false
	}
	if at++; at == n.Len() {
		return z, true
	}
	z.Directive = n.Label(at)
	if d := string(z.Directive); d != pinLabel && d != preferLabel {
		return z, false
	}
	first, last := at+1, n.Len()-1 // labels of the zone
	if first > last {
		return z, true
	}
	if isUnderscored(n.Label(last)) {
		z.Protocol = n.Label(last)[1:]
		last--
		if last >= first && isUnderscored(n.Label(last)) {
			z.Port, z.Protocol = z.Protocol, n.Label(last)[1:]
			last--
		}
	}
	if first > last {
		return z, false
	}
	z.Zone = n.labelsBetween(first, last)
	return z, len(z.Zone) == 0 || z.Zone[0] != '_' // it is empty in a name that Fold has cut
}

// findZonal finds a zonal name below the service of the node.
func (n *Node) findZonal(name *Name, service int) Result {
	z, ok := name.Zonal(service)
	switch {
	case !ok:
		return Missing
	case len(z.Zone) == 0:
		n.nonTerminal = true
	case len(z.Port) > 0:
		if n.port = n.portNamed(z.Protocol, z.Port); n.port == nil {
			return Missing
		}
	case len(z.Protocol) > 0:
		if !n.hasProtocol(z.Protocol) {
			return Missing
		}
		n.nonTerminal = true
	}
	n.found = true
	if n.nonTerminal {
		return Found
	}
	n.zone = n.zoneNamed(z.Zone)
	if n.zone == noZone || !n.zoneHasRecords() {
		n.zone = noZone
		n.nonTerminal = string(z.Directive) == pinLabel
	}
	return Found
}

// zoneHasRecords reports whether the name has an endpoint in its zone.
func (n *Node) zoneHasRecords() bool {
	if n.port != nil {
		var one [1]targetRange
		ranges, _ := n.targetRanges(one[:0])
		return len(ranges) > 0
	}
	v4, v6 := n.members4(&n.allAddrs), n.members6(&n.allAddrs)
	return v4.len()+v6.len() > 0
}

// denyZonal completes the denial d of a zonal name. It returns the denial rather than writing it
// through a pointer, which would move the name of every query to the heap.
func (n *Node) denyZonal(d Denial, name *Name, service int, qtype uint16) Denial {
	z, ok := name.Zonal(service)
	if !ok {
		d.Cause = NoSuchName
		return d
	}
	d.Protocol, d.Port = z.Protocol, z.Port
	if n.zone != noZone || n.nonTerminal {
		d.Zone = z.Zone
	}
	isPort := len(z.Port) > 0
	emptyZone := n.nonTerminal && (isPort || len(z.Protocol) == 0)
	switch {
	case !n.found:
		n.denyPort(&d)
	case len(z.Zone) == 0:
		d.Cause = OnlyZones
	case !emptyZone:
		n.denyType(&d, qtype)
	case isPort && qtype != dns.TypeSRV:
		d.Cause = OnlySRV
	case qtype != dns.TypeA && qtype != dns.TypeAAAA && qtype != dns.TypeSRV:
		d.Cause = OtherTypes
	default:
		d.Cause = NoZone
	}
	return d
}
