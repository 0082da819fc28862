package records

import "slices"

// Endpoints may be in a topology zone, and a zonal name has those of one zone. No set is
// kept for it. The sets of a service's own name and of its ports are sorted by zone first,
// so the records of a zonal name are a range of them. A zone is one byte of a key, which
// item has to spare.
//
// A key may be in several zones: an address is listed twice, or pods in two zones share a
// hostname. It is in the set once, in one of its zones, so that the service's own name walks
// the set and has each record once. The key in its other zones is in a second set, which
// nearly always is empty.

// zoneTag stands for a topology zone in one service: a position in its list of zones, from
// one on.
type zoneTag uint8

const (
	noZone zoneTag = 0
	// maxZones is the most zones of a service, so that what is done for each zone costs little.
	// Endpoints in further zones count as in none.
	maxZones = 63
)

// zoned is a key in a topology zone. Keys sort by zone first.
type zoned[K any] interface {
	ordered[K]
	zone() zoneTag
	in(zoneTag) K // the key in another zone
}

// zones are the topology zones of a service, and the addresses and targets that are in more
// zones than one, in those zones where snapshot.allAddrs and snapshot.allTargets do not have
// them.
type zones struct {
	names   []string // in lower case; tag i+1 stands for names[i]
	addrs   addresses
	targets set[target]
}

// numZones returns the highest tag.
func (s *snapshot) numZones() int {
	if s.zones == nil {
		return 0
	}
	return len(s.zones.names)
}

// zoneNamed returns the tag of the zone with a name, or noZone.
func (s *snapshot) zoneNamed(name []byte) zoneTag {
	if s.zones == nil {
		return noZone
	}
	return zoneTag(1 + slices.IndexFunc(s.zones.names, func(zone string) bool { return zone == string(name) }))
}

// zoneTag returns the tag of an endpoint's zone. It extends the list of zones if the zone is
// new. A tag stands for its zone until the service has no ready endpoint.
func (p *pending) zoneTag(zone string) zoneTag {
	if zone == "" {
		return noZone
	}
	c := &p.change
	if c.zones == nil && p.base.zones != nil {
		c.zones = slices.Clip(p.base.zones.names) // so that append copies it
	}
	i := slices.Index(c.zones, zone)
	switch {
	case i >= 0:
		return zoneTag(1 + i)
	case len(c.zones) == maxZones:
		return noZone
	}
	c.zones = append(c.zones, zone)
	return zoneTag(len(c.zones))
}

// mergeZoned returns the two sets of some keys with the deltas applied, which are summed. The
// first set has each key once, in one of its zones, and the second set has it in the others.
// The highest tag is zones.
func mergeZoned[K zoned[K]](one, more set[K], deltas []delta[K], zones int) (set[K], set[K]) {
	if zones == 0 || len(deltas) == 0 {
		return one.merge(deltas), more
	}
	deltas = slices.Clone(deltas)
	slices.SortFunc(deltas, func(a, b delta[K]) int { return a.key.in(noZone).compare(b.key.in(noZone)) })
	p := placement[K]{one: one, more: more, zones: zoneTag(zones)}
	for len(deltas) > 0 {
		n := 1
		for n < len(deltas) && deltas[n].key.in(noZone).compare(deltas[0].key.in(noZone)) == 0 {
			n++
		}
		p.place(deltas[:n])
		deltas = deltas[n:]
	}
	return one.merge(sum(p.toOne)), more.merge(sum(p.toMore))
}

// placement divides deltas between the two sets of [mergeZoned].
type placement[K zoned[K]] struct {
	one, more     set[K]
	zones         zoneTag // the highest
	toOne, toMore []delta[K]
}

// place appends the deltas of one key, at most one of each zone. If the key leaves the zone
// in which the first set has it, it moves there from another of its zones.
func (p *placement[K]) place(deltas []delta[K]) {
	key := deltas[0].key
	home, refs := p.home(key)
	had := refs > 0
	if had {
		d := deltaIn(deltas, home)
		p.toOne = append(p.toOne, delta[K]{key.in(home), d})
		refs += d
	}
	settled := refs > 0
	if settled {
		for _, d := range deltas {
			if d.key.zone() != home {
				p.toMore = append(p.toMore, d)
			}
		}
		return
	}
	for z := noZone; z <= p.zones; z++ {
		if had && z == home {
			continue
		}
		was, d := p.more.refsOf(key.in(z)), deltaIn(deltas, z)
		if !settled && was+d > 0 {
			settled = true
			p.toOne = append(p.toOne, delta[K]{key.in(z), was + d})
			d = -was
		}
		if d != 0 {
			p.toMore = append(p.toMore, delta[K]{key.in(z), d})
		}
	}
}

// home returns the zone in which the first set has the key, with its refs there, which are
// zero if the set does not have it.
func (p *placement[K]) home(key K) (zoneTag, int32) {
	if refs := p.one.refsOf(key); refs > 0 {
		return key.zone(), refs
	}
	for z := noZone; z <= p.zones; z++ {
		if refs := p.one.refsOf(key.in(z)); refs > 0 {
			return z, refs
		}
	}
	return noZone, 0
}

// deltaIn returns the delta in a zone among those of one key.
func deltaIn[K zoned[K]](deltas []delta[K], z zoneTag) int32 {
	for _, d := range deltas {
		if d.key.zone() == z {
			return d.refs
		}
	}
	return 0
}

// refsOfZoned returns the refs of a key in its zone. The second set may be nil.
func refsOfZoned[K zoned[K]](one, more *set[K], key K) int32 {
	refs := one.refsOf(key)
	if refs == 0 && more != nil {
		refs = more.refsOf(key)
	}
	return refs
}

// refsInAll returns the refs of a key in all zones, of which the highest tag is given.
func refsInAll[K zoned[K]](one, more *set[K], key K, zones int) (refs int32) {
	for z := noZone; int(z) <= zones; z++ {
		refs += refsOfZoned(one, more, key.in(z))
	}
	return refs
}
