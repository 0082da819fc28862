package informer

import (
	"maps"

	"github.com/go-logr/logr"

	"github.com/headless-dns/headless/informer/internal/object"
)

// brokenObjects are the objects that can't be decoded at present.
type brokenObjects struct {
	log  logr.Logger
	hook func(object.Kind, int)                    // Broken of Hooks
	keys [object.Kinds + 1]map[object.Key]struct{} // all objects without a name count as one, with an empty name
}

// add adds a broken object. It logs only the first one of a kind, as all objects of a
// kind may be broken.
func (b *brokenObjects) add(k object.Kind, id object.Key, err error) {
	if _, ok := b.keys[k][id]; ok {
		return
	}
	if b.keys[k] == nil {
		b.keys[k] = make(map[object.Key]struct{})
	}
	b.keys[k][id] = struct{}{}
	if len(b.keys[k]) == 1 {
		b.log.Error(err, "object can't be decoded; its last good state is served", "kind", k, "namespace", id.Namespace, "name", id.Name)
	}
	b.hook(k, len(b.keys[k]))
}

// remove removes an object that was decoded or deleted.
func (b *brokenObjects) remove(k object.Kind, id object.Key) {
	if _, ok := b.keys[k][id]; !ok {
		return
	}
	delete(b.keys[k], id)
	if len(b.keys[k]) == 0 {
		b.log.Info("all objects can be decoded again", "kind", k)
	}
	b.hook(k, len(b.keys[k]))
}

func (b *brokenObjects) has(k object.Kind) bool { return len(b.keys[k]) > 0 }

// retain removes the objects of an origin that are not in listed.
func (b *brokenObjects) retain(o object.Origin, listed map[object.Key]bool) {
	for id := range maps.Clone(b.keys[o.Kind]) {
		if (o.Namespace == "" || o.Namespace == id.Namespace) && !listed[id] {
			b.remove(o.Kind, id)
		}
	}
}
