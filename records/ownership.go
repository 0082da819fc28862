package records

// Who may write what, and when.
//
// The writer is the goroutine that uses the updates. Readers are all others.
//
//   - Snapshots, sets, tables and shards are immutable once a reader can reach them.
//     A change builds new ones, which share memory with the old.
//   - An editor may write the pages and buckets that it copied, until its table is
//     published. The edit number of a page identifies its editor (table.go).
//   - Readers reach everything through atomic pointers: the namespaces of a directory,
//     Trie.addrs, namespace.services, service.snapshot and the shards. Only a commit stores
//     them, with Trie.mu held. An image takes Trie.mu, so it sees all of a commit or nothing.
//   - A new service has its snapshot before a table with the service is published.
//   - A service that leaves Trie.external has an empty snapshot there, in a place of its own,
//     which it gets no more snapshots in. So also a reader that found the place before never
//     sees there what the service gets afterwards.
//   - The counters named populated are incremented in the portion that gives a service
//     its first name, and decremented after the last portion.
//   - The serial advances after the last portion. Any goroutine may advance it.
//   - Trie.stats, Trie.update and service.pending are the writer's. Readers never look
//     at them.
//   - The memory of an update is the trie's between two updates. An update must not be
//     used after the next one has begun.

const (
	// maxSpare is the most services and endpoints of an update whose memory is kept
	// for the next one: enough for ordinary changes, not for a whole cluster.
	maxSpare = 1024
	// maxSpareList is the most values of a list whose memory is kept. It is less than
	// maxSpare because every service of an update has such lists, and a tenant may
	// make each of them large in turn.
	maxSpareList = 64
)

// Update begins an update. It drops the previous one unless that was committed. Only
// the writer may call it.
func (t *Trie) Update() *Update {
	if t.update == nil {
		t.update = &Update{trie: t, created: make(map[ServiceKey]*pending)}
	}
	t.update.reset()
	return t.update
}

// reset empties the update, so that it keeps no memory of the trie alive.
func (u *Update) reset() {
	clear(u.created)
	for _, p := range u.pending {
		p.service.pending = nil
		p.change.reset()
		*p = pending{change: p.change}
	}
	u.spare = append(u.spare, u.pending...)
	u.pending, u.changed, u.scratch = u.pending[:0], u.changed[:0], reuse(u.scratch)
	u.emptied, u.vacated = reuse(u.emptied), reuse(u.vacated)
	u.removed4, u.removed6 = reuse(u.removed4), reuse(u.removed6)
	u.entries4, u.entries6 = reuse(u.entries4), reuse(u.entries6)
	u.size = 0
}

// recycle ends a committed update. The trie keeps its memory unless it was large.
func (u *Update) recycle() {
	large := u.size > maxSpare
	u.reset()
	if large {
		u.trie.update = nil
	}
}

// reuse returns an empty list with the memory of the given one, or nil if that is
// large.
func reuse[T any](list []T) []T {
	if cap(list) > maxSpareList {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}

// pendingFor returns the update's part for a service, which it creates if there is
// none.
func (u *Update) pendingFor(key ServiceKey) *pending {
	s := u.trie.all.service(key)
	if s != nil && s.pending != nil {
		return s.pending
	}
	if p := u.created[key]; p != nil {
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
		if u.trie.external.namespaces.Load().n > 0 {
			p.outside = u.trie.external.service(key)
		}
		p.wasExternal = p.outside != nil
		p.external = p.wasExternal
		s.pending = p
	} else {
		s = &service{namespace: key.Namespace, name: key.Name}
		s.snapshot.Store(u.trie.emptySnapshot())
		u.created[key] = p
	}
	p.service = s
	p.old = s.snapshot.Load()
	p.base = p.old
	u.size++
	u.pending = append(u.pending, p)
	return p
}
