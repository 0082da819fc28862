package informer

import (
	"maps"

	"github.com/go-logr/logr"
)

// damage is which objects are broken at present.
type damage struct {
	log  logr.Logger
	hook func(Kind, int)             // Broken of Hooks
	keys [kinds + 1]map[key]struct{} // those without a name are one, of no name
}

// note notes a broken object. The first of a kind is logged: if all are, one line is
// as good as a hundred thousand.
func (d *damage) note(k Kind, id key, err error) {
	if _, ok := d.keys[k][id]; ok {
		return
	}
	if d.keys[k] == nil {
		d.keys[k] = make(map[key]struct{})
	}
	d.keys[k][id] = struct{}{}
	if len(d.keys[k]) == 1 {
		d.log.Error(err, "object can't be decoded, it is served as it was before", "kind", k, "namespace", id.namespace, "name", id.name)
	}
	d.hook(k, len(d.keys[k]))
}

// clear notes that an object was decoded, or is gone.
func (d *damage) clear(k Kind, id key) {
	if _, ok := d.keys[k][id]; !ok {
		return
	}
	delete(d.keys[k], id)
	if len(d.keys[k]) == 0 {
		d.log.Info("all objects can be decoded again", "kind", k)
	}
	d.hook(k, len(d.keys[k]))
}

func (d *damage) any(k Kind) bool { return len(d.keys[k]) > 0 }

// keep clears what an origin has no more.
func (d *damage) keep(o origin, listed map[key]bool) {
	for id := range maps.Clone(d.keys[o.kind]) {
		if (o.namespace == "" || o.namespace == id.namespace) && !listed[id] {
			d.clear(o.kind, id)
		}
	}
}
