// Package informer watches pods, headless services and EndpointSlices, joins
// them into endpoints, and keeps a trie of records up to date.
//
// A source, the API server or a set of manifest files, turns what it sees into
// slim objects and queues them as events. One writer drains the queue: it applies
// every event to the objects it holds, collects what that changes for DNS, and
// publishes each touched service once.
package informer

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/transport"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
	"github.com/headless-dns/headless/records"
)

// Config says what is watched, and how.
type Config struct {
	// Cluster is how to reach the API server, unless there are Manifests.
	Cluster Cluster
	// Manifests are files and folders to read the objects from.
	Manifests []string
	// Namespaces, if any, are the only ones that are watched.
	Namespaces []string
	// NamespaceLabels, if not empty, is a label selector for the namespaces
	// whose services are served. It excludes Namespaces.
	NamespaceLabels string
	// Labels is a label selector for Services and EndpointSlices.
	Labels string
	// Slices takes the endpoints from the EndpointSlices of all controllers, and
	// watches no pods. It is the better choice where the pods of headless services
	// are few among many: every pod of the cluster, or of the namespaces, is
	// watched otherwise, and most change often. It is the worse where they are
	// most of the pods, or where readiness is to be seen soon: a slice is written
	// by the controller, some time after the pod, and as a whole for each change
	// of one of its endpoints. A pod that has no address stands in no slice, so
	// what is told of such is not known.
	Slices bool
	// Snapshot, if not empty, is a file that is written every SnapshotInterval if
	// something changed, and at the end; not with Manifests. The endpoints come from
	// it at a start while the API server can't be reached, until it was.
	Snapshot         string
	SnapshotInterval time.Duration
	// Successor tells that an informer that came before still serves. Then the
	// snapshot is never read, as the other informer knows better, and not written
	// before TakeOver.
	Successor bool
	// PodNames makes the name of a pod its host label if it has no hostname.
	PodNames bool
	// Transport, if not nil, wraps the connections to the API server.
	Transport func(http.RoundTripper) http.RoundTripper
	// Log takes what can't be returned as an error.
	Log logr.Logger
	// Hooks are told what happens.
	Hooks Hooks
}

// Hooks are called by the writer or by a source; they must not block. None of
// them may be nil.
type Hooks struct {
	// Received is called for each event, list and bookmark of a watch, with the
	// namespace that the watch covers, or "" if it covers all. Manifests are not watched.
	Received func(kind object.Kind, namespace string)
	// Published is called after each publication with the number of services
	// that changed and what the trie now holds. Delays are the times from the
	// receipt of each watch event that took part to now; lists have none. They
	// may not be kept.
	Published func(services int, stats records.Stats, delays []time.Duration)
	// Rejected is called when a manifest that changed can't be read.
	Rejected func(error)
	// BadManifests is called with how many manifests can't be read at present, wholly
	// or in part, when that changes.
	BadManifests func(int)
	// Restored is called with true when the endpoints begin to be those of the
	// snapshot, and with false when they are those of the source again.
	Restored func(bool)
	// Failing is called with true when what an origin covers, a kind or one of a
	// namespace, can no longer be watched, and with false when it can again. It is
	// called for several origins at once.
	Failing func(object.Kind, bool)
	// Broken is called with how many objects of a kind can't be decoded at present,
	// when that changes.
	Broken func(object.Kind, int)
	// Wrote is called after each try to write the snapshot, with its size in bytes.
	Wrote func(size int64, err error)
	// Due is called with the time by which the snapshot has to be written, its interval
	// after the first change that it lacks, and with the zero time when it lacks none.
	Due func(time.Time)
}

// Kind is a kind of object that is watched.
type Kind = object.Kind

// The kinds.
const (
	Services       = object.Services
	Pods           = object.Pods
	EndpointSlices = object.EndpointSlices
	Namespaces     = object.Namespaces
)

// Informer keeps a trie up to date with a source.
type Informer struct {
	source source
	queue  *queue
	join   *join
	damage damage
	left   *leftovers // nil without
	keeper *keeper    // nil without a snapshot
	hooks  Hooks

	// The writer's.
	missing  map[object.Origin]bool // lists not yet seen
	restored bool                   // what is missing is from a snapshot
	seen     []time.Time            // of apply, as delays
	delays   []time.Duration

	synced   chan struct{} // closed when something can be served
	complete chan struct{} // closed when no list is missing

	stop context.CancelFunc
	wait sync.WaitGroup
}

// source is where objects come from.
type source interface {
	// origins are the lists that the source sends before it is complete.
	origins() []object.Origin
	// run sends events until ctx is done.
	run(ctx context.Context, q *queue)
}

// New returns an informer that writes to the trie. It fails on a configuration
// that can't work, and on manifests that can't be read; it doesn't ask the API
// server for anything yet.
func New(trie *records.Trie, c Config) (*Informer, error) {
	join := newJoin(trie, c.PodNames, c.NamespaceLabels != "")
	var keeper *keeper
	if c.Snapshot != "" {
		keeper = newKeeper(&c)
		c.Transport = transport.Wrappers(c.Transport, keeper.observe)
	}
	join.allSlices = c.Slices
	s, err := newSource(&c, join)
	if err != nil {
		return nil, err
	}
	received := c.Hooks.Received
	if len(c.Manifests) > 0 {
		received = func(object.Kind, string) {}
	}
	i := &Informer{
		keeper:  keeper,
		source:  s,
		queue:   newQueue(received),
		join:    join,
		damage:  damage{log: c.Log, hook: c.Hooks.Broken},
		hooks:   c.Hooks,
		missing: make(map[object.Origin]bool),
		synced:  make(chan struct{}),

		complete: make(chan struct{}),
	}
	if c, ok := s.(*cluster); ok {
		i.left = c.left
		join.holds = c.left != nil
	}
	for _, o := range s.origins() {
		i.missing[o] = true
	}
	return i, nil
}

func newSource(c *Config, j *join) (source, error) {
	sel, err := selection.New(selection.Config{Namespaces: c.Namespaces, NamespaceLabels: c.NamespaceLabels, Labels: c.Labels, Slices: c.Slices})
	if err != nil {
		return nil, err
	}
	if len(c.Manifests) > 0 {
		return newManifests(c, sel)
	}
	return newCluster(c, sel, j)
}

// Start begins to watch.
func (i *Informer) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	i.stop = cancel
	i.wait.Go(func() { i.source.run(ctx, i.queue) })
	i.wait.Go(func() { i.write(ctx) })
	if i.keeper != nil {
		i.wait.Go(func() { i.keeper.run(ctx, i) })
	}
}

// Stop ends the watches and waits for them. The trie keeps what it has.
func (i *Informer) Stop() {
	if i.stop != nil {
		i.stop()
		i.wait.Wait()
	}
}

// TakeOver lets the informer write the snapshot. A file has one writer, so an informer
// that is a Successor waits for this call.
func (i *Informer) TakeOver() {
	if i.keeper != nil {
		i.keeper.takeOver()
	}
}

// Synced is closed once the trie holds everything that was there at the start, or
// in the snapshot.
func (i *Informer) Synced() <-chan struct{} { return i.synced }

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
	update := i.join.trie.Update()
	seen := i.seen[:0]
	anything, incomplete := false, len(i.missing) > 0
	i.join.mu.Lock()
	// Services come last, so that the pods are walked once for all of them. The kinds are
	// watched apart from each other, so there is no order between them to keep.
	for _, last := range []bool{false, true} {
		for _, e := range batch {
			if e.last() != last {
				continue
			}
			changed := false
			switch {
			case e.restored != nil:
				i.restore(update, e.restored)
			case e.left != nil && !e.list:
			case e.list:
				changed = i.replace(update, e)
				delete(i.missing, e.Origin)
			case e.object != nil:
				changed = i.set(update, e.Kind, e.object)
			default:
				i.damage.clear(e.Kind, e.key)
				changed = i.join.remove(update, e.Kind, e.key)
			}
			anything = anything || changed
			if changed && !e.list {
				seen = append(seen, e.received)
			}
		}
	}
	for _, e := range batch {
		anything = i.join.release(e.left) || anything
	}
	i.join.mu.Unlock()
	i.join.flush(update)
	if i.left != nil {
		i.left.check(i.missing)
	}
	n := update.Commit()
	starts := !i.join.started && (len(i.missing) == 0 || i.restored)
	if starts {
		n += i.join.start()
		seen = seen[:0] // they waited for the other kinds, not for the writer
	}
	if n > 0 {
		now := time.Now()
		i.delays = i.delays[:0]
		for _, t := range seen {
			i.delays = append(i.delays, now.Sub(t))
		}
		i.hooks.Published(n, i.join.trie.Stats(), i.delays)
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
			if ok && slice.Controlled && !i.join.allSlices {
				at = object.LeftoverSlices
			}
			switch {
			case !i.missing[object.Origin{Kind: at}] && !i.missing[object.Origin{Kind: at, Namespace: o.ID().Namespace}]:
				// It was listed, and the list knows better.
			case at == object.LeftoverSlices:
				i.join.setSlice(u, object.LeftoverSlices, slice.ID(), slice)
			default:
				i.join.set(u, o)
			}
		}
	}
	i.restored = true
	i.hooks.Restored(true)
}

// set stores an object. One that is broken changes nothing.
func (i *Informer) set(u *records.Update, k object.Kind, o object.Object) bool {
	if b, ok := o.(*object.Broken); ok {
		i.damage.note(k, b.Key, b.Err)
		return false
	}
	i.damage.clear(k, o.ID())
	if slice, ok := o.(*object.EndpointSlice); ok && k == object.LeftoverSlices {
		return i.join.setSlice(u, k, slice.ID(), slice)
	}
	return i.join.set(u, o)
}

// replace makes a list the whole of what its origin has: what is not in it was
// deleted while nobody watched. No object stands twice in a list.
func (i *Informer) replace(u *records.Update, e event) bool {
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
	if sound && !i.damage.any(e.Kind) && i.join.count(e.Origin) == len(e.objects) {
		return changed // all that is held was listed
	}
	listed := make(map[object.Key]bool, len(e.objects))
	for _, o := range e.objects {
		listed[o.ID()] = true
	}
	i.damage.keep(e.Origin, listed)
	if listed[object.Key{Namespace: e.Namespace}] {
		return changed // what has no name may be any of those that are missing
	}
	for _, k := range i.join.names(e.Kind, e.Namespace) {
		if !listed[k] {
			changed = i.join.remove(u, e.Kind, k) || changed
		}
	}
	return changed
}

// event is a change of one object, or a list of all that an origin has.
type event struct {
	object.Origin
	received time.Time
	list     bool
	objects  []object.Object                // of a list
	object   object.Object                  // that came or changed
	key      object.Key                     // of what is gone, if object is nil
	restored *[object.Kinds][]object.Object // instead, the objects of a snapshot
	// left are services all of whose slices are known, of the kind leftSlices. It comes
	// with a list, or instead.
	left map[object.Key]struct{}
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
	case e.list || e.left != nil || e.restored != nil:
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
		return e.restored != nil || e.Kind == object.Services
	}
	return false
}

// queue passes events from the sources to the writer. It has no bound: slim
// objects are small, and a source that had to wait would hold the full ones.
type queue struct {
	received func(object.Kind, string)
	filled   chan struct{} // holds a token while there are events

	mu     sync.Mutex
	events []event
}

func newQueue(received func(object.Kind, string)) *queue {
	return &queue{received: received, filled: make(chan struct{}, 1)}
}

func (q *queue) push(events ...event) {
	now := time.Now()
	q.mu.Lock()
	for _, e := range events {
		e.received = now
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	for _, e := range events {
		if e.restored == nil && (e.left == nil || e.list) {
			q.received(e.Kind, e.Namespace)
		}
	}
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// drain returns all events. The queue goes on with used, the events drained
// before, unless they were exceptionally many.
func (q *queue) drain(used []event) []event {
	if cap(used) > 1024 {
		used = nil
	}
	clear(used)
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = used[:0]
	return events
}
