package informer

import (
	"fmt"
	"sync/atomic"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/headless-dns/headless/informer/internal/object"
)

// store receives the objects of a reflector and queues them as events.
type store struct {
	object.Origin
	queue    *queue
	services map[object.Key]struct{} // with the kind LeftoverSlices, those whose slices it takes
	listed   atomic.Bool
	client   rest.Interface // with the kind ServiceImports: that of the version to watch
	absent   func()         // with the kind ServiceImports: the API server has none
}

// Transformer implements cache.TransformingStore: a reflector keeps only slim objects while
// the initial events arrive.
func (s *store) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return unwrap(obj) }
}

// unwrap returns the slim object in a decoded one.
func unwrap(obj any) (object.Object, error) {
	switch o := obj.(type) {
	case *object.Decoded:
		return o.Object, nil
	case object.Object: // the transformer unwrapped it
		return o, nil
	}
	return nil, fmt.Errorf("decode object: %T is not a watched kind", obj)
}

// Add implements cache.ReflectorStore.
func (s *store) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *store) Update(obj any) error {
	o, err := unwrap(obj)
	if err != nil {
		return err
	}
	if s.takes(o) {
		s.queue.push(event{Origin: s.Origin, object: o})
	} else { // it may have belonged to one of these services before
		s.queue.push(event{Origin: s.Origin, key: o.ID()})
	}
	return nil
}

// takes reports whether the store wants an object. The API server selects leftover slices
// by service name alone, in all namespaces.
func (s *store) takes(o object.Object) bool {
	slice, ok := o.(*object.EndpointSlice)
	if s.Kind != object.LeftoverSlices || !ok {
		return true
	}
	_, ok = s.services[object.Key{Namespace: slice.Namespace, Name: slice.Service}]
	return ok && slice.Controlled
}

// Delete implements cache.ReflectorStore. If the reflector missed the deletion, only the
// name of the object is certain.
func (s *store) Delete(obj any) error {
	name, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	s.queue.push(event{Origin: s.Origin, key: object.Key{Namespace: name.Namespace, Name: name.Name}})
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *store) Replace(list []any, _ string) error {
	objects := make([]object.Object, 0, len(list))
	for _, obj := range list {
		o, err := unwrap(obj)
		if err != nil {
			return err
		}
		if s.takes(o) {
			objects = append(objects, o)
		}
	}
	s.listed.Store(true)
	s.queue.push(event{Origin: s.Origin, list: true, objects: objects, covered: s.services})
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: it shows that a watch without events is
// alive.
func (s *store) Bookmark(string) error {
	s.queue.onReceived(s.Kind, s.Namespace)
	return nil
}

// Resync implements cache.ReflectorStore. It is a no-op.
func (s *store) Resync() error { return nil }
