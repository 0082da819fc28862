package informer

import (
	"context"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// write is the writer.
func (i *Informer) write(ctx context.Context) {
	var batch []event
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.queue.filled:
			batch = i.queue.drain(batch)
			i.apply(batch)
		}
	}
}

// apply publishes what a batch of events changes.
func (i *Informer) apply(batch []event) {
	batch = compact(batch)
	update := i.joiner.trie.Update()
	seen := i.seen[:0]
	anything, incomplete := false, len(i.missing) > 0
	i.joiner.mu.Lock()
	// Services come last, so that the pods are walked once for all of them. The kinds are
	// watched apart from each other, so there is no order between them to keep.
	for _, last := range []bool{false, true} {
		for _, e := range batch {
			if e.last() != last {
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
	}
	for _, e := range batch {
		anything = i.joiner.release(e.covered) || anything
	}
	i.joiner.mu.Unlock()
	i.joiner.flush(update)
	if i.leftovers != nil {
		i.leftovers.check(i.missing)
	}
	n := update.Commit()
	starts := !i.joiner.started && (len(i.missing) == 0 || i.restored)
	if starts {
		n += i.joiner.start()
		seen = seen[:0] // they waited for the other kinds, not for the writer
	}
	if n > 0 {
		now := time.Now()
		i.delays = i.delays[:0]
		for _, t := range seen {
			i.delays = append(i.delays, now.Sub(t))
		}
		i.hooks.Published(n, i.joiner.trie.Stats(), i.delays)
	}
	i.seen = seen
	if anything && i.keeper != nil {
		i.keeper.unwritten.add()
	}
	if incomplete && len(i.missing) == 0 {
		if i.restored {
			i.restored = false
			i.hooks.Restored(false)
		}
		close(i.complete)
	}
	if starts {
		close(i.synced)
	}
}

// restore takes the objects of a snapshot in place of the lists that are missing.
// Each list then replaces those of its kind.
func (i *Informer) restore(u *records.Update, objects *[object.Kinds][]object.Object) {
	if len(i.missing) == 0 {
		return
	}
	for kind := range object.Kinds {
		for _, o := range objects[kind] {
			at := kind
			slice, ok := o.(*object.EndpointSlice)
			if ok && slice.Controlled && !i.joiner.slicesOnly {
				at = object.LeftoverSlices
			}
			switch {
			case !i.missing[object.Origin{Kind: at}] && !i.missing[object.Origin{Kind: at, Namespace: o.ID().Namespace}]:
				// It was listed, and the list knows better.
			case at == object.LeftoverSlices:
				i.joiner.setSlice(u, object.LeftoverSlices, slice.ID(), slice)
			default:
				i.joiner.set(u, o)
			}
		}
	}
	i.restored = true
	i.hooks.Restored(true)
}

// set stores an object. One that is broken changes nothing.
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

// applyList makes a list the whole of what its origin has: what is not in it was
// deleted while nobody watched. No object stands twice in a list.
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
		return changed // all that is held was listed
	}
	listed := make(map[object.Key]bool, len(e.objects))
	for _, o := range e.objects {
		listed[o.ID()] = true
	}
	i.broken.retain(e.Origin, listed)
	if listed[object.Key{Namespace: e.Namespace}] {
		return changed // what has no name may be any of those that are missing
	}
	for _, k := range i.joiner.keys(e.Kind, e.Namespace) {
		if !listed[k] {
			changed = i.joiner.remove(u, e.Kind, k) || changed
		}
	}
	return changed
}
