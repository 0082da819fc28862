package informer

import (
	"slices"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
)

// event is a change of one object, a list of all objects of an origin, the objects of a
// snapshot, or a report that leftover slices are complete.
type event struct {
	object.Origin
	received time.Time
	list     bool
	objects  []object.Object                // of a list
	object   object.Object                  // that was added or changed
	key      object.Key                     // of the deleted object, if object is nil
	snapshot *[object.Kinds][]object.Object // the objects of a snapshot, by kind
	// covered are the services whose leftover slices are all stored, or in this list.
	covered map[object.Key]struct{}
	// superseded marks events that compact removes.
	superseded bool
}

// kindKey identifies an object.
type kindKey struct {
	object.Kind
	object.Key
}

// id returns the object that was added, changed or deleted, and whether the event is about
// a single object.
func (e *event) id() (id kindKey, ok bool) {
	switch {
	case e.list || e.covered != nil || e.snapshot != nil:
		return id, false
	case e.object != nil:
		return kindKey{e.Kind, e.object.ID()}, true
	}
	return kindKey{e.Kind, e.key}, true
}

// compact keeps the last event of each object, with the receipt time of the first, and
// removes the others in place. So the cost of a batch depends on the number of objects and
// not on how often they changed. It keeps all events of broken objects, which change
// nothing, and of Services: flush computes the endpoints of a service once in any case, and
// must know whether the service had a selector before.
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

// The phases in which apply handles the events of a batch. Each kind has its own watch, so
// events of different kinds have no order to keep.
const (
	nodePhase    = iota // flushNodes then walks the pods once for all nodes
	objectPhase         // pods, slices and namespaces
	servicePhase        // flush then walks the pods once for all services
	phases
)

// phase returns the phase of an event. That of a snapshot is the last, as it contains services.
func (e *event) phase() int {
	switch {
	case e.snapshot != nil || e.Kind == object.Services:
		return servicePhase
	case e.Kind == object.Nodes:
		return nodePhase
	}
	return objectPhase
}
