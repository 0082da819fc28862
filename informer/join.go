package informer

import (
	"maps"

	"github.com/headless-dns/headless/records"
)

// join holds the objects and turns their changes into changes of the trie. It is
// the writer's alone.
//
// Until it is started it only stores what comes: joining a whole cluster is done
// once, with every service known, whichever kind was listed first.
type join struct {
	trie       *records.Trie
	podNames   bool
	namespaces map[string]*members
	// allowed are the namespaces to serve; nil is all.
	allowed map[string]bool
	started bool
}

// members are the objects of one namespace.
type members struct {
	pods     map[string]*pod
	services map[string]*service
	slices   map[string]*endpointSlice
	// selecting finds the services of a pod: each service with a selector stands
	// under the first label of it.
	selecting map[label]map[string]*service
	// sliced finds the slices of a service.
	sliced map[string]map[string]*endpointSlice
}

func newJoin(trie *records.Trie, podNames, selectNamespaces bool) *join {
	j := &join{trie: trie, podNames: podNames, namespaces: make(map[string]*members)}
	if selectNamespaces {
		j.allowed = make(map[string]bool)
	}
	return j
}

func (j *join) members(namespace string) *members {
	m, ok := j.namespaces[namespace]
	if !ok {
		m = &members{
			pods:      make(map[string]*pod),
			services:  make(map[string]*service),
			slices:    make(map[string]*endpointSlice),
			selecting: make(map[label]map[string]*service),
			sliced:    make(map[string]map[string]*endpointSlice),
		}
		j.namespaces[namespace] = m
	}
	return m
}

// prune forgets a namespace that holds nothing any more.
func (j *join) prune(namespace string, m *members) {
	if len(m.pods)+len(m.services)+len(m.slices) == 0 {
		delete(j.namespaces, namespace)
	}
}

// served tells whether the names of a namespace are in the trie.
func (j *join) served(namespace string) bool {
	return j.started && (j.allowed == nil || j.allowed[namespace])
}

// start puts everything stored into the trie.
func (j *join) start(u *records.Update) {
	j.started = true
	for name, m := range j.namespaces {
		if j.served(name) {
			j.serve(u, m)
		}
	}
}

// serve adds a namespace's services.
func (j *join) serve(u *records.Update, m *members) {
	for _, s := range m.services {
		if s.headless {
			u.Create(records.ServiceKey{Namespace: s.namespace, Name: s.name})
			j.countSlices(s, m, u.Add)
		}
	}
	for _, p := range m.pods {
		j.countPod(p, m, u.Add)
	}
}

// count is records.Update's Add or Remove.
type count func(records.ServiceKey, records.Endpoint)

// countPod counts the pod's endpoints in every service that selects it.
func (j *join) countPod(p *pod, m *members, count count) {
	for _, l := range p.labels {
		for _, s := range m.selecting[l] {
			if s.selector.matches(p.labels) {
				j.countEndpoints(s, podEndpoints(s, p, j.podNames), count)
			}
		}
	}
}

// countService counts the endpoints of all pods and slices of a service.
func (j *join) countService(s *service, m *members, count count) {
	if len(s.selector) > 0 {
		for _, p := range m.pods {
			if s.selector.matches(p.labels) {
				j.countEndpoints(s, podEndpoints(s, p, j.podNames), count)
			}
		}
	}
	j.countSlices(s, m, count)
}

func (j *join) countSlices(s *service, m *members, count count) {
	for _, slice := range m.sliced[s.name] {
		j.countEndpoints(s, sliceEndpoints(slice, j.podNames), count)
	}
}

func (j *join) countSlice(slice *endpointSlice, m *members, count count) {
	if s := m.services[slice.service]; s != nil && s.headless {
		j.countEndpoints(s, sliceEndpoints(slice, j.podNames), count)
	}
}

func (j *join) countEndpoints(s *service, endpoints []records.Endpoint, count count) {
	for _, e := range endpoints {
		count(records.ServiceKey{Namespace: s.namespace, Name: s.name}, e)
	}
}

// set stores an object in place of the one with its key. It reports whether DNS
// could see a difference.
func (j *join) set(u *records.Update, o object) bool {
	switch o := o.(type) {
	case *pod:
		return j.setPod(u, o.key, o)
	case *service:
		return j.setService(u, o.key, o)
	case *endpointSlice:
		return j.setSlice(u, o.key, o)
	case *namespace:
		return j.setNamespace(u, o.name, true)
	}
	return false
}

// remove takes away the object with a key, if there is one.
func (j *join) remove(u *records.Update, kind Kind, k key) bool {
	switch kind {
	case Pods:
		return j.setPod(u, k, nil)
	case Services:
		return j.setService(u, k, nil)
	case EndpointSlices:
		return j.setSlice(u, k, nil)
	case Namespaces:
		return j.setNamespace(u, k.name, false)
	}
	return false
}

func (j *join) setPod(u *records.Update, k key, p *pod) bool {
	m := j.members(k.namespace)
	defer j.prune(k.namespace, m)
	old := m.pods[k.name]
	if !replace(m.pods, k.name, p) {
		return false
	}
	if j.served(k.namespace) {
		if old != nil {
			j.countPod(old, m, u.Remove)
		}
		if p != nil {
			j.countPod(p, m, u.Add)
		}
	}
	return true
}

func (j *join) setSlice(u *records.Update, k key, slice *endpointSlice) bool {
	m := j.members(k.namespace)
	defer j.prune(k.namespace, m)
	old := m.slices[k.name]
	if !replace(m.slices, k.name, slice) {
		return false
	}
	if old != nil {
		drop(m.sliced, old.service, k.name)
		if j.served(k.namespace) {
			j.countSlice(old, m, u.Remove)
		}
	}
	if slice != nil {
		put(m.sliced, slice.service, k.name, slice)
		if j.served(k.namespace) {
			j.countSlice(slice, m, u.Add)
		}
	}
	return true
}

func (j *join) setService(u *records.Update, k key, s *service) bool {
	m := j.members(k.namespace)
	defer j.prune(k.namespace, m)
	old := m.services[k.name]
	if !replace(m.services, k.name, s) {
		return false
	}
	key := records.ServiceKey{Namespace: k.namespace, Name: k.name}
	was, is := old != nil && old.headless, s != nil && s.headless
	if was && len(old.selector) > 0 {
		drop(m.selecting, old.selector[0], k.name)
	}
	if is && len(s.selector) > 0 {
		put(m.selecting, s.selector[0], k.name, s)
	}
	if !j.served(k.namespace) {
		return true
	}
	switch {
	case was && is:
		j.countService(old, m, u.Remove)
		j.countService(s, m, u.Add)
	case was:
		u.Delete(key)
	case is:
		u.Create(key)
		j.countService(s, m, u.Add)
	}
	return was || is
}

func (j *join) setNamespace(u *records.Update, name string, allowed bool) bool {
	if j.allowed == nil || j.allowed[name] == allowed {
		return false
	}
	m := j.members(name)
	defer j.prune(name, m)
	if !allowed {
		delete(j.allowed, name)
		for _, s := range m.services {
			if j.started && s.headless {
				u.Delete(records.ServiceKey{Namespace: name, Name: s.name})
			}
		}
		return true
	}
	j.allowed[name] = true
	if j.started {
		j.serve(u, m)
	}
	return true
}

// differing is an object that can tell whether DNS could see a difference.
type differing[T any] interface {
	*T
	equal(*T) bool
}

// replace stores value, or deletes the entry if value is nil, and tells whether
// that changed anything.
func replace[T any, P differing[T]](m map[string]P, name string, value P) bool {
	old := m[name]
	switch {
	case value == nil:
		delete(m, name)
		return old != nil
	case old != nil && old.equal(value):
		return false
	}
	m[name] = value
	return true
}

func put[K comparable, V any](m map[K]map[string]V, k K, name string, v V) {
	if m[k] == nil {
		m[k] = make(map[string]V)
	}
	m[k][name] = v
}

func drop[K comparable, V any](m map[K]map[string]V, k K, name string) {
	delete(m[k], name)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// names returns the keys of the stored objects of a kind; of one namespace, or
// of all where that is empty.
func (j *join) names(kind Kind, namespace string) []key {
	if kind == Namespaces {
		var out []key
		for name := range j.allowed {
			out = append(out, key{name: name})
		}
		return out
	}
	var out []key
	for ns, m := range j.namespaces {
		if namespace != "" && ns != namespace {
			continue
		}
		switch kind {
		case Pods:
			out = appendKeys(out, ns, m.pods)
		case Services:
			out = appendKeys(out, ns, m.services)
		case EndpointSlices:
			out = appendKeys(out, ns, m.slices)
		}
	}
	return out
}

func appendKeys[V any](out []key, namespace string, m map[string]V) []key {
	for name := range maps.Keys(m) {
		out = append(out, key{namespace, name})
	}
	return out
}
