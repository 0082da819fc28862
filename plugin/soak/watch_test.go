//go:build soak

package soak_test

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// watch records the API server's events of pods and services in the history.
func (k *kubernetes) watch(ctx context.Context, h *history) {
	go k.follow(ctx, "services", h, func(o runtime.Object, gone bool, when moment) {
		h.setService(o.(*corev1.Service).Name, !gone, when)
	})
	go k.follow(ctx, "pods", h, func(o runtime.Object, gone bool, when moment) {
		h.setPod(o.(*corev1.Pod), gone, when)
	})
	go k.write(ctx, "services", steady.service)
	go k.write(ctx, "pods", steady.service+"-0")
}

// writtenAt is the annotation with the time when write set it.
const writtenAt = "soak/written-at"

// write writes the current time to an object several times a second.
func (k *kubernetes) write(ctx context.Context, resource, name string) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, writtenAt, time.Now().Format(time.RFC3339Nano))
		// The next write covers a failure: the object may not exist yet, or the API
		// server be down.
		_ = k.api.CoreV1().RESTClient().Patch(types.MergePatchType).Namespace(namespace).Resource(resource).Name(name).
			Timeout(5 * time.Second).Body([]byte(patch)).Do(ctx).Error()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// follow lists and watches a resource until the context is done. It reconnects at once,
// without a reflector's back-off, as its events are the measure for the server.
func (k *kubernetes) follow(ctx context.Context, resource string, h *history, event func(o runtime.Object, gone bool, when moment)) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	known := make(map[types.UID]runtime.Object)
	take := func(o runtime.Object, gone bool, when moment) (written time.Time) {
		accessor, err := meta.Accessor(o)
		if err != nil {
			return written // it is the status that ends a watch
		}
		if known[accessor.GetUID()] = o; gone {
			delete(known, accessor.GetUID())
		}
		event(o, gone, when)
		written, _ = time.Parse(time.RFC3339Nano, accessor.GetAnnotations()[writtenAt])
		return written
	}
	request := func() *rest.Request {
		return k.api.CoreV1().RESTClient().Get().Namespace(namespace).Resource(resource)
	}
	for ctx.Err() == nil {
		if list, err := request().Do(ctx).Get(); err == nil {
			// The objects of a list are in no chronological order.
			var written time.Time
			when := h.since(resource)
			listed := make(map[types.UID]bool)
			_ = meta.EachListItem(list, func(o runtime.Object) error {
				accessor, err := meta.Accessor(o)
				if err == nil {
					listed[accessor.GetUID()] = true
					if at := take(o, false, when); at.After(written) {
						written = at
					}
				}
				return err
			})
			for uid, o := range known {
				if !listed[uid] {
					take(o, true, when)
				}
			}
			if !written.IsZero() {
				h.setWritten(resource, written)
			}
			accessor, _ := meta.ListAccessor(list)
			options := metav1.ListOptions{Watch: true, ResourceVersion: accessor.GetResourceVersion()}
			if w, err := request().VersionedParams(&options, scheme.ParameterCodec).Watch(ctx); err == nil {
				for e := range w.ResultChan() {
					if at := take(e.Object, e.Type == watch.Deleted, h.since(resource)); !at.IsZero() {
						h.setWritten(resource, at)
					}
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
