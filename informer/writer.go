package informer

import (
	"context"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// publishInterval is the shortest time from one batch to the next. A lone event is published
// at once. In a burst each event would else be a batch of its own: a batch copies parts of
// the trie, and many events of one service share these copies.
const publishInterval = time.Millisecond

// write applies batches of events until ctx is done.
func (i *Informer) write(ctx context.Context) {
	var batch []event
	next := time.NewTimer(0) // when the next batch may begin
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.queue.filled:
		}
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		batch = i.queue.drain(batch)
		i.apply(batch)
		next.Reset(publishInterval)
	}
}

// apply applies a batch of events and publishes what changed.
func (i *Informer) apply(batch []event) {
	batch = compact(batch)
	update := i.joiner.trie.Update()
	seen := i.seen[:0]
	anything, incomplete := false, len(i.missing) > 0
	i.joiner.mu.Lock()
	for phase := range phases {
		for _, e := range batch {
			if e.phase() != phase {
				continue
			}
			changed := false
			switch {
			case e.snapshot != nil:
				i.restore(update, e.snapshot)
			case e.covered != nil && !e.list:
			case e.list:
				changed = i.applyList(update, e)
				delete(i.missing, e.Origin)
			case e.object != nil:
				changed = i.set(update, e.Kind, e.object)
			default:
				i.broken.remove(e.Kind, e.key)
				changed = i.joiner.remove(update, e.Kind, e.key)
			}
			anything = anything || changed
			if changed && !e.list {
				seen = append(seen, e.received)
			}
		}
		if phase == nodePhase {
			i.joiner.mu.Unlock()
			i.joiner.flushNodes(update)
			i.joiner.mu.Lock()
		}
	}
	for _, e := range batch {
		anything = i.joiner.release(e.covered) || anything
	}
	i.joiner.mu.Unlock()
	i.joiner.flush(update)
	if i.leftovers != nil {
		i.leftovers.check(i.missing)
	}
	n := update.Commit() + i.joiner.imports.commit()
	starts := !i.joiner.started && (len(i.missing) == 0 || i.restored.Load())
	if starts {
		n += i.joiner.start()
		seen = seen[:0] // they waited for the first lists, not for the writer
	}
	if n > 0 {
		now := time.Now()
		i.delays = i.delays[:0]
		for _, t := range seen {
			i.delays = append(i.delays, now.Sub(t))
		}
		i.hooks.Published(n, i.joiner.stats(), i.delays)
	}
	i.seen = seen
	if anything && i.keeper != nil {
		i.keeper.unwritten.add()
	}
	if incomplete && len(i.missing) == 0 {
		if i.restored.Load() {
			i.setRestored(false)
		}
		close(i.complete)
	}
	if starts {
		i.hooks.Synced(i.joiner.stats())
		close(i.synced)
	}
}

// restore stores the objects of a snapshot for the lists that are missing. Each list
// replaces its objects when it arrives.
func (i *Informer) restore(u *records.Update, objects *[object.Kinds][]object.Object) {
	if len(i.missing) == 0 {
		return
	}
	for kind := range object.Kinds {
		for _, o := range objects[kind] {
			at := kind
			slice, ok := o.(*object.EndpointSlice)
			if ok && slice.Controlled && !i.joiner.slicesOnly { // an imported slice is not controlled
				at = object.LeftoverSlices
			}
			switch {
			case !i.missing[object.Origin{Kind: at}] && !i.missing[object.Origin{Kind: at, Namespace: o.ID().Namespace}]:
				// The list has arrived and is newer.
			case at == object.LeftoverSlices:
				i.joiner.setSlice(u, object.LeftoverSlices, slice.ID(), slice)
			default:
				i.joiner.set(u, o)
			}
		}
	}
	i.setRestored(true)
}

// setRestored records whether a snapshot stands in for the missing lists.
func (i *Informer) setRestored(is bool) {
	i.restored.Store(is)
	if c, ok := i.source.(*cluster); ok {
		c.restored.Store(is)
	}
	i.hooks.Restored(is)
}

// set stores an object and reports whether DNS could see a difference. A broken object
// changes nothing.
func (i *Informer) set(u *records.Update, k object.Kind, o object.Object) bool {
	if b, ok := o.(*object.Broken); ok {
		i.broken.add(k, b.Key, b.Err)
		return false
	}
	i.broken.remove(k, o.ID())
	if slice, ok := o.(*object.EndpointSlice); ok && k == object.LeftoverSlices {
		return i.joiner.setSlice(u, k, slice.ID(), slice)
	}
	return i.joiner.set(u, o)
}

// applyList replaces the objects of an origin by those of a list. Objects that are not in
// the list were deleted while nobody watched. No object is in a list twice.
func (i *Informer) applyList(u *records.Update, e event) bool {
	changed, sound := false, true
	for _, o := range e.objects {
		if b, ok := o.(*object.Broken); ok {
			sound = false
			if b.Name == "" {
				b.Namespace = e.Namespace
			}
		}
		changed = i.set(u, e.Kind, o) || changed
	}
	if sound && !i.broken.has(e.Kind) && i.joiner.count(e.Origin) == len(e.objects) {
		return changed // every stored object is in the list
	}
	listed := make(map[object.Key]bool, len(e.objects))
	for _, o := range e.objects {
		listed[o.ID()] = true
	}
	i.broken.retain(e.Origin, listed)
	if listed[object.Key{Namespace: e.Namespace}] {
		return changed // the item without a name may be any of the missing objects
	}
	for _, k := range i.joiner.keys(e.Kind, e.Namespace) {
		if !listed[k] {
			changed = i.joiner.remove(u, e.Kind, k) || changed
		}
	}
	return changed
}
