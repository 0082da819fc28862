package records

import (
	"net/netip"
	"slices"
)

// ServiceKey names a service.
type ServiceKey struct{ Namespace, Name string }

// Update collects changes of a trie; nothing of it is seen before Commit. Names
// and labels in it are in lower case. An Update is used by one goroutine, and
// there is one at a time.
//
// Commit ignores what does not fit to the trie: endpoints of a service that does
// not exist then, and endpoints that are removed more often than they were added.
// Add and Remove ignore a ready endpoint that has no valid address. An IPv4 address
// that is mapped into IPv6 counts as the IPv4 address, and no address has a zone.
type Update struct {
	trie     *Trie
	services map[ServiceKey]*pending // those that were not there before
	order    []*pending              // as they were first named
	changed  []*pending              // those with a net change
	final    []*pending              // scratch of publish
	spare    []*pending              // for the next services that are named
	size     int                     // services named and endpoints counted

	holdings4 []holding[addr4] // changes of the reverse index
	holdings6 []holding[addr6]
}

// pending is a service within an update.
type pending struct {
	key      ServiceKey
	service  *service  // its place in the trie, also before it is published
	before   *snapshot // what was published last
	base     *snapshot // what the change is to
	next     *snapshot // what will be published
	change   change
	existed  bool // before this update
	exists   bool
	replaced bool // base is not before
	state    state
	planned  int // deltas of change.hosts that need no other service any more
}

// state is how far the plan of an update is with a service.
type state int

const (
	unplanned state = iota
	waiting         // on the path
	left            // the steps so far take it from every address that it loses
)

// Update starts an update. The one before is over then, committed or not.
func (t *Trie) Update() *Update {
	if t.update == nil {
		t.update = &Update{trie: t, services: make(map[ServiceKey]*pending)}
	}
	t.update.reset()
	return t.update
}

// spareSize is how many changes an update may hold for its memory to be kept for
// the next one: enough for what happens all the time, not for a whole cluster.
const spareSize = 1024

// reset makes the update empty, and lets go of all that it knows of the trie.
func (u *Update) reset() {
	clear(u.services)
	for _, p := range u.order {
		p.service.pending = nil
		p.change.reset()
		*p = pending{change: p.change}
	}
	u.spare = append(u.spare, u.order...)
	u.order, u.changed, u.final = u.order[:0], u.changed[:0], empty(u.final)
	u.holdings4, u.holdings6 = empty(u.holdings4), empty(u.holdings6)
	u.size = 0
}

// done ends a committed update.
func (u *Update) done() {
	large := u.size > spareSize
	u.reset()
	if large {
		u.trie.update = nil
	}
}

// spareList is how many values a list of an update may have had room for, for its
// memory to be kept. All services of an update have such lists, so that it is
// less than spareSize: a tenant may make each of them large, one after another.
const spareList = 64

// empty returns the memory of a list, with nothing in it, or nil if it is large.
func empty[T any](list []T) []T {
	if cap(list) > spareList {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}

func (u *Update) pending(key ServiceKey) *pending {
	s := u.trie.lookup(key)
	if s != nil && s.pending != nil {
		return s.pending
	}
	if p := u.services[key]; p != nil {
		return p
	}
	var p *pending
	if n := len(u.spare); n > 0 {
		p, u.spare = u.spare[n-1], u.spare[:n-1]
	} else {
		p = new(pending)
	}
	p.key = key
	if s != nil {
		p.existed, p.exists = true, true
		s.pending = p
	} else {
		s = &service{namespace: key.Namespace, name: key.Name}
		s.snapshot.Store(new(snapshot))
		u.services[key] = p
	}
	p.service = s
	p.before = s.snapshot.Load()
	p.base = p.before
	u.size++
	u.order = append(u.order, p)
	return p
}

func (t *Trie) lookup(key ServiceKey) *service {
	ns := namespaceOf(t.namespaces.Load(), []byte(key.Namespace))
	if ns == nil {
		return nil
	}
	return ns.service([]byte(key.Name))
}

// Create makes the service exist. It changes nothing if the service does already.
func (u *Update) Create(key ServiceKey) { u.pending(key).exists = true }

// Delete takes the service away with all its endpoints. It has those that are added
// afterwards only if it is created again.
func (u *Update) Delete(key ServiceKey) {
	p := u.pending(key)
	p.exists, p.replaced = false, true
	p.base = new(snapshot)
	p.change.reset()
}

// Add gives the service an endpoint. One that is added twice stays until it was
// removed twice.
func (u *Update) Add(key ServiceKey, e Endpoint) { u.count(key, e, 1) }

// Remove takes an endpoint away that was added with the same fields. If no such
// endpoint was added, what there is of its fields is taken away: the address from
// the host, and the ports.
func (u *Update) Remove(key ServiceKey, e Endpoint) { u.count(key, e, -1) }

// Size is how many services were named and endpoints added and removed.
func (u *Update) Size() int { return u.size }

func (u *Update) count(key ServiceKey, e Endpoint, refs int32) {
	e.Addr = e.Addr.Unmap().WithZone("")
	if e.Withheld == Ready && !e.Addr.IsValid() || e.Withheld >= reasons {
		return
	}
	u.pending(key).change.count(&e, refs)
	u.size++
}

// Commit publishes what changed, each service once, and returns how many
// services that were. Of a service with no net change nothing is published.
//
// An address leaves the names it had before it enters others. Images wait for the
// whole commit, readers for nothing.
func (u *Update) Commit() int {
	defer u.done()
	changed := u.settle()
	if len(changed) == 0 {
		return 0
	}
	steps := []step{{pending: changed[0]}}
	if len(changed) > 1 {
		steps = plan(changed)
	}
	t := u.trie
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := steps; len(rest) > 0; {
		n := portionOf(rest)
		u.publish(rest[:n])
		rest = rest[n:]
	}
	t.serial.advance()
	return len(changed)
}

// settle works out what the update comes to, and returns the services that it
// changes.
func (u *Update) settle() []*pending {
	u.changed = u.changed[:0]
	for _, p := range u.order {
		if !p.exists && !p.existed {
			continue
		}
		if !p.exists {
			p.change.reset()
		}
		if p.change.net() && p.change.limit(p.base) || p.replaced || p.exists != p.existed {
			u.changed = append(u.changed, p)
		}
	}
	return u.changed
}

// step is the publication of a snapshot: the last of the service, or what it has
// between two states.
type step struct {
	*pending
	leaves bool
}

// make returns the snapshot to publish.
func (s step) make() *snapshot {
	if s.leaves {
		return s.leaving()
	}
	return s.base.with(&s.change)
}

// portionSize is how many endpoints the steps of a portion change, unless one step
// does more. What is made for a portion is garbage before the next, so that a large
// commit takes little memory beside the trie.
const portionSize = 2048

// portionOf returns how many of the steps make the next portion.
func portionOf(steps []step) int {
	size := 0
	for n, s := range steps {
		if size += s.size(); size > portionSize && n > 0 {
			return n
		}
	}
	return len(steps)
}

// size is about how much is to be done for a service.
func (p *pending) size() int {
	c := &p.change
	n := 1 + len(c.hosts) + len(c.ports) + len(c.lists) + len(c.withheld)
	if p.replaced {
		n += p.before.hosts.n
	}
	return n
}

// publish makes and stores the snapshots of some steps, and what follows from them
// for the reverse index and for the names above.
func (u *Update) publish(steps []step) {
	t := u.trie
	final := u.final[:0]
	for _, s := range steps {
		if !s.leaves {
			final = append(final, s.pending)
		}
	}
	links := t.relink(final)
	for _, s := range steps {
		next := s.make()
		if !s.leaves {
			s.next = next
			t.populate(s.pending, &links, 1) // a name above others exists before them
		}
		s.service.snapshot.Store(next)
	}
	index := u.editIndex(final)
	links.publish(t)
	index.publish(t)
	for _, p := range final {
		t.populate(p, &links, -1) // and until they are gone
	}
	t.stats.Addresses += index.grown
	for _, p := range final {
		t.stats.count(p)
		p.change.reset()
		p.before, p.base, p.next = nil, nil, nil // garbage, once no reader has them
	}
	clear(final)
	u.final = final
}

// populate counts a service that gets its first ready endpoint (1), or one that
// loses the last (-1).
func (t *Trie) populate(p *pending, links *links, n int64) {
	had, has := p.existed && !p.before.empty(), p.exists && !p.next.empty()
	if had == has || has != (n > 0) {
		return
	}
	namespaces := links.namespaces
	if namespaces == nil {
		namespaces = t.namespaces.Load()
	}
	t.populated.Add(n)
	if ns := namespaceOf(namespaces, []byte(p.key.Namespace)); ns != nil { // nil if its last service goes
		ns.populated.Add(n)
	}
}

// Stats returns what the trie holds after the last commit. It is for the writer.
func (t *Trie) Stats() Stats { return t.stats }

// plan returns the order in which the changed services are published: each after
// the services that give an address to it. Where services exchange addresses in a
// circle, one of them gives its own away in a step before. A service has at most
// two steps, and the time is linear in the addresses lost and gained.
func plan(changed []*pending) []step { return newPlan(changed).steps }

func newPlan(changed []*pending) *planner {
	p := &planner{losers: losers(changed), steps: make([]step, 0, len(changed))}
	for _, s := range changed {
		p.publish(s)
	}
	return p
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
		if p.replaced {
			for a := range p.before.all.each {
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
func (p *planner) publish(s *pending) {
	if s.state != unplanned {
		return
	}
	s.state = waiting
	p.path = append(p.path, s)
	for len(p.path) > 0 {
		s = p.path[len(p.path)-1]
		switch q := p.blocker(s); {
		case q == nil:
			p.steps = append(p.steps, step{pending: s})
			s.state = left
			p.path = p.path[:len(p.path)-1]
		case q.state == waiting: // a circle
			p.steps = append(p.steps, step{pending: q, leaves: true})
			q.state = left
		default:
			q.state = waiting
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
			case q.state == left:
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
func (p *pending) leaving() *snapshot {
	if p.replaced {
		return p.base.with(p.change.staying(p.before))
	}
	return p.base.with(p.change.leaving())
}

// links are the tables of services and namespaces that a portion of a commit publishes.
type links struct {
	services   map[*namespace]*editor[*service]
	namespaces *table[*namespace] // nil if they stay
}

// publish publishes which services there are. New ones have their snapshot already.
func (l *links) publish(t *Trie) {
	for ns, edit := range l.services {
		ns.services.Store(&edit.table)
	}
	if l.namespaces != nil {
		t.namespaces.Store(l.namespaces)
	}
}

// relink makes the tables that change with services that come and go.
func (t *Trie) relink(changed []*pending) (out links) {
	if !slices.ContainsFunc(changed, func(p *pending) bool { return p.exists != p.existed }) {
		return out
	}
	namespaces := t.namespaces.Load().edit()
	out.services = make(map[*namespace]*editor[*service])
	moved := false
	for _, p := range changed {
		if p.exists == p.existed {
			continue
		}
		ns := namespaceOf(&namespaces.table, []byte(p.key.Namespace))
		if ns == nil {
			ns = &namespace{name: p.key.Namespace}
			ns.services.Store(new(table[*service]))
			namespaces.add(ns)
			moved = true
		}
		edit, ok := out.services[ns]
		if !ok {
			e := ns.services.Load().edit()
			edit = &e
			out.services[ns] = edit
		}
		if p.exists {
			edit.add(p.service)
		} else {
			remove(edit, p.service)
		}
	}
	for ns, edit := range out.services {
		if edit.n == 0 {
			remove(&namespaces, ns)
			moved = true
		}
	}
	if moved {
		out.namespaces = &namespaces.table
	}
	return out
}

// remove takes out a value that is there.
func remove[V interface {
	hashed
	comparable
}](edit *editor[V], v V) {
	edit.remove(v.hash(), slices.Index(edit.bucket(v.hash()), v))
}

// count takes a change of a service into the statistics.
func (s *Stats) count(p *pending) {
	before, after := p.before, p.next
	if p.existed {
		s.Services--
	}
	if p.exists {
		s.Services++
	}
	s.Hosts += after.hosts.n - before.hosts.n
	s.Shared += int(after.shared - before.shared)
	s.Ports += int(after.named - before.named)
	for r := range s.Endpoints {
		s.Endpoints[r] += after.counts[r] - before.counts[r]
	}
}
