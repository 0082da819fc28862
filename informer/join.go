package informer

import (
	"sync"
	"sync/atomic"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// joiner stores the objects and turns their changes into changes of the trie. Only the
// writer may use it, except for reuse, objects, selectorlessIn, indexClients and clients.
//
// Until start it only stores objects. Then every service is known, in whichever order the
// kinds were listed, and it joins the whole cluster at once.
type joiner struct {
	trie       *records.Trie
	naming     naming
	addressed  bool // Config.Addressed
	slicesOnly bool // no pods are watched; the slices of the EndpointSlice controller count instead
	// allowed are the namespaces to serve, or nil for all.
	allowed map[string]bool
	started bool
	// previous are the old versions of the services in served namespaces that changed since
	// the last flush; nil for a new one.
	previous            map[object.Key]*joinedService
	selectorlessChanged bool // selectorless changed; leftovers resets it
	// losing are the new versions of the services that lost their selector. The stored
	// versions keep the selector until release, when the leftover slices are complete.
	losing          map[object.Key]*object.Service
	awaitsLeftovers bool           // leftovers will cause a release
	labels          []object.Label // scratch of match
	lookups         int            // label lookups so far; tests have budgets for them
	// rezoned are the zones before the change of the nodes that have changed since the last
	// flushNodes.
	rezoned map[string]string
	walks   int // of flushNodes so far; tests have budgets for them
	// Caches of one batch, until clearCaches.
	matchCaches []*selectors     // with cached matches
	portCaches  []*joinedService // with resolved ports

	mu           sync.RWMutex // the writer holds it to change the fields below
	namespaces   map[string]*namespaceObjects
	selectorless map[object.Key]struct{} // the headless services without a selector
	nodes        map[string]*object.Node // by name; empty unless zonal
	clientUsers  int                     // of clients

	clients atomic.Pointer[clientIndex] // nil unless somebody wants it
	imports *imports                    // nil unless Config.MultiCluster
}

func newJoiner(trie *records.Trie, podNames, selectNamespaces bool) *joiner {
	j := &joiner{
		trie:         trie,
		naming:       naming{podNames: podNames},
		previous:     make(map[object.Key]*joinedService),
		losing:       make(map[object.Key]*object.Service),
		namespaces:   make(map[string]*namespaceObjects),
		selectorless: make(map[object.Key]struct{}),
		nodes:        make(map[string]*object.Node),
		rezoned:      make(map[string]string),
	}
	if selectNamespaces {
		j.allowed = make(map[string]bool)
	}
	return j
}

// reuse returns the stored object with the key of o if it equals o, else o. So a relist
// keeps no second copy of unchanged objects while it waits for the writer. It is safe for
// concurrent use.
func (j *joiner) reuse(o object.Object) object.Object {
	j.mu.RLock()
	defer j.mu.RUnlock()
	k := o.ID()
	if n, ok := o.(*object.Node); ok {
		if held := j.nodes[k.Name]; held != nil && held.Equal(n) {
			return held
		}
		return o
	}
	if held := j.imports.reuse(o); held != nil {
		return held
	}
	m := j.namespaces[k.Namespace]
	if m == nil {
		return o
	}
	switch o := o.(type) {
	case *object.Pod:
		if held := m.pods[k.Name]; held != nil && held.Equal(o) {
			return held
		}
	case *object.Service:
		if held := m.services[k.Name]; held != nil && held.Equal(o) {
			return held.Service
		}
	case *object.EndpointSlice:
		for _, held := range []*object.EndpointSlice{m.slices[k.Name], m.leftovers[k.Name]} {
			if held != nil && held.Equal(o) {
				return held
			}
		}
	}
	return o
}

// served reports whether the services of a namespace are in the trie.
func (j *joiner) served(namespace string) bool {
	return j.started && (j.allowed == nil || j.allowed[namespace])
}

// portion is how many endpoints start adds to one update, unless a service has more: an
// endpoint takes more memory in an update than in the trie.
const portion = 4096

// start adds everything stored to the trie and returns the number of services. It commits
// in portions, as nobody queries the trie before it is complete.
func (j *joiner) start() int {
	j.started = true
	published := 0
	c := counter{j.trie.Update(), false}
	for name, m := range j.namespaces {
		if !j.served(name) {
			continue
		}
		of := j.podsOf(m)
		for _, s := range m.services {
			if !s.Headless {
				continue
			}
			j.serve(c, s, m, of[s])
			if c.update.Size() >= portion {
				published += c.update.Commit()
				c.update = j.trie.Update()
			}
		}
	}
	j.clearCaches()
	return published + c.update.Commit() + j.startImports()
}

// set stores an object under its key. It reports whether DNS could see a difference.
func (j *joiner) set(u *records.Update, o object.Object) bool {
	switch o := o.(type) {
	case *object.Pod:
		return j.setPod(u, o.ID(), o)
	case *object.Service:
		return j.setService(o.Key, o)
	case *object.EndpointSlice:
		if o.Imported && j.imports == nil {
			return false
		}
		return j.setSlice(u, object.KindOf(o), o.Key, o)
	case *object.ServiceImport:
		return j.setImport(o.Key, o)
	case *object.Namespace:
		return j.setNamespace(u, o.Name, true)
	case *object.Node:
		return j.setNode(o.Name, o)
	}
	return false
}

// remove removes the object with a key, if there is one. It reports whether DNS could see a
// difference.
func (j *joiner) remove(u *records.Update, kind object.Kind, k object.Key) bool {
	switch kind {
	case object.Pods:
		return j.setPod(u, k, nil)
	case object.Services:
		return j.setService(k, nil)
	case object.EndpointSlices, object.LeftoverSlices, object.ImportedSlices:
		return j.setSlice(u, kind, k, nil)
	case object.ServiceImports:
		return j.setImport(k, nil)
	case object.Namespaces:
		return j.setNamespace(u, k.Name, false)
	case object.Nodes:
		return j.setNode(k.Name, nil)
	}
	return false
}

func (j *joiner) setPod(u *records.Update, k object.Key, p *object.Pod) bool {
	m := j.namespace(k.Namespace)
	defer j.prune(k.Namespace, m)
	old := m.pods[k.Name]
	if !put(m.pods, k.Name, old, p) {
		return false
	}
	if x := j.clients.Load(); x != nil {
		x.change(old, p)
	}
	if !j.served(k.Namespace) {
		return true
	}
	in, out := counter{u, false}, counter{u, true}
	if old != nil && p != nil && old.SameLabels(p) { // both match the same services
		j.match(&m.selectors, p, func(s *joinedService) {
			j.countPod(out, s, old)
			j.countPod(in, s, p)
		})
		return true
	}
	if old != nil {
		j.match(&m.selectors, old, func(s *joinedService) { j.countPod(out, s, old) })
	}
	if p != nil {
		j.match(&m.selectors, p, func(s *joinedService) { j.countPod(in, s, p) })
	}
	return true
}

func (j *joiner) setSlice(u *records.Update, kind object.Kind, k object.Key, slice *object.EndpointSlice) bool {
	if kind == object.ImportedSlices {
		return j.setImported(k, slice)
	}
	m := j.namespace(k.Namespace)
	defer j.prune(k.Namespace, m)
	held := m.slicesOfKind(kind)
	old := held[k.Name]
	if !put(held, k.Name, old, slice) {
		return false
	}
	count := func(c counter, slice, other *object.EndpointSlice) {
		if s := m.services[slice.Service]; s != nil && s.Headless && j.served(k.Namespace) {
			j.countSlice(c, s, slice, slice.Without(other))
		}
	}
	if old != nil {
		delete(m.byService[old.Service], sliceName{kind, k.Name})
		if len(m.byService[old.Service]) == 0 {
			delete(m.byService, old.Service)
		}
		count(counter{u, true}, old, slice)
	}
	if slice != nil {
		if m.byService[slice.Service] == nil {
			m.byService[slice.Service] = make(map[sliceName]*object.EndpointSlice)
		}
		m.byService[slice.Service][sliceName{kind, slice.Name}] = slice
		count(counter{u, false}, slice, old)
	}
	return true
}

// setService stores a service. One that just lost its selector waits for release.
func (j *joiner) setService(k object.Key, next *object.Service) bool {
	if j.awaitsLeftovers && j.started && next != nil && next.Headless && len(next.Selector) == 0 {
		if m := j.namespaces[k.Namespace]; m != nil {
			if old := m.services[k.Name]; old != nil && old.Headless && len(old.Selector) > 0 {
				j.losing[k] = next
				j.selectorless[k] = struct{}{}
				j.selectorlessChanged = true
				return false
			}
		}
	}
	if _, ok := j.losing[k]; ok {
		delete(j.losing, k)
		delete(j.selectorless, k)
		j.selectorlessChanged = true
	}
	return j.putService(k, next)
}

// release stores those of the services that lost their selector, as their leftover slices
// are complete.
func (j *joiner) release(services map[object.Key]struct{}) bool {
	if len(services) == 0 {
		return false
	}
	changed := false
	for k, s := range j.losing {
		if _, ok := services[k]; ok {
			delete(j.losing, k)
			changed = j.putService(k, s) || changed
		}
	}
	return changed
}

// putService stores a service. flush counts its endpoints, walking the pods once for all
// services that changed.
func (j *joiner) putService(k object.Key, next *object.Service) bool {
	m := j.namespace(k.Namespace)
	defer j.prune(k.Namespace, m)
	old := m.services[k.Name]
	var s *joinedService
	switch {
	case next == nil && old == nil || next != nil && old != nil && old.Equal(next):
		return false
	case next == nil:
		delete(m.services, k.Name)
	default:
		s = newJoinedService(next)
		s.addressed = next.Hosts == object.HostsAddressed || next.Hosts != object.HostsReady && j.addressed
		m.services[s.Name] = s
	}
	was, is := old != nil && old.Headless, s != nil && s.Headless
	if was {
		m.selectors.remove(old)
	}
	if is {
		m.selectors.add(s)
	}
	if _, listed := j.selectorless[k]; listed != (is && len(s.Selector) == 0) {
		j.selectorlessChanged = true
		if listed {
			delete(j.selectorless, k)
		} else {
			j.selectorless[s.ID()] = struct{}{}
		}
	}
	if !was && !is {
		return !j.served(k.Namespace)
	}
	if _, ok := j.previous[k]; !ok && j.served(k.Namespace) {
		j.previous[k] = old
	}
	return true
}

// flush counts the endpoints of the services that changed. It reads the objects as they are
// stored, so no pod, slice, namespace or node may change between putService and flush. It writes
// to none of the maps that concurrent readers use.
func (j *joiner) flush(u *records.Update) {
	affected := make(map[string]*selectors) // the services before and after the change, by namespace
	outdated := make(map[*joinedService]bool)
	for k, old := range j.previous {
		m := j.namespaces[k.Namespace]
		if m == nil { // its last object is gone
			m = new(namespaceObjects)
		}
		s := m.services[k.Name]
		was, is := old != nil && old.Headless, s != nil && s.Headless
		n := affected[k.Namespace]
		if n == nil {
			n = new(selectors)
			affected[k.Namespace] = n
		}
		switch {
		case was && is:
			outdated[old] = true
			n.add(old)
			j.countSlices(counter{u, true}, old, m)
		case was:
			u.Delete(old.key)
		case is:
			u.Create(s.key)
		}
		if is {
			if s.External || was && old.External {
				u.SetExternal(s.key, s.External)
			}
			n.add(s)
			j.countSlices(counter{u, false}, s, m)
		}
	}
	clear(j.previous)
	for namespace, n := range affected {
		if n.empty() {
			continue
		}
		for _, p := range j.namespaces[namespace].pods {
			j.match(n, p, func(s *joinedService) { j.countPod(counter{u, outdated[s]}, s, p) })
		}
	}
	j.clearCaches()
}

func (j *joiner) setNamespace(u *records.Update, name string, allowed bool) bool {
	if j.allowed == nil || j.allowed[name] == allowed {
		return false
	}
	m := j.namespace(name)
	defer j.prune(name, m)
	defer j.setImportsServed(name, allowed)
	if !allowed {
		delete(j.allowed, name)
		for _, s := range m.services {
			if j.started && s.Headless {
				u.Delete(s.key)
			}
		}
		return true
	}
	j.allowed[name] = true
	if j.started {
		of := j.podsOf(m)
		for _, s := range m.services {
			if s.Headless {
				j.serve(counter{u, false}, s, m, of[s])
			}
		}
	}
	return true
}

// differing is an object with a method that reports whether DNS could tell it from another.
type differing[T any] interface {
	*T
	object.Object
	Equal(*T) bool
}

// put stores value under a name, or deletes the entry if value is nil. It reports whether
// DNS could see a difference from old, the value before.
func put[T any, P differing[T]](m map[string]P, name string, old, value P) bool {
	switch {
	case value == nil:
		delete(m, name)
		return old != nil
	case old != nil && old.Equal(value):
		return false
	}
	m[value.ID().Name] = value // this also replaces the key string, so that the memory of the old object can be freed
	return true
}
