package records

import (
	"cmp"
	"encoding/binary"
)

// target is what an SRV record points to, a host and a port number, for endpoints in a
// topology zone. It is the zone, the host id and the port in nine bytes, so that an item
// takes 12. It sorts by zone, then by host, then by port.
type target [1 + 8]byte

func newTarget(z zoneTag, host hostID, port uint16) (t target) {
	t[0] = byte(z)
	binary.BigEndian.PutUint64(t[1:], uint64(host)<<16|uint64(port))
	return t
}

func (t target) zone() zoneTag { return zoneTag(t[0]) }
func (t target) host() hostID  { return hostID(t.rest() >> 16) }
func (t target) port() uint16  { return uint16(t.rest()) }

// rest is the host id and the port.
func (t target) rest() uint64 { return binary.BigEndian.Uint64(t[1:]) }

func (t target) in(z zoneTag) target {
	t[0] = byte(z)
	return t
}

func (t target) compare(u target) int {
	return cmp.Or(cmp.Compare(t[0], u[0]), cmp.Compare(t.rest(), u.rest()))
}

// targets is a set of targets, each in one of its zones.
type targets struct {
	set       set[target]
	endpoints int // the refs of all targets; the weight of the SRV records follows from it
}

// merge returns the targets with the deltas applied, which are summed. The targets in more
// zones are in a set of their own; see [mergeZoned].
func (t targets) merge(more set[target], deltas []delta[target], zones int) (targets, set[target]) {
	for _, d := range deltas {
		t.endpoints += int(d.refs)
	}
	t.set, more = mergeZoned(t.set, more, deltas, zones)
	return t, more
}
