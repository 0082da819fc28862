package informer

import (
	"maps"

	"github.com/go-logr/logr"

	"github.com/headless-dns/headless/informer/internal/object"
)

// brokenObjects is which objects are broken at present.
type brokenObjects struct {
	log  logr.Logger
	hook func(object.Kind, int)                    // Broken of Hooks
	keys [object.Kinds + 1]map[object.Key]struct{} // those without a name are one, of no name
}

// add notes a broken object. The first of a kind is logged: if all are, one line is
// as good as a hundred thousand.
func (d *brokenObjects) add(k object.Kind, id object.Key, err error) {
	if _, ok := d.keys[k][id]; ok {
		return
	}
	if d.keys[k] == nil {
		d.keys[k] = make(map[object.Key]struct{})
	}
	d.keys[k][id] = struct{}{}
	if len(d.keys[k]) == 1 {
		d.log.Error(err, "object can't be decoded, it is served as it was before", "kind", k, "namespace", id.Namespace, "name", id.Name)
	}
	d.hook(k, len(d.keys[k]))
}

// remove notes that an object was decoded, or is gone.
func (d *brokenObjects) remove(k object.Kind, id object.Key) {
	if _, ok := d.keys[k][id]; !ok {
		return
	}
	delete(d.keys[k], id)
	if len(d.keys[k]) == 0 {
		d.log.Info("all objects can be decoded again", "kind", k)
	}
	d.hook(k, len(d.keys[k]))
}

func (d *brokenObjects) has(k object.Kind) bool { return len(d.keys[k]) > 0 }

// retain clears what an origin has no more.
func (d *brokenObjects) retain(o object.Origin, listed map[object.Key]bool) {
	for id := range maps.Clone(d.keys[o.Kind]) {
		if (o.Namespace == "" || o.Namespace == id.Namespace) && !listed[id] {
			d.remove(o.Kind, id)
		}
	}
}
