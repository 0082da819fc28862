package records

// ServiceKey names a service, in lower case.
type ServiceKey struct{ Namespace, Name string }

// Update collects changes of a trie. Readers see none of them before [Update.Commit].
// Names and labels are in lower case. Only the writer may use an update, and one
// update at a time.
//
// An update tolerates changes that do not fit the trie:
//
//   - Commit ignores endpoints of a service that does not exist then.
//   - Commit ignores the removal of what was not added.
//   - Add and Remove ignore an endpoint that is ready or addressed without a valid address.
//   - An IPv4 address that is mapped into IPv6 counts as the IPv4 address.
//   - The zone of an IPv6 address is dropped.
//   - Of the topology zones of a service, the first 63 are told apart. Endpoints in
//     further ones are in none.
//   - In a clusterset, Add and Remove ignore an endpoint whose Zone is not the id of a cluster; see
//     [IsClusterID].
type Update struct {
	trie    *Trie
	pending []*pending              // in the order in which the caller first named the services
	created map[ServiceKey]*pending // the services that the trie did not have
	changed []*pending              // the services that the commit changes
	size    int

	// Of the commit: what it removes after the last portion.
	emptied  []*namespace // of Trie.all
	vacated  []*namespace // of Trie.external
	removed4 []delta[addr4]
	removed6 []delta[addr6]

	// Of a portion of the commit.
	scratch  []*pending
	entries4 []entry[addr4] // deltas of the reverse index
	entries6 []entry[addr6]

	spare []*pending // for the next services that the caller names
}

// pending is the part of an update that is about one service.
type pending struct {
	key     ServiceKey
	service *service // its place in the trie, also before readers see it there
	change  change

	old  *snapshot // published last
	base *snapshot // what change applies to: old, or an empty one after Delete
	next *snapshot // to be published; nil until its portion builds it

	existed bool // before the update
	exists  bool // after it
	deleted bool // by the update, which may have created it again
	empties bool // it loses its last name

	// Of external zones: the service's place in Trie.external, whether it was there and will be
	// if it exists, and whether it loses its last name there.
	outside                        *service
	wasExternal, external, vacates bool

	// Of the plan.
	progress progress
	planned  int // the number of deltas of change.names that wait for no other service any more
}

// Create makes the service exist. It has no effect if the service exists already.
func (u *Update) Create(key ServiceKey) { u.pendingFor(key).exists = true }

// Delete removes the service and its endpoints. Endpoints that are added afterwards
// count only if the service is created again. It is not external then.
func (u *Update) Delete(key ServiceKey) {
	p := u.pendingFor(key)
	p.exists, p.deleted, p.external = false, true, false
	p.base = u.trie.emptySnapshot()
	p.change.reset()
}

// nameServer has no names in external zones: ns.dns below an apex is the zone's name server, which
// no service may be.
var nameServer = ServiceKey{"dns", "ns"}

// SetExternal gives the service names in external zones, or takes them away. Commit ignores it
// for a service that does not exist then.
func (u *Update) SetExternal(key ServiceKey, external bool) {
	u.pendingFor(key).external = external && key != nameServer
}

// isExternal reports whether the service has names in external zones after the update.
func (p *pending) isExternal() bool { return p.exists && p.external }

// Add adds an endpoint to the service. An endpoint that is added twice stays until it
// is removed twice.
func (u *Update) Add(key ServiceKey, e Endpoint) { u.count(key, e, 1) }

// Remove removes an endpoint that was added with the same fields. If none was, it
// removes those of the fields that the service has: the address from the host, and
// the ports.
func (u *Update) Remove(key ServiceKey, e Endpoint) { u.count(key, e, -1) }

// Size returns the number of services named plus the number of endpoints added and
// removed.
func (u *Update) Size() int { return u.size }

func (u *Update) count(key ServiceKey, e Endpoint, refs int32) {
	e.Addr = e.Addr.Unmap().WithZone("")
	e.Addressed = e.Addressed && e.Withheld == NotReady
	if (e.Withheld == Ready || e.Addressed) && !e.Addr.IsValid() || e.Withheld >= reasons {
		return
	}
	if u.trie.clusterset {
		if !IsClusterID(e.Zone) {
			return
		}
		e.Host = hostInCluster(e.Host, e.Zone)
	}
	p, z := u.pendingFor(key), noZone
	if e.Withheld == Ready && !u.trie.clusterset {
		z = p.zoneTag(e.Zone)
	}
	p.change.count(&e, z, refs)
	u.size++
}
