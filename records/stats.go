package records

// Stats counts the contents of a trie.
type Stats struct {
	Services  int    // headless services
	Hosts     int    // names of hosts
	Shared    int    // hosts that several endpoints share
	Ports     int    // names of ports, as in _web._tcp
	Addresses int    // reverse names
	Endpoints Counts // ready and withheld
}

// Stats returns the counts after the last commit. Only the writer may call it.
func (t *Trie) Stats() Stats { return t.stats }

// add adds the difference between the old and the next snapshot of a service.
func (s *Stats) add(p *pending) {
	if p.existed {
		s.Services--
	}
	if p.exists {
		s.Services++
	}
	s.Hosts += p.next.hosts.n - p.old.hosts.n
	s.Shared += int(p.next.sharedHosts - p.old.sharedHosts)
	s.Ports += int(p.next.namedPorts - p.old.namedPorts)
	for r := range s.Endpoints {
		s.Endpoints[r] += int(p.next.counts[r] - p.old.counts[r])
	}
}
