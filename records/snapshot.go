package records

// snapshot is the state of a service at one time. A published snapshot is never
// written: a change makes a new one, which shares with the old one what did not
// change. A reply reads one snapshot, so it never mixes two states.
type snapshot struct {
	hosts       table[host]         // by label
	allAddrs    addresses           // of all hosts, each in one of its zones: the records of the service's own name
	ports       set[*port]          // by protocol and name, the unnamed ones included
	allTargets  targets             // of all ports
	zones       *zones              // nil if no endpoint has been in a topology zone
	long        *longLists          // nil if no endpoint has a long list
	addressed   *addressedEndpoints // withheld endpoints that give their host an address; nil if there is none
	withheld    set[withheld]       // withheld endpoints, with the reason
	clusters    *set[cluster]       // the clusters with hosts, and how many each has; nil unless the trie is a clusterset's
	counts      counts              // endpoints by reason
	sharedHosts int32               // hosts with several addresses of one family
	namedPorts  int32               // ports with a name
}

// counts are [Counts] in less memory.
type counts [reasons]int32

func (c *counts) ints() (out Counts) {
	for r, n := range c {
		out[r] = int(n)
	}
	return out
}

// emptySnapshot returns the snapshot of a service without endpoints.
func (t *Trie) emptySnapshot() *snapshot {
	if t.clusterset {
		return &snapshot{clusters: new(set[cluster])}
	}
	return new(snapshot)
}

// empty reports whether the service has no names: no endpoint is ready, and none is addressed
// (Kubernetes DNS specification, section 2.4.1).
func (s *snapshot) empty() bool { return s.hosts.n == 0 }

// with returns the snapshot with the change applied, which must be summed and
// clamped.
func (s *snapshot) with(c *change) *snapshot {
	next := *s
	if len(c.zones) > 0 || s.zones != nil {
		next.zones = new(zones)
		if s.zones != nil {
			*next.zones = *s.zones
		}
		if c.zones != nil {
			next.zones.names = c.zones
		}
	}
	next.mergeHosts(c.names())
	if next.clusters != nil {
		next.mergeClusters(s, c.names())
	}
	next.mergeAddrs(c.hosts)
	next.mergePorts(s, c.ports)
	next.mergeLists(s, c.lists)
	next.withheld = s.withheld.merge(c.withheld)
	next.mergeAddressed(s, c.addressed)
	for _, d := range c.hosts {
		next.counts[Ready] += d.refs
	}
	for _, d := range c.addressed {
		next.counts[NotReady] += d.refs
	}
	for _, d := range c.withheld {
		if d.key.reason != stray {
			next.counts[d.key.reason] += d.refs
		}
	}
	if next.zones != nil && next.counts[Ready] == 0 && next.allTargets.set.len() == 0 && next.long == nil {
		next.zones = nil // nothing has a tag
	}
	return &next
}

// mergeAddrs applies deltas of ready endpoints.
func (s *snapshot) mergeAddrs(deltas []delta[hostAddr]) {
	v4, v6 := byFamily(deltas, true)
	if s.zones == nil {
		s.allAddrs = addresses{s.allAddrs.v4.merge(v4), s.allAddrs.v6.merge(v6)}
		return
	}
	n := s.numZones()
	s.allAddrs.v4, s.zones.addrs.v4 = mergeZoned(s.allAddrs.v4, s.zones.addrs.v4, v4, n)
	s.allAddrs.v6, s.zones.addrs.v6 = mergeZoned(s.allAddrs.v6, s.zones.addrs.v6, v6, n)
}
