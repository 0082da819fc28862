package informer

import (
	"iter"
	"maps"

	"github.com/headless-dns/headless/informer/internal/object"
)

// namespaceObjects are the stored objects of one namespace.
type namespaceObjects struct {
	pods      map[string]*object.Pod
	services  map[string]*joinedService
	slices    map[string]*object.EndpointSlice
	leftovers map[string]*object.EndpointSlice // of the kind LeftoverSlices
	// selectors finds the headless services that select a pod.
	selectors selectors
	// byService finds the slices of a service, of both kinds.
	byService map[string]map[sliceName]*object.EndpointSlice
}

// sliceName identifies a slice in a namespace. A slice that moves from one kind to the
// other may be stored as both for a moment.
type sliceName struct {
	kind object.Kind
	name string
}

func (j *joiner) namespace(namespace string) *namespaceObjects {
	m, ok := j.namespaces[namespace]
	if !ok {
		m = &namespaceObjects{
			pods:      make(map[string]*object.Pod),
			services:  make(map[string]*joinedService),
			slices:    make(map[string]*object.EndpointSlice),
			leftovers: make(map[string]*object.EndpointSlice),
			byService: make(map[string]map[sliceName]*object.EndpointSlice),
		}
		j.namespaces[namespace] = m
	}
	return m
}

// slicesOfKind returns the slices of a kind, by name.
func (m *namespaceObjects) slicesOfKind(kind object.Kind) map[string]*object.EndpointSlice {
	if kind == object.LeftoverSlices {
		return m.leftovers
	}
	return m.slices
}

// allSlices yields the slices of both kinds.
func (m *namespaceObjects) allSlices(yield func(*object.EndpointSlice) bool) {
	for _, of := range []map[string]*object.EndpointSlice{m.slices, m.leftovers} {
		for _, s := range of {
			if !yield(s) {
				return
			}
		}
	}
}

// prune removes a namespace without objects.
func (j *joiner) prune(namespace string, m *namespaceObjects) {
	if len(m.pods)+len(m.services)+len(m.slices)+len(m.leftovers) == 0 {
		delete(j.namespaces, namespace)
	}
}

// objects returns all stored objects. It is safe for concurrent use.
func (j *joiner) objects() []object.Object {
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
		for s := range m.allSlices {
			out = append(out, s)
		}
	}
	for name := range j.allowed {
		out = append(out, &object.Namespace{Key: object.Key{Name: name}})
	}
	for _, n := range j.nodes {
		out = append(out, n)
	}
	return j.imports.appendObjects(out)
}

// count returns the number of stored objects of an origin.
func (j *joiner) count(o object.Origin) int {
	switch o.Kind {
	case object.Namespaces:
		return len(j.allowed)
	case object.Nodes:
		return len(j.nodes)
	case object.ServiceImports, object.ImportedSlices:
		return j.imports.count(o)
	}
	n := 0
	for _, m := range j.within(o.Namespace) {
		switch o.Kind {
		case object.Pods:
			n += len(m.pods)
		case object.Services:
			n += len(m.services)
		case object.EndpointSlices, object.LeftoverSlices:
			n += len(m.slicesOfKind(o.Kind))
		}
	}
	return n
}

// within yields one namespace, or all if the name is empty.
func (j *joiner) within(namespace string) iter.Seq2[string, *namespaceObjects] {
	if namespace == "" {
		return maps.All(j.namespaces)
	}
	return func(yield func(string, *namespaceObjects) bool) {
		if m := j.namespaces[namespace]; m != nil {
			yield(namespace, m)
		}
	}
}

// keys returns the keys of the stored objects of a kind, in one namespace or, if that is
// empty, in all.
func (j *joiner) keys(kind object.Kind, namespace string) []object.Key {
	if kind == object.Namespaces {
		var out []object.Key
		for name := range j.allowed {
			out = append(out, object.Key{Name: name})
		}
		return out
	}
	if kind == object.Nodes {
		return appendKeys(nil, "", j.nodes)
	}
	if kind == object.ServiceImports || kind == object.ImportedSlices {
		return j.imports.keys(kind, namespace)
	}
	var out []object.Key
	for ns, m := range j.within(namespace) {
		switch kind {
		case object.Pods:
			out = appendKeys(out, ns, m.pods)
		case object.Services:
			out = appendKeys(out, ns, m.services)
		case object.EndpointSlices, object.LeftoverSlices:
			out = appendKeys(out, ns, m.slicesOfKind(kind))
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

// selectorlessIn returns the headless services without a selector, in one namespace or, if
// that is empty, in all. It is safe for concurrent use.
func (j *joiner) selectorlessIn(namespace string) map[object.Key]struct{} {
	j.mu.RLock()
	defer j.mu.RUnlock()
	out := make(map[object.Key]struct{})
	for k := range j.selectorless {
		if namespace == "" || namespace == k.Namespace {
			out[k] = struct{}{}
		}
	}
	return out
}
