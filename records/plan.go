package records

import "net/netip"

// plan returns the order in which the changed services are published: each after
// the services that give an address to it. Where services exchange addresses in a
// circle, one of them gives its own away in a step before. A service has at most
// two steps, and the time is linear in the addresses lost and gained.
func plan(changed []*pending) []step { return newPlanner(changed).steps }

func newPlanner(changed []*pending) *planner {
	p := &planner{losers: losers(changed), steps: make([]step, 0, len(changed))}
	// First those that gain an address of another service: the walk puts the losers just
	// before them, so that an address that moves is without a name for a short time.
	for _, s := range changed {
		if p.gains(s) {
			p.schedule(s)
		}
	}
	for _, s := range changed {
		p.schedule(s)
	}
	return p
}

// gains reports whether the service gains an address that another one loses.
func (p *planner) gains(s *pending) bool {
	for i := range s.change.hosts {
		d := &s.change.hosts[i]
		if d.refs < 0 {
			continue
		}
		if list := p.losers[d.key.addr]; len(list) > 1 || len(list) == 1 && list[0] != s {
			return true
		}
	}
	return false
}

// planner walks from each service to those that it has to wait for.
type planner struct {
	losers map[netip.Addr][]*pending // those that may still have the address
	path   []*pending                // each waits for the next
	steps  []step
	visits int // of losers; a test holds them linear
}

// losers returns the services that each address leaves, once each.
func losers(changed []*pending) map[netip.Addr][]*pending {
	out := make(map[netip.Addr][]*pending)
	for _, p := range changed {
		lose := func(a netip.Addr) {
			if list := out[a]; len(list) == 0 || list[len(list)-1] != p {
				out[a] = append(list, p)
			}
		}
		if p.deleted {
			for a := range p.old.allAddrs.all {
				lose(a)
			}
		}
		for _, d := range p.change.hosts {
			if d.refs < 0 {
				lose(d.key.addr)
			}
		}
	}
	return out
}

// publish appends the steps of a service, after those of the services that it
// waits for. The path is a list rather than the stack of a recursion, because it
// may be as long as there are services.
func (p *planner) schedule(s *pending) {
	if s.progress != unplanned {
		return
	}
	s.progress = waiting
	p.path = append(p.path, s)
	for len(p.path) > 0 {
		s = p.path[len(p.path)-1]
		switch q := p.blocker(s); {
		case q == nil:
			p.steps = append(p.steps, step{pending: s})
			s.progress = released
			p.path = p.path[:len(p.path)-1]
		case q.progress == waiting: // a circle
			p.steps = append(p.steps, step{pending: q, interim: true})
			q.progress = released
		default:
			q.progress = waiting
			p.path = append(p.path, q)
		}
	}
}

// blocker returns a service that has to give away an address before s may gain
// it, or nil. It continues where it stopped for s. A loser leaves its list only
// when it has left the address: another service on the path, or beyond it, may
// wait for the same loser.
func (p *planner) blocker(s *pending) *pending {
	for ; s.planned < len(s.change.hosts); s.planned++ {
		d := &s.change.hosts[s.planned]
		if d.refs < 0 {
			continue
		}
		list := p.losers[d.key.addr]
		for last := len(list) - 1; last >= 0; last = len(list) - 1 {
			p.visits++
			switch q := list[last]; {
			case q.progress == released:
				list = list[:last]
				p.losers[d.key.addr] = list
				continue
			case q != s:
				return q
			}
			if last == 0 {
				break // s alone has the address, at another name
			}
			list[0], list[last] = list[last], list[0]
		}
	}
	return nil
}

// leaving is what the service has between two states: what it had without what it
// gives away. One that was deleted and made anew starts from nothing, so there it is
// what it has again.
func (p *pending) interimSnapshot() *snapshot {
	if p.deleted {
		return p.base.with(p.change.kept(p.old))
	}
	return p.base.with(p.change.removals())
}
