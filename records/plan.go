package records

import "net/netip"

// step is the publication of one snapshot of a service: its next one, or an interim
// snapshot before that.
type step struct {
	*pending
	interim bool
}

// build returns the snapshot to publish.
func (s step) build() *snapshot {
	if s.interim {
		return s.interimSnapshot()
	}
	return s.base.with(&s.change)
}

// interimSnapshot returns the old snapshot less what the change removes. After Delete
// the change applies to an empty snapshot, so the interim one has what the service had
// and has again.
func (p *pending) interimSnapshot() *snapshot {
	if p.deleted {
		return p.base.with(p.change.kept(p.old))
	}
	return p.base.with(p.change.removals())
}

// plan returns the steps that publish the changed services. Each service follows those
// that lose an address to it, so an address leaves its old names before it enters new
// ones. Where services exchange addresses in a circle, one of them gets an interim
// step. A service has two steps at most, and the time is linear in the addresses lost
// and gained.
func plan(changed []*pending) []step { return newPlanner(changed).steps }

// planner walks from each service to those that it waits for.
type planner struct {
	losers map[netip.Addr][]*pending // services that may still have the address
	path   []*pending                // each waits for the next
	steps  []step
	visits int // of losers; a test bounds them
}

// progress is how far the planner is with a service.
type progress int

const (
	unplanned progress = iota
	waiting            // on the path
	released           // the steps so far remove all addresses that it loses
)

func newPlanner(changed []*pending) *planner {
	p := &planner{losers: losers(changed), steps: make([]step, 0, len(changed))}
	// The services that gain an address go first: the walk puts the losers just before
	// them, so that an address that moves is without a name only briefly.
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

// losers returns the services that lose each address, each service once.
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
			for a := range p.old.shown {
				lose(a)
			}
		}
		for _, d := range p.change.names() {
			if d.refs < 0 {
				lose(d.key.addr)
			}
		}
	}
	return out
}

// gains reports whether the service gains an address that another one loses.
func (p *planner) gains(s *pending) bool {
	names := s.change.names()
	for i := range names {
		d := &names[i]
		if d.refs < 0 {
			continue
		}
		if list := p.losers[d.key.addr]; len(list) > 1 || len(list) == 1 && list[0] != s {
			return true
		}
	}
	return false
}

// schedule appends the steps of a service, after those of the services that it waits
// for. The path is a list rather than a recursion: it may be as long as there are
// services.
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

// blocker returns a service that must lose an address before s may gain it, or nil. It
// continues where it stopped for s. A loser leaves its list only once it is released:
// other services, on the path or later, may wait for it too.
func (p *planner) blocker(s *pending) *pending {
	names := s.change.names()
	for ; s.planned < len(names); s.planned++ {
		d := &names[s.planned]
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
				break // s alone loses the address, from another host
			}
			list[0], list[last] = list[last], list[0]
		}
	}
	return nil
}
