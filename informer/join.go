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

	"github.com/headless-dns/headless/informer/internal/object"
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
	changed         map[object.Key]*member
	handmadeChanged bool // handmade did
	// losing are the services that have lost their selector, by key. Those that are
	// stored have it still, until the slices are known that the controller has left.
	losing  map[object.Key]*object.Service
	holds   bool           // there will be a release
	labels  []object.Label // scratch of match
	lookups int            // of labels, of which tests have budgets
	// What a batch remembers, until forget.
	recalls  []*selectors // that know what they match
	resolved []*member    // that know the ports of pods

	mu         sync.RWMutex // held by the writer to change what follows
	namespaces map[string]*members
	handmade   map[object.Key]struct{} // the headless services without a selector
}

// members are the objects of one namespace.
type members struct {
	pods     map[string]*object.Pod
	services map[string]*member
	slices   map[string]*object.EndpointSlice
	left     map[string]*object.EndpointSlice // of the kind leftSlices
	// selecting finds the headless services that select a pod.
	selecting selectors
	// sliced finds the slices of a service, of both kinds.
	sliced map[string]map[sliceName]*object.EndpointSlice
}

// sliceName names a slice of a namespace. While it moves from one kind to the other, it
// may be there twice.
type sliceName struct {
	kind object.Kind
	name string
}

// member is a service with what is computed of it. The ports of endpoints are
// shared.
type member struct {
	*object.Service
	key      records.ServiceKey
	targets  []object.TargetPort                                    // container ports that give numbers to ports, sorted
	fixed    *records.PortList                                      // the ports if there are no targets
	resolved map[unique.Handle[object.NamedPorts]]*records.PortList // the ports if there are, by those of pods; until forget
	sorted   []object.ServicePort                                   // the ports, if there are targets and many ports,
	digest   [sha256.Size]byte                                      // and what they are known by
	read     int                                                    // lines of namedPorts, of which tests have budgets
}

func newMember(s *object.Service) *member {
	m := &member{Service: s, key: records.ServiceKey{Namespace: s.Namespace, Name: s.Name}}
	for _, p := range s.Ports {
		if p.Target != "" {
			m.targets = append(m.targets, p.TargetPort())
		}
	}
	if len(m.targets) == 0 {
		ports, _ := resolve(s.Ports, object.NamedPorts{})
		m.fixed = records.NewPortList(ports)
		return m
	}
	slices.SortFunc(m.targets, object.TargetPort.Compare)
	m.targets = slices.Compact(m.targets)
	if records.IsLong(len(s.Ports)) {
		m.sorted = slices.SortedStableFunc(slices.Values(s.Ports), func(p, q object.ServicePort) int {
			return cmp.Or(strings.Compare(p.Protocol, q.Protocol), strings.Compare(p.Name, q.Name))
		})
		var content []byte
		for _, p := range m.sorted {
			content = fmt.Appendf(content, "%q %q %q %d\n", p.Name, p.Protocol, p.Target, p.Number)
		}
		m.digest = sha256.Sum256(content)
	}
	return m
}

func newJoin(trie *records.Trie, podNames, selectNamespaces bool) *join {
	j := &join{trie: trie, naming: naming{podNames: podNames}, namespaces: make(map[string]*members), changed: make(map[object.Key]*member), handmade: make(map[object.Key]struct{}), losing: make(map[object.Key]*object.Service)}
	if selectNamespaces {
		j.allowed = make(map[string]bool)
	}
	return j
}

func (j *join) members(namespace string) *members {
	m, ok := j.namespaces[namespace]
	if !ok {
		m = &members{
			pods:     make(map[string]*object.Pod),
			services: make(map[string]*member),
			slices:   make(map[string]*object.EndpointSlice),
			left:     make(map[string]*object.EndpointSlice),
			sliced:   make(map[string]map[sliceName]*object.EndpointSlice),
		}
		j.namespaces[namespace] = m
	}
	return m
}

// slicesOf returns the slices of a kind.
func (m *members) slicesOf(kind object.Kind) map[string]*object.EndpointSlice {
	if kind == object.LeftoverSlices {
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
func (j *join) known(o object.Object) object.Object {
	j.mu.RLock()
	defer j.mu.RUnlock()
	k := o.ID()
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
		for _, held := range []*object.EndpointSlice{m.slices[k.Name], m.left[k.Name]} {
			if held != nil && held.Equal(o) {
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
	j.forget()
	return published + c.update.Commit()
}

// podsOf returns the pods of each service of a namespace.
func (j *join) podsOf(m *members) map[*member][]*object.Pod {
	of := make(map[*member][]*object.Pod)
	for _, p := range m.pods {
		j.match(&m.selecting, p, func(s *member) { of[s] = append(of[s], p) })
	}
	j.forget()
	return of
}

// serve adds a headless service with its pods.
func (j *join) serve(c counter, s *member, m *members, pods []*object.Pod) {
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
func (j *join) match(n *selectors, p *object.Pod, f func(*member)) {
	if n.empty() {
		return
	}
	matched, ok := n.matched[p.Template]
	if !ok {
		one := false
		j.labels = j.labels[:0]
		for l, own := range p.Labels {
			one = one || own && n.keys[l.Key] > 0
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
		n.remember(p.Template, matched)
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
func (j *join) countPod(c counter, s *member, p *object.Pod) {
	resolved := len(s.resolved) > 0
	podEndpoints(s, p, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
	if !resolved && len(s.resolved) > 0 {
		j.resolved = append(j.resolved, s)
	}
}

func (j *join) countSlices(c counter, s *member, m *members) {
	for _, slice := range m.sliced[s.Name] {
		j.countSlice(c, s, slice, slice.Endpoints)
	}
}

// countSlice counts the endpoints of a slice of a service. Where pods are watched, they
// stand for the slices of the EndpointSlice controller, unless the service has lost its
// selector: then the controller leaves its slices as they are, and they still count.
func (j *join) countSlice(c counter, s *member, slice *object.EndpointSlice, endpoints []object.Endpoint) {
	if slice.Controlled && !j.allSlices && len(s.Selector) > 0 {
		return
	}
	sliceEndpoints(s, slice, endpoints, &j.naming, func(e records.Endpoint) { c.count(s.key, e) })
}

// set stores an object in place of the one with its key. It reports whether DNS
// could see a difference.
func (j *join) set(u *records.Update, o object.Object) bool {
	switch o := o.(type) {
	case *object.Pod:
		return j.setPod(u, o.ID(), o)
	case *object.Service:
		return j.setService(o.Key, o)
	case *object.EndpointSlice:
		return j.setSlice(u, object.EndpointSlices, o.Key, o)
	case *object.Namespace:
		return j.setNamespace(u, o.Name, true)
	}
	return false
}

// remove takes away the object with a key, if there is one.
func (j *join) remove(u *records.Update, kind object.Kind, k object.Key) bool {
	switch kind {
	case object.Pods:
		return j.setPod(u, k, nil)
	case object.Services:
		return j.setService(k, nil)
	case object.EndpointSlices, object.LeftoverSlices:
		return j.setSlice(u, kind, k, nil)
	case object.Namespaces:
		return j.setNamespace(u, k.Name, false)
	}
	return false
}

func (j *join) setPod(u *records.Update, k object.Key, p *object.Pod) bool {
	m := j.members(k.Namespace)
	defer j.prune(k.Namespace, m)
	old := m.pods[k.Name]
	if !replace(m.pods, k.Name, old, p) {
		return false
	}
	if !j.served(k.Namespace) {
		return true
	}
	in, out := counter{u, false}, counter{u, true}
	if old != nil && p != nil && old.SameLabels(p) { // so all labels are the same
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

func (j *join) setSlice(u *records.Update, kind object.Kind, k object.Key, slice *object.EndpointSlice) bool {
	m := j.members(k.Namespace)
	defer j.prune(k.Namespace, m)
	held := m.slicesOf(kind)
	old := held[k.Name]
	if !replace(held, k.Name, old, slice) {
		return false
	}
	count := func(c counter, slice, other *object.EndpointSlice) {
		if s := m.services[slice.Service]; s != nil && s.Headless && j.served(k.Namespace) {
			j.countSlice(c, s, slice, slice.Without(other))
		}
	}
	if old != nil {
		delete(m.sliced[old.Service], sliceName{kind, k.Name})
		if len(m.sliced[old.Service]) == 0 {
			delete(m.sliced, old.Service)
		}
		count(counter{u, true}, old, slice)
	}
	if slice != nil {
		if m.sliced[slice.Service] == nil {
			m.sliced[slice.Service] = make(map[sliceName]*object.EndpointSlice)
		}
		m.sliced[slice.Service][sliceName{kind, slice.Name}] = slice
		count(counter{u, false}, slice, old)
	}
	return true
}

// setService stores a service. One that loses its selector waits for release.
func (j *join) setService(k object.Key, changed *object.Service) bool {
	if j.holds && j.started && changed != nil && changed.Headless && len(changed.Selector) == 0 {
		if m := j.namespaces[k.Namespace]; m != nil {
			if old := m.services[k.Name]; old != nil && old.Headless && len(old.Selector) > 0 {
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
func (j *join) release(services map[object.Key]struct{}) bool {
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
func (j *join) putService(k object.Key, changed *object.Service) bool {
	m := j.members(k.Namespace)
	defer j.prune(k.Namespace, m)
	old := m.services[k.Name]
	var s *member
	switch {
	case changed == nil && old == nil || changed != nil && old != nil && old.Equal(changed):
		return false
	case changed == nil:
		delete(m.services, k.Name)
	default:
		s = newMember(changed)
		m.services[s.Name] = s
	}
	was, is := old != nil && old.Headless, s != nil && s.Headless
	if was {
		m.selecting.remove(old)
	}
	if is {
		m.selecting.add(s)
	}
	if _, listed := j.handmade[k]; listed != (is && len(s.Selector) == 0) {
		j.handmadeChanged = true
		if listed {
			delete(j.handmade, k)
		} else {
			j.handmade[s.ID()] = struct{}{}
		}
	}
	if !was && !is {
		return !j.served(k.Namespace)
	}
	if _, ok := j.changed[k]; !ok && j.served(k.Namespace) {
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
		m := j.namespaces[k.Namespace]
		if m == nil { // its last object is gone
			m = new(members)
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

// differing is an object that can tell whether DNS could see a difference.
type differing[T any] interface {
	*T
	object.Object
	Equal(*T) bool
}

// replace stores value in place of old, or deletes the entry if value is nil, and
// tells whether that changed anything.
func replace[T any, P differing[T]](m map[string]P, name string, old, value P) bool {
	switch {
	case value == nil:
		delete(m, name)
		return old != nil
	case old != nil && old.Equal(value):
		return false
	}
	m[value.ID().Name] = value // also the key is then the new object's, so that the old one can go
	return true
}

// objects returns all that are held. It may be called by anyone.
func (j *join) objects() []object.Object {
	j.mu.RLock()
	defer j.mu.RUnlock()
	var out []object.Object
	for _, m := range j.namespaces {
		for _, s := range m.services {
			out = append(out, s.Service)
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
		out = append(out, &object.Namespace{Key: object.Key{Name: name}})
	}
	return out
}

// count returns how many objects of an origin are held.
func (j *join) count(o object.Origin) int {
	if o.Kind == object.Namespaces {
		return len(j.allowed)
	}
	n := 0
	for _, m := range j.within(o.Namespace) {
		switch o.Kind {
		case object.Pods:
			n += len(m.pods)
		case object.Services:
			n += len(m.services)
		case object.EndpointSlices, object.LeftoverSlices:
			n += len(m.slicesOf(o.Kind))
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
func (j *join) names(kind object.Kind, namespace string) []object.Key {
	if kind == object.Namespaces {
		var out []object.Key
		for name := range j.allowed {
			out = append(out, object.Key{Name: name})
		}
		return out
	}
	var out []object.Key
	for ns, m := range j.within(namespace) {
		switch kind {
		case object.Pods:
			out = appendKeys(out, ns, m.pods)
		case object.Services:
			out = appendKeys(out, ns, m.services)
		case object.EndpointSlices, object.LeftoverSlices:
			out = appendKeys(out, ns, m.slicesOf(kind))
		}
	}
	return out
}

func appendKeys[V any](out []object.Key, namespace string, m map[string]V) []object.Key {
	for name := range maps.Keys(m) {
		out = append(out, object.Key{Namespace: namespace, Name: name})
	}
	return out
}

// handmadeIn returns the headless services without a selector of a namespace, or of all
// where that is empty. It may be called by anyone.
func (j *join) handmadeIn(namespace string) map[object.Key]struct{} {
	j.mu.RLock()
	defer j.mu.RUnlock()
	out := make(map[object.Key]struct{})
	for k := range j.handmade {
		if namespace == "" || namespace == k.Namespace {
			out[k] = struct{}{}
		}
	}
	return out
}
