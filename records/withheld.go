package records

import (
	"cmp"
	"strings"
)

// withheld is the host label of a withheld endpoint, and the reason. A snapshot has
// a set of them: for the counts in [Stats], and for [Trie.Withheld].
type withheld struct {
	host   string // empty if the endpoint has no label yet
	reason Reason
}

func (w withheld) compare(v withheld) int {
	return cmp.Or(strings.Compare(w.host, v.host), cmp.Compare(w.reason, v.reason))
}

// Withheld returns the reason why an endpoint with the host label is withheld, or
// [Ready] if none is. Of several reasons it returns the first in the order of the
// constants. Another endpoint with the label may be ready.
//
// Withheld is for debugging: it tells an operator why the name of a host is missing,
// or why a host lacks an address. No DNS reply depends on it.
func (t *Trie) Withheld(key ServiceKey, host string) Reason {
	s := t.service(key)
	if s == nil {
		return Ready
	}
	set := s.snapshot.Load().withheld
	if i := set.search(withheld{host: host}); i < set.len() {
		c := set.at(i)
		if w := c.item().key; w.host == host {
			return w.reason
		}
	}
	return Ready
}
