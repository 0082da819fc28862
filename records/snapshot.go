package records

// snapshot is the state of a service at one time. A published snapshot is never
// written: a change makes a new one, which shares with the old one what did not
// change. A reply reads one snapshot, so it never mixes two states.
type snapshot struct {
	hosts       table[host]         // by label
	allAddrs    addresses           // of all hosts: the records of the service's own name
	ports       set[*port]          // by protocol and name, the unnamed ones included
	allTargets  targets             // of all ports
	long        *longLists          // nil if no endpoint has a long list
	addressed   *addressedEndpoints // withheld endpoints that give their host an address; nil if there is none
	withheld    set[withheld]       // withheld endpoints, with the reason
	counts      Counts              // endpoints by reason
	sharedHosts int32               // hosts with several addresses of one family
	namedPorts  int32               // ports with a name
}

// empty reports whether the service has no names: no endpoint is ready, and none is addressed
// (Kubernetes DNS specification, section 2.4.1).
func (s *snapshot) empty() bool { return s.hosts.n == 0 }

// with returns the snapshot with the change applied, which must be summed and
// clamped.
func (s *snapshot) with(c *change) *snapshot {
	next := *s
	next.mergeHosts(c.names())
	next.allAddrs = s.allAddrs.merge(c.hosts)
	next.mergePorts(s, c.ports)
	next.mergeLists(s, c.lists)
	next.withheld = s.withheld.merge(c.withheld)
	next.mergeAddressed(s, c.addressed)
	for _, d := range c.hosts {
		next.counts[Ready] += int(d.refs)
	}
	for _, d := range c.addressed {
		next.counts[NotReady] += int(d.refs)
	}
	for _, d := range c.withheld {
		if d.key.reason != stray {
			next.counts[d.key.reason] += int(d.refs)
		}
	}
	return &next
}
