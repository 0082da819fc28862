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
	"sync"
	"time"

	"k8s.io/client-go/transport"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
	"github.com/headless-dns/headless/records"
)

// Informer keeps a trie up to date with a source.
type Informer struct {
	source    source
	queue     *queue
	joiner    *joiner
	broken    brokenObjects
	leftovers *leftovers // nil without
	keeper    *keeper    // nil without a snapshot
	hooks     Hooks

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
	j := newJoiner(trie, c.PodNames, c.NamespaceLabels != "")
	j.slicesOnly = c.Slices
	var k *keeper
	if c.Snapshot != "" {
		k = newKeeper(&c)
		c.Transport = transport.Wrappers(c.Transport, k.observe)
	}
	s, err := newSource(&c, j)
	if err != nil {
		return nil, err
	}
	received := c.Hooks.Received
	if len(c.Manifests) > 0 {
		received = func(object.Kind, string) {}
	}
	i := &Informer{
		keeper:  k,
		source:  s,
		queue:   newQueue(received),
		joiner:  j,
		broken:  brokenObjects{log: c.Log, hook: c.Hooks.Broken},
		hooks:   c.Hooks,
		missing: make(map[object.Origin]bool),
		synced:  make(chan struct{}),

		complete: make(chan struct{}),
	}
	if c, ok := s.(*cluster); ok {
		i.leftovers = c.leftovers
		j.awaitsLeftovers = c.leftovers != nil
	}
	for _, o := range s.origins() {
		i.missing[o] = true
	}
	return i, nil
}

func newSource(c *Config, j *joiner) (source, error) {
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
