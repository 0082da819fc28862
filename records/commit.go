package records

import "slices"

// Commit publishes what changed, each service once, and returns how many
// services that were. Of a service with no net change nothing is published.
//
// An address leaves the names it had before it enters others. Images wait for the
// whole commit, readers for nothing.
func (u *Update) Commit() int {
	defer u.recycle()
	changed := u.netChanges()
	if len(changed) == 0 {
		return 0
	}
	steps := []step{{pending: changed[0]}}
	if len(changed) > 1 {
		steps = plan(changed)
	}
	u.trie.mu.Lock()
	defer u.trie.mu.Unlock()
	u.publishAll(steps)
	u.trie.serial.advance()
	return len(changed)
}

// settle works out what the update comes to, and returns the services that it
// changes.
func (u *Update) netChanges() []*pending {
	u.changed = u.changed[:0]
	for _, p := range u.pending {
		if !p.exists && !p.existed {
			continue
		}
		if !p.exists {
			p.change.reset()
		}
		if p.change.sum() && p.change.clamp(p.base) || p.deleted || p.exists != p.existed {
			u.changed = append(u.changed, p)
		}
	}
	return u.changed
}

// step is the publication of a snapshot: the last of the service, or what it has
// between two states.
type step struct {
	*pending
	interim bool
}

// make returns the snapshot to publish.
func (s step) build() *snapshot {
	if s.interim {
		return s.interimSnapshot()
	}
	return s.base.with(&s.change)
}

// portionSize is how many endpoints the steps of a portion change, unless one step
// does more. What is made for a portion is garbage before the next, so that a large
// commit takes little memory beside the trie. Tests make it small.
var portionSize = 2048

// publishAll publishes the steps in portions, and returns how many these were.
func (u *Update) publishAll(steps []step) (portions int) {
	for ; len(steps) > 0; portions++ {
		n := portionOf(steps)
		u.publish(steps[:n])
		steps = steps[n:]
	}
	u.removeEmptied()
	return portions
}

// finish takes away the names above others that have none below them any more. A name
// above others exists before them and until they are gone, and in a portion before the
// last they may be between two services.
func (u *Update) removeEmptied() {
	t := u.trie
	for _, p := range u.changed {
		if p.losesReady {
			t.countReady(p, t.namespaces.Load(), -1)
		}
	}
	t.removeNamespaces(u.emptied)
	if o := t.addrs.Load(); o != nil && len(u.removed4)+len(u.removed6) > 0 {
		t.addrs.Store(o.merge(u.removed4, u.removed6))
	}
}

// portionOf returns how many of the steps make the next portion.
func portionOf(steps []step) int {
	size := 0
	for n, s := range steps {
		if size += s.cost(); size > portionSize && n > 0 {
			return n
		}
	}
	return len(steps)
}

// size is about how much is to be done for a service.
func (p *pending) cost() int {
	c := &p.change
	n := 1 + len(c.hosts) + len(c.ports) + len(c.lists) + len(c.withheld)
	if p.deleted {
		n += p.old.hosts.n
	}
	return n
}

// publish makes and stores the snapshots of some steps, and what follows from them
// for the reverse index and for the names above.
func (u *Update) publish(steps []step) {
	t := u.trie
	final := u.scratch[:0]
	for _, s := range steps {
		if !s.interim {
			final = append(final, s.pending)
		}
	}
	links := t.editTables(final)
	for _, s := range steps {
		next := s.build()
		if !s.interim {
			s.next = next
			had, has := s.existed && !s.old.empty(), s.exists && !next.empty()
			if s.losesReady = had && !has; has && !had {
				t.countReady(s.pending, links.namespaces, 1)
			}
		}
		s.service.snapshot.Store(next)
	}
	index := u.indexChange(final)
	if o := t.addrs.Load(); o != nil {
		come4, gone4 := bySign(index.addrs4)
		come6, gone6 := bySign(index.addrs6)
		t.addrs.Store(o.merge(come4, come6))
		u.removed4, u.removed6 = append(u.removed4, gone4...), append(u.removed6, gone6...)
	}
	links.publish(t)
	u.emptied = append(u.emptied, links.emptied...)
	index.publish()
	for _, p := range final {
		t.stats.count(p)
		p.change.reset()
		p.old, p.base, p.next = nil, nil, nil // garbage, once no reader has them
	}
	clear(final)
	u.scratch = final
}

// populate counts a service that gets its first ready endpoint (1), or one that has
// lost the last (-1).
func (t *Trie) countReady(p *pending, namespaces *table[*namespace], n int64) {
	t.readyServices.Add(n)
	namespaceOf(namespaces, []byte(p.key.Namespace)).readyServices.Add(n)
}

// links are the tables of services and namespaces that a portion publishes.
type nameTables struct {
	services   map[*namespace]*editor[*service]
	namespaces *table[*namespace]
	emptied    []*namespace // by this portion
}

// publish publishes which services there are. New ones have their snapshot already.
func (l *nameTables) publish(t *Trie) {
	for ns, edit := range l.services {
		ns.services.Store(&edit.table)
	}
	t.namespaces.Store(l.namespaces)
}

// relink makes the tables that change with services that come and go. Namespaces only
// come.
func (t *Trie) editTables(changed []*pending) (out nameTables) {
	out.namespaces = t.namespaces.Load()
	if !slices.ContainsFunc(changed, func(p *pending) bool { return p.exists != p.existed }) {
		return out
	}
	namespaces := out.namespaces.edit()
	out.services = make(map[*namespace]*editor[*service])
	for _, p := range changed {
		if p.exists == p.existed {
			continue
		}
		ns := namespaceOf(&namespaces.table, []byte(p.key.Namespace))
		if ns == nil {
			ns = &namespace{name: p.key.Namespace}
			ns.services.Store(new(table[*service]))
			namespaces.add(ns)
			out.namespaces = &namespaces.table
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
			removeValue(edit, p.service)
		}
	}
	for ns, edit := range out.services {
		if edit.n == 0 {
			out.emptied = append(out.emptied, ns)
		}
	}
	return out
}

// forget takes out those of some namespaces that have no services.
func (t *Trie) removeNamespaces(emptied []*namespace) {
	if len(emptied) == 0 {
		return
	}
	namespaces := t.namespaces.Load().edit()
	before := namespaces.n
	for _, ns := range emptied {
		if ns.services.Load().n == 0 && namespaceOf(&namespaces.table, []byte(ns.name)) == ns {
			removeValue(&namespaces, ns)
		}
	}
	if namespaces.n != before {
		t.namespaces.Store(&namespaces.table)
	}
}

// remove takes out a value that is there.
func removeValue[V interface {
	hashed
	comparable
}](edit *editor[V], v V) {
	edit.remove(v.hash(), slices.Index(edit.bucket(v.hash()), v))
}

// count takes a change of a service into the statistics.
func (s *Stats) count(p *pending) {
	before, after := p.old, p.next
	if p.existed {
		s.Services--
	}
	if p.exists {
		s.Services++
	}
	s.Hosts += after.hosts.n - before.hosts.n
	s.Shared += int(after.sharedHosts - before.sharedHosts)
	s.Ports += int(after.namedPorts - before.namedPorts)
	for r := range s.Endpoints {
		s.Endpoints[r] += after.counts[r] - before.counts[r]
	}
}
