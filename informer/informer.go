// Package informer keeps a trie of records up to date with a Kubernetes cluster or with
// manifest files, and a second one with the services of other clusters.
//
// A source queues events: an object that was added, changed or deleted, or a list. One
// goroutine, the writer, drains the queue, applies each event to the objects that the
// joiner stores, adds up the changes for DNS, and publishes each changed service once.
//
//	sources              cluster.go      lists and watches the API server
//	                     store.go        what a reflector writes to
//	                     health.go       the faults of one list or watch; watched.go, outage.go
//	                     importwatch.go  ServiceImports, of which the API server may have none
//	                     leftovers.go    slices that the EndpointSlice controller left behind
//	                     manifests.go    files, read by internal/manifest
//	                     keeper.go       the snapshot file, written by internal/snapshot
//	queue and writer     event.go, queue.go, writer.go, broken.go
//	join                 join.go         objects and their changes
//	                     selectors.go    which services select a pod; match.go
//	                     endpoints.go    the endpoints that a pod or slice gives a service
//	                     zones.go        topology zones of pods, and changes of nodes
//	                     imports.go      multi-cluster services
//	clients              clients.go      which pod or node has an address
//	explanations         explain.go      why a name has records, or none; explainpods.go, explainzones.go, explainimports.go
//	internal/object      slim objects, and how they are decoded
//	internal/selection   which objects are listed and watched
//
// Objects and published snapshots are immutable. Only the writer changes the objects in the
// joiner; their readers take a lock. Readers of the trie take none.
package informer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/transport"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
	"github.com/headless-dns/headless/records"
)

// Informer keeps tries up to date with a source.
type Informer struct {
	source    source
	queue     *queue
	joiner    *joiner
	broken    brokenObjects
	leftovers *leftovers // nil if no pods are watched, or with manifests
	// importWatches is nil without Config.MultiCluster, or with manifests.
	importWatches *importWatches
	keeper        *keeper // nil without a snapshot
	hooks         Hooks
	config        Config // as given to New, for Explain

	// Only the writer uses these.
	missing map[object.Origin]bool // lists that have not arrived
	seen    []time.Time            // scratch of apply
	delays  []time.Duration

	restored atomic.Bool   // a snapshot stands in for the missing lists
	synced   chan struct{} // closed when the tries hold all objects, or those of a snapshot
	complete chan struct{} // closed when no list is missing

	stop context.CancelFunc
	wait sync.WaitGroup
}

// source provides the objects.
type source interface {
	// origins returns the lists that the source sends at the start.
	origins() []object.Origin
	// run sends events until ctx is done.
	run(ctx context.Context, q *queue)
}

// Tries are what an informer writes to.
type Tries struct {
	Services *records.Trie // headless Services
	Imports  *records.Trie // headless ServiceImports; not used unless Config.MultiCluster is set
}

// New returns an informer that writes to the tries. It fails on an invalid configuration and
// on manifests that can't be read. It sends no request to an API server yet.
func New(t Tries, c Config) (*Informer, error) {
	if c.MultiCluster && t.Imports == nil {
		return nil, errors.New("serve multi-cluster services: no trie for them is given")
	}
	j := newJoiner(t.Services, c.PodNames, c.NamespaceLabels != "")
	if c.MultiCluster {
		j.imports = newImports(t.Imports)
	}
	j.slicesOnly, j.addressed, j.naming.zonal = c.Slices, c.Addressed, c.Zonal
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
		config:  c,
		queue:   newQueue(received),
		joiner:  j,
		broken:  brokenObjects{log: c.Log, hook: c.Hooks.Broken},
		hooks:   c.Hooks,
		missing: make(map[object.Origin]bool),
		synced:  make(chan struct{}),

		complete: make(chan struct{}),
	}
	if c, ok := s.(*cluster); ok {
		i.leftovers, i.importWatches = c.leftovers, c.imports
		j.awaitsLeftovers = c.leftovers != nil
	}
	for _, o := range s.origins() {
		i.missing[o] = true
	}
	return i, nil
}

func newSource(c *Config, j *joiner) (source, error) {
	sel, err := selection.New(selection.Config{Namespaces: c.Namespaces, NamespaceLabels: c.NamespaceLabels, Labels: c.Labels, Slices: c.Slices, Zonal: c.Zonal, MultiCluster: c.MultiCluster})
	if err != nil {
		return nil, err
	}
	if len(c.Manifests) > 0 {
		return newManifests(c, sel)
	}
	return newCluster(c, sel, j)
}

// Start starts the source and the writer.
func (i *Informer) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	i.stop = cancel
	i.wait.Go(func() { i.source.run(ctx, i.queue) })
	i.wait.Go(func() { i.write(ctx) })
	if i.keeper != nil {
		i.wait.Go(func() { i.keeper.run(ctx, i) })
	}
}

// Stop stops the source and the writer, and waits for their end. The tries keep their
// records.
func (i *Informer) Stop() {
	if i.stop != nil {
		i.stop()
		i.wait.Wait()
	}
}

// TakeOver allows the informer to write the snapshot file. A file has one writer, so a
// Successor waits for this call.
func (i *Informer) TakeOver() {
	if i.keeper != nil {
		i.keeper.takeOver()
	}
}

// Synced returns a channel that is closed once the tries hold all objects of the first
// lists, or of the snapshot.
func (i *Informer) Synced() <-chan struct{} { return i.synced }
