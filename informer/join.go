package informer

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"

	"github.com/headless-dns/headless/records"
)

// join holds the objects and turns their changes into changes of the trie. It is
// the writer's, but for known.
//
// Until it is started it only stores what comes: joining a whole cluster is done
// once, with every service known, whichever kind was listed first.
type join struct {
	trie      *records.Trie
	naming    naming
	allSlices bool // no pods are watched, the slices of the EndpointSlice controller are
	// allowed are the namespaces to serve; nil is all.
	allowed map[string]bool
	started bool
	// changed are the served services that changed since the last flush, as they were
	// then; nil for one that was not there.
	changed         map[key]*member
	handmadeChanged bool // handmade did
	// losing are the services that have lost their selector, by key. Those that are
	// stored have it still, until the slices are known that the controller has left.
	losing  map[key]*service
	holds   bool    // there will be a release
	labels  []label // scratch of match
	lookups int     // of labels, of which tests have budgets
	// What a batch remembers, until forget.
	recalls  []*selectors // that know what they match
	resolved []*member    // that know the ports of pods

	mu         sync.RWMutex // held by the writer to change what follows
	namespaces map[string]*members
	handmade   map[key]struct{} // the headless services without a selector
}

// members are the objects of one namespace.
type members struct {
	pods     map[string]*pod
	services map[string]*member
	slices   map[string]*endpointSlice
	left     map[string]*endpointSlice // of the kind leftSlices
	// selecting finds the headless services that select a pod.
	selecting selectors
	// sliced finds the slices of a service, of both kinds.
	sliced map[string]map[sliceName]*endpointSlice
}

// sliceName names a slice of a namespace. While it moves from one kind to the other, it
// may be there twice.
type sliceName struct {
	kind Kind
	name string
}

// member is a service with what is computed of it. The ports of endpoints are
// shared.
type member struct {
	*service
	key      records.ServiceKey
	targets  []targetPort                                    // container ports that give numbers to ports, sorted
	fixed    *records.PortList                               // the ports if there are no targets
	resolved map[unique.Handle[namedPorts]]*records.PortList // the ports if there are, by those of pods; until forget
	sorted   []servicePort                                   // the ports, if there are targets and many ports,
	digest   [sha256.Size]byte                               // and what they are known by
	read     int                                             // lines of namedPorts, of which tests have budgets
}

func newMember(s *service) *member {
	m := &member{service: s, key: records.ServiceKey{Namespace: s.namespace, Name: s.name}}
	for _, p := range s.ports {
		if p.target != "" {
			m.targets = append(m.targets, p.targetPort())
		}
	}
	if len(m.targets) == 0 {
		ports, _ := resolve(s.ports, namedPorts{})
		m.fixed = records.NewPortList(ports)
		return m
	}
	slices.SortFunc(m.targets, targetPort.compare)
	m.targets = slices.Compact(m.targets)
	if records.IsLong(len(s.ports)) {
		m.sorted = slices.SortedStableFunc(slices.Values(s.ports), func(p, q servicePort) int {
			return cmp.Or(strings.Compare(p.protocol, q.protocol), strings.Compare(p.name, q.name))
		})
		var content []byte
		for _, p := range m.sorted {
			content = fmt.Appendf(content, "%q %q %q %d\n", p.name, p.protocol, p.target, p.number)
		}
		m.digest = sha256.Sum256(content)
	}
	return m
}

func newJoin(trie *records.Trie, podNames, selectNamespaces bool) *join {
	j := &join{trie: trie, naming: naming{podNames: podNames}, namespaces: make(map[string]*members), changed: make(map[key]*member), handmade: make(map[key]struct{}), losing: make(map[key]*service)}
	if selectNamespaces {
		j.allowed = make(map[string]bool)
	}
	return j
}

func (j *join) members(namespace string) *members {
	m, ok := j.namespaces[namespace]
	if !ok {
		m = &members{
			pods:     make(map[string]*pod),
			services: make(map[string]*member),
			slices:   make(map[string]*endpointSlice),
			left:     make(map[string]*endpointSlice),
			sliced:   make(map[string]map[sliceName]*endpointSlice),
		}
		j.namespaces[namespace] = m
	}
	return m
}

// slicesOf returns the slices of a kind.
func (m *members) slicesOf(kind Kind) map[string]*endpointSlice {
	if kind == leftSlices {
		return m.left
	}
	return m.slices
}

// prune forgets a namespace that holds nothing any more.
func (j *join) prune(namespace string, m *members) {
	if len(m.pods)+len(m.services)+len(m.slices)+len(m.left) == 0 {
		delete(j.namespaces, namespace)
	}
}

// known returns the object that is held under the key of o if it is equal, else
// o. It may be called by anyone: so what is listed anew, but did not change, is
// not kept twice until the writer comes to it.
func (j *join) known(o object) object {
	j.mu.RLock()
	defer j.mu.RUnlock()
	k := o.id()
	m := j.namespaces[k.namespace]
	if m == nil {
		return o
	}
	switch o := o.(type) {
	case *pod:
		if held := m.pods[k.name]; held != nil && held.equal(o) {
			return held
		}
	case *service:
		if held := m.services[k.name]; held != nil && held.equal(o) {
			return held.service
		}
	case *endpointSlice:
		for _, held := range []*endpointSlice{m.slices[k.name], m.left[k.name]} {
			if held != nil && held.equal(o) {
				return held
			}
		}
	}
	return o
}

// served tells whether the names of a namespace are in the trie.
func (j *join) served(namespace string) bool {
	return j.started && (j.allowed == nil || j.allowed[namespace])
}

// portion is how many endpoints are put into the trie at a time at the start, unless one
// service has more: the counts of an update take more memory than what comes of them.
const portion = 4096

// start puts everything stored into the trie and returns how many services that
// are. It is not one change, as nobody asks before it is complete.
func (j *join) start() int {
	j.started = true
	published := 0
	c := counter{j.trie.Update(), false}
	for name, m := range j.namespaces {
		if !j.served(name) {
			continue
		}
		of := j.podsOf(m)
		for _, s := range m.services {
			if !s.headless {
				continue
			}
			j.serve(c, s, m, of[s])
			if c.update.Size() >= portion {
				published += c.update.Commit()
				c.update = j.trie.Update()
			}
		}
	}
	j.forget()
	return published + c.update.Commit()
}

// podsOf returns the pods of each service of a namespace.
func (j *join) podsOf(m *members) map[*member][]*pod {
	of := make(map[*member][]*pod)
	for _, p := range m.pods {
		j.match(&m.selecting, p, func(s *member) { of[s] = append(of[s], p) })
	}
	j.forget()
	return of
}

// serve adds a headless service with its pods.
func (j *join) serve(c counter, s *member, m *members, pods []*pod) {
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
func (j *join) match(n *selectors, p *pod, f func(*member)) {
	if n.empty() {
		return
	}
	matched, ok := n.matched[p.template]
	if !ok {
		one := false
		j.labels = j.labels[:0]
		for l, own := range p.labels {
			one = one || own && n.keys[l.key] > 0
			j.labels = append(j.labels, l)
		}
		if one {
			j.lookups += n.root.match(j.labels, f)
			return
		}
		j.lookups += n.root.match(j.labels, func(s *member) { matched = append(matched, s) })
		if len(n.matched) == 0 {
			j.recalls = append(j.recalls, n)
		}
		n.remember(p.template, matched)
	}
	for _, s := range matched {
		f(s)
	}
}

// forget ends what match and countPod remember, which takes memory for pods that are gone.
func (j *join) forget() {
	for _, s := range j.resolved {
		s.resolved = nil
	}
	j.resolved = slices.Delete(j.resolved, 0, len(j.resolved))
	for _, n := range j.recalls {
		n.forget()
	}
	j.recalls = slices.Delete(j.recalls, 0, len(j.recalls))
}

// countPod counts the endpoints that a pod is of a service that selects it.
func (j *join) countPod(c counter, s *member, p *pod) {
	resolved := len(s.resolved) > 0
	podEndpoints(s, p, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
	if !resolved && len(s.resolved) > 0 {
		j.resolved = append(j.resolved, s)
	}
}

func (j *join) countSlices(c counter, s *member, m *members) {
	for _, slice := range m.sliced[s.name] {
		j.countSlice(c, s, slice, slice.endpoints)
	}
}

// countSlice counts the endpoints of a slice of a service. Where pods are watched, they
// stand for the slices of the EndpointSlice controller, unless the service has lost its
// selector: then the controller leaves its slices as they are, and they still count.
func (j *join) countSlice(c counter, s *member, slice *endpointSlice, endpoints []endpoint) {
	if slice.controlled && !j.allSlices && len(s.selector) > 0 {
		return
	}
	sliceEndpoints(s, slice, endpoints, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
}

// set stores an object in place of the one with its key. It reports whether DNS
// could see a difference.
func (j *join) set(u *records.Update, o object) bool {
	switch o := o.(type) {
	case *pod:
		return j.setPod(u, o.id(), o)
	case *service:
		return j.setService(o.key, o)
	case *endpointSlice:
		return j.setSlice(u, EndpointSlices, o.key, o)
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
		return j.setService(k, nil)
	case EndpointSlices, leftSlices:
		return j.setSlice(u, kind, k, nil)
	case Namespaces:
		return j.setNamespace(u, k.name, false)
	}
	return false
}

func (j *join) setPod(u *records.Update, k key, p *pod) bool {
	m := j.members(k.namespace)
	defer j.prune(k.namespace, m)
	old := m.pods[k.name]
	if !replace(m.pods, k.name, old, p) {
		return false
	}
	if !j.served(k.namespace) {
		return true
	}
	in, out := counter{u, false}, counter{u, true}
	if old != nil && p != nil && old.sameLabels(p) { // so all labels are the same
		j.match(&m.selecting, p, func(s *member) {
			j.countPod(out, s, old)
			j.countPod(in, s, p)
		})
		return true
	}
	if old != nil {
		j.match(&m.selecting, old, func(s *member) { j.countPod(out, s, old) })
	}
	if p != nil {
		j.match(&m.selecting, p, func(s *member) { j.countPod(in, s, p) })
	}
	return true
}

func (j *join) setSlice(u *records.Update, kind Kind, k key, slice *endpointSlice) bool {
	m := j.members(k.namespace)
	defer j.prune(k.namespace, m)
	held := m.slicesOf(kind)
	old := held[k.name]
	if !replace(held, k.name, old, slice) {
		return false
	}
	count := func(c counter, slice, other *endpointSlice) {
		if s := m.services[slice.service]; s != nil && s.headless && j.served(k.namespace) {
			j.countSlice(c, s, slice, slice.without(other))
		}
	}
	if old != nil {
		delete(m.sliced[old.service], sliceName{kind, k.name})
		if len(m.sliced[old.service]) == 0 {
			delete(m.sliced, old.service)
		}
		count(counter{u, true}, old, slice)
	}
	if slice != nil {
		if m.sliced[slice.service] == nil {
			m.sliced[slice.service] = make(map[sliceName]*endpointSlice)
		}
		m.sliced[slice.service][sliceName{kind, slice.name}] = slice
		count(counter{u, false}, slice, old)
	}
	return true
}

// setService stores a service. One that loses its selector waits for release.
func (j *join) setService(k key, changed *service) bool {
	if j.holds && j.started && changed != nil && changed.headless && len(changed.selector) == 0 {
		if m := j.namespaces[k.namespace]; m != nil {
			if old := m.services[k.name]; old != nil && old.headless && len(old.selector) > 0 {
				j.losing[k] = changed
				j.handmade[k] = struct{}{}
				j.handmadeChanged = true
				return false
			}
		}
	}
	if _, ok := j.losing[k]; ok {
		delete(j.losing, k)
		delete(j.handmade, k)
		j.handmadeChanged = true
	}
	return j.putService(k, changed)
}

// release stores those of some services that have lost their selector: all slices of
// them are known.
func (j *join) release(services map[key]struct{}) bool {
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

// putService stores a service. Its endpoints are counted by flush, which walks the pods
// once for all services that changed.
func (j *join) putService(k key, changed *service) bool {
	m := j.members(k.namespace)
	defer j.prune(k.namespace, m)
	old := m.services[k.name]
	var s *member
	switch {
	case changed == nil && old == nil || changed != nil && old != nil && old.equal(changed):
		return false
	case changed == nil:
		delete(m.services, k.name)
	default:
		s = newMember(changed)
		m.services[s.name] = s
	}
	was, is := old != nil && old.headless, s != nil && s.headless
	if was {
		m.selecting.remove(old)
	}
	if is {
		m.selecting.add(s)
	}
	if _, listed := j.handmade[k]; listed != (is && len(s.selector) == 0) {
		j.handmadeChanged = true
		if listed {
			delete(j.handmade, k)
		} else {
			j.handmade[s.id()] = struct{}{}
		}
	}
	if !was && !is {
		return !j.served(k.namespace)
	}
	if _, ok := j.changed[k]; !ok && j.served(k.namespace) {
		j.changed[k] = old
	}
	return true
}

// flush counts the endpoints of the services that changed. Pods, slices and namespaces
// must not change between a service and the flush, as they count for the services that
// are stored. It changes none of the maps that others read.
func (j *join) flush(u *records.Update) {
	affected := make(map[string]*selectors) // the services as they were and are, by namespace
	outdated := make(map[*member]bool)
	for k, old := range j.changed {
		m := j.namespaces[k.namespace]
		if m == nil { // its last object is gone
			m = new(members)
		}
		s := m.services[k.name]
		was, is := old != nil && old.headless, s != nil && s.headless
		n := affected[k.namespace]
		if n == nil {
			n = new(selectors)
			affected[k.namespace] = n
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
			n.add(s)
			j.countSlices(counter{u, false}, s, m)
		}
	}
	clear(j.changed)
	for namespace, n := range affected {
		if n.empty() {
			continue
		}
		for _, p := range j.namespaces[namespace].pods {
			j.match(n, p, func(s *member) { j.countPod(counter{u, outdated[s]}, s, p) })
		}
	}
	j.forget()
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
				u.Delete(s.key)
			}
		}
		return true
	}
	j.allowed[name] = true
	if j.started {
		of := j.podsOf(m)
		for _, s := range m.services {
			if s.headless {
				j.serve(counter{u, false}, s, m, of[s])
			}
		}
	}
	return true
}

// differing is an object that can tell whether DNS could see a difference.
type differing[T any] interface {
	*T
	object
	equal(*T) bool
}

// replace stores value in place of old, or deletes the entry if value is nil, and
// tells whether that changed anything.
func replace[T any, P differing[T]](m map[string]P, name string, old, value P) bool {
	switch {
	case value == nil:
		delete(m, name)
		return old != nil
	case old != nil && old.equal(value):
		return false
	}
	m[value.id().name] = value // also the key is then the new object's, so that the old one can go
	return true
}

// objects returns all that are held. It may be called by anyone.
func (j *join) objects() []object {
	j.mu.RLock()
	defer j.mu.RUnlock()
	var out []object
	for _, m := range j.namespaces {
		for _, s := range m.services {
			out = append(out, s.service)
		}
		for _, p := range m.pods {
			out = append(out, p)
		}
		for _, s := range m.slices {
			out = append(out, s)
		}
		for _, s := range m.left {
			out = append(out, s)
		}
	}
	for name := range j.allowed {
		out = append(out, &namespace{key{name: name}})
	}
	return out
}

// count returns how many objects of an origin are held.
func (j *join) count(o origin) int {
	if o.kind == Namespaces {
		return len(j.allowed)
	}
	n := 0
	for _, m := range j.within(o.namespace) {
		switch o.kind {
		case Pods:
			n += len(m.pods)
		case Services:
			n += len(m.services)
		case EndpointSlices, leftSlices:
			n += len(m.slicesOf(o.kind))
		}
	}
	return n
}

// within yields the namespace of a name, or all where that is empty.
func (j *join) within(namespace string) iter.Seq2[string, *members] {
	if namespace == "" {
		return maps.All(j.namespaces)
	}
	return func(yield func(string, *members) bool) {
		if m := j.namespaces[namespace]; m != nil {
			yield(namespace, m)
		}
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
	for ns, m := range j.within(namespace) {
		switch kind {
		case Pods:
			out = appendKeys(out, ns, m.pods)
		case Services:
			out = appendKeys(out, ns, m.services)
		case EndpointSlices, leftSlices:
			out = appendKeys(out, ns, m.slicesOf(kind))
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

// handmadeIn returns the headless services without a selector of a namespace, or of all
// where that is empty. It may be called by anyone.
func (j *join) handmadeIn(namespace string) map[key]struct{} {
	j.mu.RLock()
	defer j.mu.RUnlock()
	out := make(map[key]struct{})
	for k := range j.handmade {
		if namespace == "" || namespace == k.namespace {
			out[k] = struct{}{}
		}
	}
	return out
}
