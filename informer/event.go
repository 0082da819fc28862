package informer

import (
	"slices"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
)

// event is a change of one object, or a list of all that an origin has.
type event struct {
	object.Origin
	received time.Time
	list     bool
	objects  []object.Object                // of a list
	object   object.Object                  // that came or changed
	key      object.Key                     // of what is gone, if object is nil
	snapshot *[object.Kinds][]object.Object // instead, the objects of a snapshot
	// covered are services all of whose slices are known, of the kind leftSlices. It comes
	// with a list, or instead.
	covered map[object.Key]struct{}
	// superseded is for compact.
	superseded bool
}

// kindKey names an object.
type kindKey struct {
	object.Kind
	object.Key
}

// id returns the object that the event is of, if it is of a single one.
func (e *event) id() (id kindKey, ok bool) {
	switch {
	case e.list || e.covered != nil || e.snapshot != nil:
		return id, false
	case e.object != nil:
		return kindKey{e.Kind, e.object.ID()}, true
	}
	return kindKey{e.Kind, e.key}, true
}

// compact leaves one event of each object in a batch, in place: the last one, with the
// time of the first. What a batch costs then depends on its objects, however often they
// changed meanwhile. An object that is broken changes nothing, so it does not count. Nor
// do Services: flush waits for all of them, and whether one had a selector before matters.
func compact(batch []event) []event {
	if len(batch) < 2 {
		return batch
	}
	last := make(map[kindKey]int, len(batch))
	superseded := false
	for n := range batch {
		e := &batch[n]
		id, ok := e.id()
		if _, isBroken := e.object.(*object.Broken); !ok || isBroken || id.Kind == object.Services {
			continue
		}
		if before, ok := last[id]; ok {
			e.received = batch[before].received
			batch[before].superseded = true
			superseded = true
		}
		last[id] = n
	}
	if !superseded {
		return batch
	}
	return slices.DeleteFunc(batch, func(e event) bool { return e.superseded })
}

// last reports whether apply handles the event after those of other kinds. A snapshot is
// one of these as it holds services.
func (e *event) last() bool {
	switch e.object.(type) {
	case *object.Service:
		return true
	case nil, *object.Broken:
		return e.snapshot != nil || e.Kind == object.Services
	}
	return false
}
