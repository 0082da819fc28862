package records

// Labels of zonal names: the records of ZONE.pin._zone.SERVICE are those of the service's
// endpoints in a topology zone, and with "prefer" those of all if the zone has none. ZONE may be
// several labels.
const (
	zoneLabel   = "_zone"
	pinLabel    = "pin"
	preferLabel = "prefer"
)

// EnableZones makes [Trie.Find] find zonal names. It must be called before the first lookup.
func (t *Trie) EnableZones() { t.zonal = true }

// zonalName is what is left of the label [zoneLabel] in a zonal name. Its slices share the memory
// of the name.
type zonalName struct {
	directive []byte // empty if nothing is left of the label
	zone      []byte // empty if nothing is left of the directive
	// Of the name of a port or a protocol, with the underscores; else empty.
	protocol, port []byte
}

// parseZonal parses a name with the label [zoneLabel] below a service. It reports whether the name
// may exist. As no topology zone has a label that begins with an underscore, those that do are a
// port and a protocol.
func parseZonal(n *Name, apex int) (z zonalName, ok bool) {
	const service = 3 // labels of a service's name below the apex
	at := apex + service + 1
	if at == n.Len() {
		return z, true
	}
	z.directive = n.Label(at)
	if d := string(z.directive); d != pinLabel && d != preferLabel {
		return z, false
	}
	first, last := at+1, n.Len()-1 // labels of the zone
	if first > last {
		return z, true
	}
	if isUnderscored(n.Label(last)) {
		z.protocol = n.Label(last)
		last--
		if last >= first && isUnderscored(n.Label(last)) {
			z.port, z.protocol = z.protocol, n.Label(last)
			last--
		}
	}
	for i := first; i <= last; i++ {
		if label := n.Label(i); len(label) > 0 && label[0] == '_' {
			return z, false
		}
	}
	if first > last {
		return z, false
	}
	z.zone = n.labelsBetween(first, last)
	return z, true
}

// findZonal finds a zonal name below the service of the node.
func (n *Node) findZonal(name *Name, apex int) Result {
	n.zonal = true
	z, ok := parseZonal(name, apex)
	switch {
	case !ok:
		return Missing
	case len(z.zone) == 0:
		n.nonTerminal = true
	case len(z.port) > 0:
		if n.port = n.portNamed(z.protocol[1:], z.port[1:]); n.port == nil {
			return Missing
		}
	case len(z.protocol) > 0:
		if !n.hasProtocol(z.protocol[1:]) {
			return Missing
		}
		n.nonTerminal = true
	}
	n.found = true
	if n.nonTerminal {
		return Found
	}
	n.zone = n.zoneNamed(z.zone)
	if n.zone == noZone || !n.zoneHasRecords() {
		n.zone = noZone
		n.nonTerminal = string(z.directive) == pinLabel
	}
	return Found
}

// zoneHasRecords reports whether the name has an endpoint in its zone.
func (n *Node) zoneHasRecords() bool {
	if n.port != nil {
		ranges, _ := n.targetRanges(nil)
		return len(ranges) > 0
	}
	v4, v6 := n.members4(&n.allAddrs), n.members6(&n.allAddrs)
	return v4.len()+v6.len() > 0
}
