package records

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
	trie    *Trie
	created map[ServiceKey]*pending // those that were not there before
	pending []*pending              // as they were first named
	changed []*pending              // those with a net change
	scratch []*pending              // scratch of publish
	spare   []*pending              // for the next services that are named
	size    int                     // services named and endpoints counted

	// What publishAll takes away in the end.
	emptied  []*namespace
	removed4 []delta[addr4]
	removed6 []delta[addr6]

	entries4 []entry[addr4] // changes of the reverse index
	entries6 []entry[addr6]
}

// pending is a service within an update.
type pending struct {
	key        ServiceKey
	service    *service  // its place in the trie, also before it is published
	old        *snapshot // what was published last
	base       *snapshot // what the change is to
	next       *snapshot // what will be published
	change     change
	existed    bool // before this update
	exists     bool
	deleted    bool // base is not before
	losesReady bool // it has lost its last ready endpoint
	progress   progress
	planned    int // deltas of change.hosts that need no other service any more
}

// state is how far the plan of an update is with a service.
type progress int

const (
	unplanned progress = iota
	waiting            // on the path
	released           // the steps so far take it from every address that it loses
)

// Update starts an update. The one before is over then, committed or not.
func (t *Trie) Update() *Update {
	if t.update == nil {
		t.update = &Update{trie: t, created: make(map[ServiceKey]*pending)}
	}
	t.update.reset()
	return t.update
}

// spareSize is how many changes an update may hold for its memory to be kept for
// the next one: enough for what happens all the time, not for a whole cluster.
const maxSpare = 1024

// reset makes the update empty, and lets go of all that it knows of the trie.
func (u *Update) reset() {
	clear(u.created)
	for _, p := range u.pending {
		p.service.pending = nil
		p.change.reset()
		*p = pending{change: p.change}
	}
	u.spare = append(u.spare, u.pending...)
	u.pending, u.changed, u.scratch = u.pending[:0], u.changed[:0], reuse(u.scratch)
	u.emptied, u.removed4, u.removed6 = reuse(u.emptied), reuse(u.removed4), reuse(u.removed6)
	u.entries4, u.entries6 = reuse(u.entries4), reuse(u.entries6)
	u.size = 0
}

// done ends a committed update.
func (u *Update) recycle() {
	large := u.size > maxSpare
	u.reset()
	if large {
		u.trie.update = nil
	}
}

// spareList is how many values a list of an update may have had room for, for its
// memory to be kept. All services of an update have such lists, so that it is
// less than spareSize: a tenant may make each of them large, one after another.
const maxSpareList = 64

// empty returns the memory of a list, with nothing in it, or nil if it is large.
func reuse[T any](list []T) []T {
	if cap(list) > maxSpareList {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}

func (u *Update) pendingFor(key ServiceKey) *pending {
	s := u.trie.service(key)
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
		s.pending = p
	} else {
		s = &service{namespace: key.Namespace, name: key.Name}
		s.snapshot.Store(new(snapshot))
		u.created[key] = p
	}
	p.service = s
	p.old = s.snapshot.Load()
	p.base = p.old
	u.size++
	u.pending = append(u.pending, p)
	return p
}

func (t *Trie) service(key ServiceKey) *service {
	ns := namespaceOf(t.namespaces.Load(), []byte(key.Namespace))
	if ns == nil {
		return nil
	}
	return ns.service([]byte(key.Name))
}

// Create makes the service exist. It changes nothing if the service does already.
func (u *Update) Create(key ServiceKey) { u.pendingFor(key).exists = true }

// Delete takes the service away with all its endpoints. It has those that are added
// afterwards only if it is created again.
func (u *Update) Delete(key ServiceKey) {
	p := u.pendingFor(key)
	p.exists, p.deleted = false, true
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
	u.pendingFor(key).change.count(&e, refs)
	u.size++
}
