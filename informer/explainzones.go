package informer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/headless-dns/headless/records"
)

// zonal explains a zonal name: how many of the ready endpoints of a service are in its topology zone
// or, if none is, where they are.
func (e *explanation) zonal(v *view, s *joinedService, subject Subject) {
	in := e.zones(v, s)
	total := 0
	for _, n := range in {
		total += n
	}
	switch n := in[subject.Zone]; {
	case n > 0:
		e.add("zone %s: it has %d of the %d ready endpoints of service %s", subject.Zone, n, total, s.Name)
	case total == 0:
		e.add("zone %s: service %s has no ready endpoint in any zone", subject.Zone, s.Name)
	case subject.Prefer:
		e.add("zone %s: no ready endpoint of service %s, so all %d count: %s", subject.Zone, s.Name, total, listCounts(in, "zones"))
	default:
		e.add("zone %s: no ready endpoint of service %s; the others are: %s", subject.Zone, s.Name, listCounts(in, "zones"))
	}
}

// zones counts the ready endpoints of a service by topology zone. Those in no zone are at "".
func (e *explanation) zones(v *view, s *joinedService) map[string]int {
	in := make(map[string]int)
	for _, p := range e.selected(v, s) {
		zone := e.zone(p)
		podEndpoints(s, p, zone, &e.naming, func(x records.Endpoint) {
			if x.Withheld == records.Ready {
				in[zone]++
			}
		})
	}
	for _, slice := range e.slicesOf(v, s) {
		sliceEndpoints(s.sliceRules(), slice, slice.Endpoints, &e.naming, func(x records.Endpoint) {
			if x.Withheld == records.Ready {
				in[x.Zone]++
			}
		})
	}
	return in
}

// listCounts lists the zones or clusters with most endpoints.
func listCounts(in map[string]int, what string) string {
	names := slices.SortedFunc(maps.Keys(in), func(a, b string) int { return cmp.Or(cmp.Compare(in[b], in[a]), strings.Compare(a, b)) })
	var out []string
	for i, name := range names {
		if i == maxListed {
			out = append(out, fmt.Sprintf("and %d more %s", len(names)-i, what))
			break
		}
		if name == "" {
			out = append(out, fmt.Sprintf("%d in no zone", in[name]))
		} else {
			out = append(out, fmt.Sprintf("%d in %s", in[name], name))
		}
	}
	return strings.Join(out, ", ")
}
