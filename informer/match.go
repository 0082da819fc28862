package informer

import (
	"slices"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// podsOf returns the pods of each service of a namespace.
func (j *joiner) podsOf(m *namespaceObjects) map[*joinedService][]*object.Pod {
	of := make(map[*joinedService][]*object.Pod)
	for _, p := range m.pods {
		j.match(&m.selectors, p, func(s *joinedService) { of[s] = append(of[s], p) })
	}
	j.clearCaches()
	return of
}

// serve adds a headless service with its endpoints to the update.
func (j *joiner) serve(c counter, s *joinedService, m *namespaceObjects, pods []*object.Pod) {
	c.update.Create(s.key)
	if s.External {
		c.update.SetExternal(s.key, true)
	}
	for _, p := range pods {
		j.countPod(c, s, p)
	}
	j.countSlices(c, s, m)
}

// counter counts endpoints in an update: it adds them or, if out is set, removes them.
type counter struct {
	update *records.Update
	out    bool
}

func (c counter) count(k records.ServiceKey, e records.Endpoint) {
	if c.out {
		c.update.Remove(k, e)
	} else {
		c.update.Add(k, e)
	}
}

func (c counter) countStray(k records.ServiceKey, s records.Stray) {
	if c.out {
		c.update.RemoveStray(k, s)
	} else {
		c.update.AddStray(k, s)
	}
}

// match calls f for each service of n that selects the pod. It caches the services for the
// pod's template, and so looks up the labels of one pod of each template. If a service
// selects by a label whose value differs between the pods of a template, match looks up
// the labels of every pod.
func (j *joiner) match(n *selectors, p *object.Pod, f func(*joinedService)) {
	if n.empty() {
		return
	}
	matched, ok := n.matched[p.Template]
	if !ok {
		individual := false
		j.labels = j.labels[:0]
		for l, derived := range p.Labels {
			individual = individual || derived && n.keys[l.Key] > 0
			j.labels = append(j.labels, l)
		}
		if individual {
			j.lookups += n.root.match(j.labels, f)
			return
		}
		j.lookups += n.root.match(j.labels, func(s *joinedService) { matched = append(matched, s) })
		if len(n.matched) == 0 {
			j.matchCaches = append(j.matchCaches, n)
		}
		n.cacheMatches(p.Template, matched)
	}
	for _, s := range matched {
		f(s)
	}
}

// clearCaches empties the caches of match and countPod, which would keep memory for
// templates that are gone.
func (j *joiner) clearCaches() {
	for _, s := range j.portCaches {
		s.resolved = nil
	}
	j.portCaches = slices.Delete(j.portCaches, 0, len(j.portCaches))
	for _, n := range j.matchCaches {
		n.clearCache()
	}
	j.matchCaches = slices.Delete(j.matchCaches, 0, len(j.matchCaches))
}

// countPod counts the endpoints that a pod gives a service, which selects it.
func (j *joiner) countPod(c counter, s *joinedService, p *object.Pod) {
	j.countPodIn(c, s, p, j.zone(p))
}

// zone returns the topology zone of a pod, or "".
func (j *joiner) zone(p *object.Pod) string { return j.naming.podZone(p, j.zoneOfNode) }

// countPodIn counts the endpoints of a pod that is in a topology zone.
func (j *joiner) countPodIn(c counter, s *joinedService, p *object.Pod, zone string) {
	resolved := len(s.resolved) > 0
	podEndpoints(s, p, zone, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
	if stray, ok := strayHostname(s, p, &j.naming); ok {
		c.countStray(s.key, stray)
	}
	if !resolved && len(s.resolved) > 0 {
		j.portCaches = append(j.portCaches, s)
	}
}

func (j *joiner) countSlices(c counter, s *joinedService, m *namespaceObjects) {
	for _, slice := range m.byService[s.Name] {
		j.countSlice(c, s, slice, slice.Endpoints)
	}
}

// counts reports whether a service, whose slice this is, has the endpoints of the slice. The
// SliceController makes its slices from the pods that the service selects, which count themselves.
func (j *joiner) counts(s *joinedService, slice *object.EndpointSlice) bool {
	return !slice.Controlled || j.fromSlices(s)
}

// fromSlices reports whether slices alone are the source of a service's endpoints.
func (j *joiner) fromSlices(s *joinedService) bool { return j.slicesOnly || len(s.Selector) == 0 }

// countSlice counts the given endpoints of a slice. Where pods are watched, they replace
// the slices of the EndpointSlice controller, except for a service without a selector: the
// controller neither updates nor deletes its slices.
func (j *joiner) countSlice(c counter, s *joinedService, slice *object.EndpointSlice, endpoints []object.Endpoint) {
	if !j.counts(s, slice) {
		return
	}
	sliceEndpoints(s.sliceRules(), slice, endpoints, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
}
