package informer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/headless-dns/headless/informer/internal/object"
)

// absencePause is the time between two looks for ServiceImports at an API server that has none.
const absencePause = 30 * time.Second

// importWatches lists and watches ServiceImports. They are a custom resource, which an API server
// need not have: then there are none, and importWatches looks for them from time to time.
//
// What was there before counts as gone after two looks in a row that did not find it, as an API
// server that starts may serve its custom resources late. Kubernetes deletes the objects of a
// custom resource before the resource, so a resource that is deleted leaves nothing behind.
type importWatches struct {
	cluster *cluster
	clients map[schema.GroupVersion]rest.Interface // of object.ImportVersions
	none    atomic.Bool                            // the last look found nothing; for Explain
}

// importWatch is the watch of one origin. Its health outlives its reflectors.
type importWatch struct {
	*health
	queue *queue
}

// run watches until ctx is done. It sends at least one list for each origin, unless the API server
// fails.
func (w *importWatches) run(ctx context.Context, q *queue) {
	c := w.cluster
	var watches []importWatch
	for _, o := range c.selected.Origins() {
		if o.Kind == object.ServiceImports {
			watches = append(watches, importWatch{newHealth(o, c), q})
		}
	}
	clock := contextClock{c.clock, ctx}
	backoff := c.backoff
	listed, absent := false, 0 // looks in a row that found nothing to list
	for ctx.Err() == nil {
		version, err := w.find(ctx)
		if err == nil && !version.Empty() {
			w.none.Store(false)
			if w.watch(ctx, w.clients[version], watches) {
				listed, absent = true, 0
			}
		}
		pause := absencePause
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			watches[0].fails(err)
			pause = backoff.Step()
		default:
			backoff = c.backoff
			w.none.Store(true)
			if absent++; absent == 1 {
				c.log.Info("API server has no ServiceImports; there are no multi-cluster services until it has")
			}
			known := listed || c.restored.Load()
			for _, w := range watches {
				w.isAbsent(!known || absent > 1)
			}
		}
		select {
		case <-ctx.Done():
		case <-clock.After(pause):
		}
	}
}

// isAbsent records that the API server has no ServiceImports, and that it is not at fault. If
// counts is set, it sends an empty list for the origin, also as a sign of life.
func (w importWatch) isAbsent(counts bool) {
	w.current = w.clock.Now()
	w.works()
	if counts {
		w.queue.push(event{Origin: w.Origin, list: true})
	}
}

// find returns the version of ServiceImports to watch, or an empty one if the API server has none.
func (w *importWatches) find(ctx context.Context) (schema.GroupVersion, error) {
	for _, version := range object.ImportVersions {
		served, err := w.serves(ctx, version)
		if err != nil || served {
			return version, err
		}
	}
	return schema.GroupVersion{}, nil
}

// serves reports whether the API server has ServiceImports of a version.
func (w *importWatches) serves(outer context.Context, version schema.GroupVersion) (bool, error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer w.cluster.clock.AfterFunc(probeLimit, cancel).Stop()
	result := w.clients[version].Get().MaxRetries(0).AbsPath("/apis", version.Group, version.Version).
		SetHeader("Accept", runtime.ContentTypeJSON).Do(ctx)
	switch err := result.Error(); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil && ctx.Err() != nil && outer.Err() == nil:
		return false, fmt.Errorf("find the resources of %s: no answer within %v", version, probeLimit)
	case err != nil:
		return false, fmt.Errorf("find the resources of %s: %w", version, err)
	}
	text, err := result.Raw()
	var resources metav1.APIResourceList
	if err == nil {
		err = json.Unmarshal(text, &resources)
	}
	if err != nil {
		return false, fmt.Errorf("find the resources of %s: %w", version, err)
	}
	return slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool {
		return r.Name == object.ServiceImports.Resource()
	}), nil
}

// watch watches all origins, by the client for a version, until ctx is done or the API server no
// longer has that. It reports whether there was a list.
func (w *importWatches) watch(ctx context.Context, client rest.Interface, watches []importWatch) (listed bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var stores []*store
	for _, each := range watches {
		s := &store{Origin: each.Origin, queue: each.queue, client: client, absent: cancel}
		r := w.cluster.reflector(ctx, each.health, s)
		group.Go(func() { r.RunWithContext(ctx) })
		stores = append(stores, s)
	}
	group.Wait()
	return slices.ContainsFunc(stores, func(s *store) bool { return s.listed.Load() })
}

// checkAbsent ends the watches of a resource that the API server no longer has, which is no fault.
// err is the error of a request, or nil.
func (s *store) checkAbsent(err error) {
	if s.absent != nil && apierrors.IsNotFound(err) {
		s.absent()
	}
}
