package informer

import (
	"fmt"
	"sync/atomic"

	"k8s.io/client-go/tools/cache"

	"github.com/headless-dns/headless/informer/internal/object"
)

// store is what a reflector writes to: it queues the slim objects.
type store struct {
	object.Origin
	queue    *queue
	services map[object.Key]struct{} // whose slices it takes, of the kind leftSlices
	listed   atomic.Bool
}

// Transformer implements cache.TransformingStore: during an initial stream, too,
// nothing but slim objects is kept.
func (s *store) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return unwrap(obj) }
}

// unwrap returns the slim object of what was decoded.
func unwrap(obj any) (object.Object, error) {
	switch o := obj.(type) {
	case *object.Decoded:
		return o.Object, nil
	case object.Object: // it went through the transformer
		return o, nil
	}
	return nil, fmt.Errorf("keep object: %T is none that is watched", obj)
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
	} else { // it may have been that of another service
		s.queue.push(event{Origin: s.Origin, key: o.ID()})
	}
	return nil
}

// takes reports whether the store keeps an object. The API server selects slices by the
// names of services alone, in all namespaces.
func (s *store) takes(o object.Object) bool {
	slice, ok := o.(*object.EndpointSlice)
	if s.Kind != object.LeftoverSlices || !ok {
		return true
	}
	_, ok = s.services[object.Key{Namespace: slice.Namespace, Name: slice.Service}]
	return ok && slice.Controlled
}

// Delete implements cache.ReflectorStore. The object may be one whose deletion
// was missed, of which only the name is known for sure.
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

// Bookmark implements cache.ReflectorBookmarkStore: a watch with nothing to tell
// is alive.
func (s *store) Bookmark(string) error {
	s.queue.onReceived(s.Kind, s.Namespace)
	return nil
}

// Resync implements cache.ReflectorStore; there is nothing to repeat.
func (s *store) Resync() error { return nil }
