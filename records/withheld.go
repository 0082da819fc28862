package records

import (
	"cmp"
	"strings"
)

// withheld is a host label that does not answer, and the reason. A snapshot has a set of
// them: for the counts in [Stats], and for [Node.Denial].
type withheld struct {
	host      string // empty if the endpoint has no label yet
	reason    Reason
	subdomain string // of a Stray
}

// stray is the reason of the hostname in a [Stray]. Counts do not have it.
const stray = reasons

// Stray is a hostname that is no name of a service, although the service selects the pod:
// the pod's subdomain is not the name of the service. The endpoint has a generated label. In a
// clusterset, the hostname is HOST.CLUSTER.
type Stray struct{ Hostname, Subdomain string }

// AddStray makes [Node.Denial] explain the hostname. One that is added twice stays until it
// is removed twice.
func (u *Update) AddStray(key ServiceKey, s Stray) { u.countStray(key, s, 1) }

// RemoveStray removes a hostname that was added with the same fields.
func (u *Update) RemoveStray(key ServiceKey, s Stray) { u.countStray(key, s, -1) }

func (u *Update) countStray(key ServiceKey, s Stray, refs int32) {
	c := &u.pendingFor(key).change
	c.withheld = append(c.withheld, delta[withheld]{withheld{s.Hostname, stray, s.Subdomain}, refs})
	u.size++
}

func (w withheld) compare(v withheld) int {
	return cmp.Or(strings.Compare(w.host, v.host), cmp.Compare(w.reason, v.reason), strings.Compare(w.subdomain, v.subdomain))
}

// withheldHost returns the first reason for which the host label does not answer, in the
// order of the constants, or false if there is none.
func (s *snapshot) withheldHost(label []byte) (withheld, bool) {
	i := s.withheld.searchFunc(func(w withheld) bool { return w.host < string(label) })
	if i == s.withheld.len() {
		return withheld{}, false
	}
	c := s.withheld.at(i)
	w := c.item().key
	return w, w.host == string(label)
}
