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

// add adds a broken object. It logs the first of a kind only: if all are broken, one line
// is as good as a hundred thousand.
func (d *brokenObjects) add(k object.Kind, id object.Key, err error) {
	if _, ok := d.keys[k][id]; ok {
		return
	}
	if d.keys[k] == nil {
		d.keys[k] = make(map[object.Key]struct{})
	}
	d.keys[k][id] = struct{}{}
	if len(d.keys[k]) == 1 {
		d.log.Error(err, "object can't be decoded; its last good state is served", "kind", k, "namespace", id.Namespace, "name", id.Name)
	}
	d.hook(k, len(d.keys[k]))
}

// remove removes an object that was decoded or is gone.
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

// retain removes the objects of an origin that are not listed.
func (d *brokenObjects) retain(o object.Origin, listed map[object.Key]bool) {
	for id := range maps.Clone(d.keys[o.Kind]) {
		if (o.Namespace == "" || o.Namespace == id.Namespace) && !listed[id] {
			d.remove(o.Kind, id)
		}
	}
}
