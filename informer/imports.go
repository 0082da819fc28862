package informer

import (
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// imports joins ServiceImports with their slices, and writes to a trie of its own: that of the
// multi-cluster services (KEP-1645). It is part of the joiner, whose rules for callers hold.
//
// A ServiceImport of type Headless makes a service, with the endpoints of all its slices. The
// cluster of a slice is the zone of its endpoints. A slice changes the trie by the endpoints in
// which it differs from before, so the cost of an event does not depend on how many other slices
// its import has. Only an import that comes or goes costs as much as all of them, and a batch
// has one such change of each import.
type imports struct {
	trie       *records.Trie
	update     *records.Update                // of the present batch, or nil
	namespaces map[string]*importsOfNamespace // the writer holds joiner.mu to change them
}

// importsOfNamespace are the stored objects of one namespace.
type importsOfNamespace struct {
	imports map[string]*object.ServiceImport
	slices  map[string]*object.EndpointSlice
	// byImport finds the slices of an import, which may not exist.
	byImport map[string]map[string]*object.EndpointSlice
}

func newImports(trie *records.Trie) *imports {
	return &imports{trie: trie, namespaces: make(map[string]*importsOfNamespace)}
}

// ofNamespace returns the objects of a namespace, which the caller will prune.
func (x *imports) ofNamespace(name string) *importsOfNamespace {
	m, ok := x.namespaces[name]
	if !ok {
		m = &importsOfNamespace{
			imports:  make(map[string]*object.ServiceImport),
			slices:   make(map[string]*object.EndpointSlice),
			byImport: make(map[string]map[string]*object.EndpointSlice),
		}
		x.namespaces[name] = m
	}
	return m
}

// prune removes a namespace without objects.
func (x *imports) prune(name string, m *importsOfNamespace) {
	if len(m.imports)+len(m.slices) == 0 {
		delete(x.namespaces, name)
	}
}

// counter returns a counter of the present batch.
func (x *imports) counter(out bool) counter {
	if x.update == nil {
		x.update = x.trie.Update()
	}
	return counter{x.update, out}
}

// commit publishes the changes since the last call, and returns how many services changed.
func (x *imports) commit() int {
	if x == nil || x.update == nil {
		return 0
	}
	n := x.update.Commit()
	x.update = nil
	return n
}

func importKey(k object.Key) records.ServiceKey {
	return records.ServiceKey{Namespace: k.Namespace, Name: k.Name}
}

// setImport stores a ServiceImport. It reports whether DNS could see a difference.
func (j *joiner) setImport(k object.Key, next *object.ServiceImport) bool {
	m := j.imports.ofNamespace(k.Namespace)
	defer j.imports.prune(k.Namespace, m)
	old := m.imports[k.Name]
	if !put(m.imports, k.Name, old, next) {
		return false
	}
	was, is := old != nil && old.Headless, next != nil && next.Headless
	if was != is && j.served(k.Namespace) {
		if is {
			j.serveImport(k, m)
		} else {
			j.imports.counter(true).update.Delete(importKey(k))
		}
	}
	return was != is
}

// setImported stores an imported slice. It reports whether DNS could see a difference.
func (j *joiner) setImported(k object.Key, slice *object.EndpointSlice) bool {
	m := j.imports.ofNamespace(k.Namespace)
	defer j.imports.prune(k.Namespace, m)
	old := m.slices[k.Name]
	if !put(m.slices, k.Name, old, slice) {
		return false
	}
	count := func(out bool, slice, other *object.EndpointSlice) {
		if i := m.imports[slice.Service]; i != nil && i.Headless && j.served(k.Namespace) {
			j.countImported(j.imports.counter(out), i.Key, slice, slice.Without(other))
		}
	}
	if old != nil {
		delete(m.byImport[old.Service], k.Name)
		if len(m.byImport[old.Service]) == 0 {
			delete(m.byImport, old.Service)
		}
		count(true, old, slice)
	}
	if slice != nil {
		if m.byImport[slice.Service] == nil {
			m.byImport[slice.Service] = make(map[string]*object.EndpointSlice)
		}
		m.byImport[slice.Service][slice.Name] = slice
		count(false, slice, old)
	}
	return true
}

// serveImport adds a headless import with its endpoints.
func (j *joiner) serveImport(k object.Key, m *importsOfNamespace) {
	c := j.imports.counter(false)
	c.update.Create(importKey(k))
	for _, slice := range m.byImport[k.Name] {
		j.countImported(c, k, slice, slice.Endpoints)
	}
}

// countImported counts the given endpoints of a slice. The update ignores those without a cluster.
func (j *joiner) countImported(c counter, k object.Key, slice *object.EndpointSlice, endpoints []object.Endpoint) {
	// The exporting cluster has applied publishNotReadyAddresses.
	sliceEndpoints(sliceRules{addressed: j.addressed}, slice, endpoints, &j.naming, func(e records.Endpoint) { c.count(importKey(k), e) })
}

// setImportsServed adds the imports of a namespace to the trie, or removes them.
func (j *joiner) setImportsServed(namespace string, served bool) {
	if j.imports == nil || !j.started {
		return
	}
	m := j.imports.namespaces[namespace]
	if m == nil {
		return
	}
	for _, i := range m.imports {
		switch {
		case !i.Headless:
		case served:
			j.serveImport(i.Key, m)
		default:
			j.imports.counter(true).update.Delete(importKey(i.Key))
		}
	}
}

// startImports adds everything stored to the trie and returns the number of services.
func (j *joiner) startImports() int {
	if j.imports == nil {
		return 0
	}
	published := 0
	for name, m := range j.imports.namespaces {
		if !j.served(name) {
			continue
		}
		for _, i := range m.imports {
			if !i.Headless {
				continue
			}
			j.serveImport(i.Key, m)
			if j.imports.update.Size() >= portion {
				published += j.imports.commit()
			}
		}
	}
	return published + j.imports.commit()
}

// reuse returns the stored object that equals a ServiceImport or an imported slice, else nil.
func (x *imports) reuse(o object.Object) object.Object {
	if x == nil {
		return nil
	}
	m := x.namespaces[o.ID().Namespace]
	if m == nil {
		return nil
	}
	switch o := o.(type) {
	case *object.ServiceImport:
		if held := m.imports[o.Name]; held != nil && held.Equal(o) {
			return held
		}
	case *object.EndpointSlice:
		if held := m.slices[o.Name]; held != nil && held.Equal(o) {
			return held
		}
	}
	return nil
}

// appendObjects appends the stored objects.
func (x *imports) appendObjects(out []object.Object) []object.Object {
	if x == nil {
		return out
	}
	for _, m := range x.namespaces {
		for _, i := range m.imports {
			out = append(out, i)
		}
		for _, s := range m.slices {
			out = append(out, s)
		}
	}
	return out
}

// keys returns the keys of the stored objects of a kind, in one namespace or, if that is empty,
// in all.
func (x *imports) keys(kind object.Kind, namespace string) []object.Key {
	var out []object.Key
	for ns, m := range x.within(namespace) {
		if kind == object.ServiceImports {
			out = appendKeys(out, ns, m.imports)
		} else {
			out = appendKeys(out, ns, m.slices)
		}
	}
	return out
}

// count returns the number of stored objects of an origin.
func (x *imports) count(o object.Origin) int {
	n := 0
	for _, m := range x.within(o.Namespace) {
		if o.Kind == object.ServiceImports {
			n += len(m.imports)
		} else {
			n += len(m.slices)
		}
	}
	return n
}

// within returns one namespace, or all if the name is empty.
func (x *imports) within(namespace string) map[string]*importsOfNamespace {
	if namespace == "" {
		return x.namespaces
	}
	if m := x.namespaces[namespace]; m != nil {
		return map[string]*importsOfNamespace{namespace: m}
	}
	return nil
}

// addStats returns the sum of the counts of two tries.
func addStats(a, b records.Stats) records.Stats {
	a.Services += b.Services
	a.Hosts += b.Hosts
	a.Shared += b.Shared
	a.Ports += b.Ports
	a.Addresses += b.Addresses
	for r := range a.Endpoints {
		a.Endpoints[r] += b.Endpoints[r]
	}
	return a
}

// stats returns the counts of the trie or, with imports, the sum of both.
func (j *joiner) stats() records.Stats {
	s := j.trie.Stats()
	if j.imports != nil {
		s = addStats(s, j.imports.trie.Stats())
	}
	return s
}
