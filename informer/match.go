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

// serve adds a headless service with its pods.
func (j *joiner) serve(c counter, s *joinedService, m *namespaceObjects, pods []*object.Pod) {
	c.update.Create(s.key)
	for _, p := range pods {
		j.countPod(c, s, p)
	}
	j.countSlices(c, s, m)
}

// counter counts endpoints in, or out.
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

// match calls f for each service of n that selects the pod. Until forget, it looks up the
// labels of one pod of each template. Only if a service selects by a label that is each
// pod's own, it looks up those of every pod.
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

// clearCaches ends what match and countPod remember, which takes memory for pods that are gone.
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

// countPod counts the endpoints that a pod is of a service that selects it.
func (j *joiner) countPod(c counter, s *joinedService, p *object.Pod) {
	resolved := len(s.resolved) > 0
	podEndpoints(s, p, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
	if !resolved && len(s.resolved) > 0 {
		j.portCaches = append(j.portCaches, s)
	}
}

func (j *joiner) countSlices(c counter, s *joinedService, m *namespaceObjects) {
	for _, slice := range m.byService[s.Name] {
		j.countSlice(c, s, slice, slice.Endpoints)
	}
}

// countSlice counts the endpoints of a slice of a service. Where pods are watched, they
// stand for the slices of the EndpointSlice controller, unless the service has lost its
// selector: then the controller leaves its slices as they are, and they still count.
func (j *joiner) countSlice(c counter, s *joinedService, slice *object.EndpointSlice, endpoints []object.Endpoint) {
	if slice.Controlled && !j.slicesOnly && len(s.Selector) > 0 {
		return
	}
	sliceEndpoints(s, slice, endpoints, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
}
