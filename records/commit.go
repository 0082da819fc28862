package records

import "slices"

// Commit publishes the changed services, and returns how many there are. A service
// whose changes cancel out is not published. Images wait for the commit; lookups do
// not.
//
// An address leaves its old names before it enters new ones.
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

// netChanges sums the deltas of each service, and returns the services that change.
func (u *Update) netChanges() []*pending {
	u.changed = u.changed[:0]
	for _, p := range u.pending {
		if !p.exists && !p.existed {
			continue
		}
		if !p.exists {
			p.change.reset()
		}
		if p.change.sum() && p.change.clamp(p.base) || p.deleted || p.exists != p.existed || p.isExternal() != p.wasExternal {
			u.changed = append(u.changed, p)
		}
	}
	return u.changed
}

// portionSize is the most endpoints that the steps of a portion change, unless a single
// step changes more. What a portion allocates is garbage before the next one, so a
// large commit takes little memory beside the trie. Tests make it small.
var portionSize = 2048

// publishAll publishes the steps in portions, and returns the number of portions.
func (u *Update) publishAll(steps []step) (portions int) {
	for ; len(steps) > 0; portions++ {
		n := portionOf(steps)
		u.publish(steps[:n])
		steps = steps[n:]
	}
	u.removeEmptied()
	return portions
}

// portionOf returns the number of steps in the next portion.
func portionOf(steps []step) int {
	cost := 0
	for n, s := range steps {
		if cost += s.cost(); cost > portionSize && n > 0 {
			return n
		}
	}
	return len(steps)
}

// cost estimates how many hosts, ports and endpoints a step of the service changes.
func (p *pending) cost() int {
	c := &p.change
	n := 1 + len(c.hosts) + len(c.ports) + len(c.lists) + len(c.withheld) + len(c.addressed) + len(c.resolved)
	if p.deleted {
		n += p.old.hosts.n
	}
	return n
}

// publish publishes the snapshots of some steps, their part of the reverse index, and
// the names above them.
func (u *Update) publish(steps []step) {
	t := u.trie
	final := u.scratch[:0]
	for _, s := range steps {
		if !s.interim {
			final = append(final, s.pending)
		}
	}
	for _, p := range final {
		if p.isExternal() && p.outside == nil {
			p.outside = &service{namespace: p.key.Namespace, name: p.key.Name}
		}
	}
	tables := t.all.edit(final, func(p *pending) (s *service, was, is bool) { return p.service, p.existed, p.exists })
	external := t.external.edit(final, func(p *pending) (s *service, was, is bool) { return p.outside, p.wasExternal, p.isExternal() })
	for _, s := range steps {
		next := s.build()
		if !s.interim {
			s.next = next
			was, is := s.existed && !s.old.empty(), s.exists && !next.empty()
			if s.empties = was && !is; is && !was {
				t.all.countPopulated(s.pending, tables.namespaces, 1)
			}
			was, is = was && s.wasExternal, is && s.isExternal()
			if s.vacates = was && !is; is && !was {
				t.external.countPopulated(s.pending, external.namespaces, 1)
			}
		}
		s.service.snapshot.Store(next)
		if s.outside != nil {
			if !s.isExternal() {
				next = new(snapshot) // it leaves
			}
			s.outside.snapshot.Store(next)
		}
	}
	index := u.reverseChange(final)
	if addrs := t.addrs.Load(); addrs != nil {
		appear4, disappear4 := splitAddrs(index.addrs4)
		appear6, disappear6 := splitAddrs(index.addrs6)
		t.addrs.Store(addrs.merge(appear4, appear6))
		u.removed4, u.removed6 = append(u.removed4, disappear4...), append(u.removed6, disappear6...)
	}
	tables.publish(&t.all)
	external.publish(&t.external)
	u.emptied = append(u.emptied, tables.emptied...)
	u.vacated = append(u.vacated, external.emptied...)
	index.publish()
	for _, p := range final {
		t.stats.add(p)
		p.change.reset()
		p.old, p.base, p.next = nil, nil, nil // garbage, once no reader has them
	}
	clear(final)
	u.scratch = final
}

// countPopulated counts a service that gets its first name (1) or loses its last one (-1).
func (d *directory) countPopulated(p *pending, namespaces *table[*namespace], n int64) {
	d.populated.Add(n)
	namespaceOf(namespaces, []byte(p.key.Namespace)).populated.Add(n)
}

// removeEmptied removes the names that have nothing below them after the commit: those
// of namespaces, and those above reverse names. It runs after the last portion, because
// in earlier ones a name below may be moving from one service to another. Until then an
// address that disappeared and appeared again counts twice in Trie.addrs.
func (u *Update) removeEmptied() {
	t := u.trie
	for _, p := range u.changed {
		if p.empties {
			t.all.countPopulated(p, t.all.namespaces.Load(), -1)
		}
		if p.vacates {
			t.external.countPopulated(p, t.external.namespaces.Load(), -1)
		}
	}
	t.all.removeNamespaces(u.emptied)
	t.external.removeNamespaces(u.vacated)
	if addrs := t.addrs.Load(); addrs != nil && len(u.removed4)+len(u.removed6) > 0 {
		t.addrs.Store(addrs.merge(u.removed4, u.removed6))
	}
}

// nameTables are the tables of a directory that a portion publishes.
type nameTables struct {
	services   map[*namespace]*editor[*service]
	namespaces *table[*namespace]
	emptied    []*namespace // namespaces without services after the portion
}

// publish makes the tables visible to readers. New services already have their
// snapshots.
func (n *nameTables) publish(d *directory) {
	if n.services == nil {
		return // as they are
	}
	for ns, edit := range n.services {
		ns.services.Store(&edit.table)
	}
	d.namespaces.Store(n.namespaces)
}

// edit returns the tables with the services that the portion adds to the directory and without
// those that it removes. The function returns the place of a service there, and whether the
// directory has it before the portion and after it. edit adds namespaces, but removes none.
func (d *directory) edit(changed []*pending, has func(*pending) (s *service, was, is bool)) (out nameTables) {
	out.namespaces = d.namespaces.Load()
	differs := func(p *pending) bool { _, was, is := has(p); return was != is }
	if !slices.ContainsFunc(changed, differs) {
		return out
	}
	namespaces := out.namespaces.edit()
	out.services = make(map[*namespace]*editor[*service])
	for _, p := range changed {
		s, was, is := has(p)
		if was == is {
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
		if is {
			edit.add(s)
		} else {
			removeValue(edit, s)
		}
	}
	for ns, edit := range out.services {
		if edit.n == 0 {
			out.emptied = append(out.emptied, ns)
		}
	}
	return out
}

// removeNamespaces removes those of the namespaces that have no services.
func (d *directory) removeNamespaces(emptied []*namespace) {
	if len(emptied) == 0 {
		return
	}
	namespaces := d.namespaces.Load().edit()
	before := namespaces.n
	for _, ns := range emptied {
		if ns.services.Load().n == 0 && namespaceOf(&namespaces.table, []byte(ns.name)) == ns {
			removeValue(&namespaces, ns)
		}
	}
	if namespaces.n != before {
		d.namespaces.Store(&namespaces.table)
	}
}
