package records

import "cmp"

// target is what an SRV record points to: a host and a port number. It is a host id
// and a port, cut into two words of 4 bytes, so that an item takes 12 bytes rather
// than 16. It sorts by host, then by port.
type target struct{ hash, rest uint32 }

func newTarget(host hostID, port uint16) target {
	return target{host.hash(), uint32(host.seq())<<16 | uint32(port)}
}

func (t target) host() hostID { return newHostID(t.hash, uint16(t.rest>>16)) }
func (t target) port() uint16 { return uint16(t.rest) }

func (t target) compare(u target) int {
	return cmp.Compare(uint64(t.hash)<<32|uint64(t.rest), uint64(u.hash)<<32|uint64(u.rest))
}

// targets is a set of targets.
type targets struct {
	set       set[target]
	endpoints int // the refs of all targets; the weight of the SRV records follows from it
}

// merge returns the targets with the deltas applied, which are summed.
func (t targets) merge(deltas []delta[target]) targets {
	for _, d := range deltas {
		t.endpoints += int(d.refs)
	}
	t.set = t.set.merge(deltas)
	return t
}

// searchAfter returns the position of the first target above t.
func searchAfter(s *set[target], t target) int {
	i := s.search(t)
	if s.refsOf(t) > 0 {
		i++
	}
	return i
}
