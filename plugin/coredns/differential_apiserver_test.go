package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// diffAPI is a stand-in API server: it lists and watches what both plugins list
// and watch, with the selectors that they ask for, so that they see the same
// objects in the same order. It answers in JSON, which clients that prefer
// protobuf take, too.
type diffAPI struct {
	*httptest.Server
	done chan struct{} // closed to end the watches

	mu      sync.Mutex
	version int
	kinds   map[string]*diffKind // by path
	changed chan struct{}        // closed, and replaced, when there are new events
}

// diffKind is a kind of object: what there is now, and all that happened.
type diffKind struct {
	apiVersion, name string
	objects          map[string]*diffStored
	events           []diffEvent
}

// diffStored is an object as it is sent. It is never written.
type diffStored struct {
	labels labels.Set
	fields fields.Set
	json   []byte
}

// diffEvent is a change; before is nil for a new object, after for a deleted.
type diffEvent struct {
	version       int
	before, after *diffStored
	last          []byte // what is sent of an object that is gone
}

// diffObject is an object of Kubernetes.
type diffObject interface {
	metav1.Object
	runtime.Object
}

func diffPath(o diffObject) string {
	switch o.(type) {
	case *corev1.Service:
		return "/api/v1/services"
	case *corev1.Pod:
		return "/api/v1/pods"
	case *corev1.Namespace:
		return "/api/v1/namespaces"
	case *discoveryv1.EndpointSlice:
		return "/apis/discovery.k8s.io/v1/endpointslices"
	}
	panic(fmt.Sprintf("%T is not served", o))
}

func diffNewAPI() *diffAPI {
	a := &diffAPI{done: make(chan struct{}), changed: make(chan struct{}), version: 1}
	a.kinds = map[string]*diffKind{
		"/api/v1/services":                         {apiVersion: "v1", name: "Service"},
		"/api/v1/pods":                             {apiVersion: "v1", name: "Pod"},
		"/api/v1/namespaces":                       {apiVersion: "v1", name: "Namespace"},
		"/apis/discovery.k8s.io/v1/endpointslices": {apiVersion: "discovery.k8s.io/v1", name: "EndpointSlice"},
	}
	for _, k := range a.kinds {
		k.objects = make(map[string]*diffStored)
	}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	return a
}

func (a *diffAPI) close() {
	close(a.done)
	a.Close()
}

// apply makes changes, in their order, and wakes the watches.
func (a *diffAPI) apply(changes []diffChange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range changes {
		a.version++
		k := a.kinds[diffPath(c.object)]
		key := c.object.GetNamespace() + "/" + c.object.GetName()
		before := k.objects[key]
		stored := a.store(k, c.object)
		if c.gone {
			if before == nil {
				continue
			}
			delete(k.objects, key)
			k.events = append(k.events, diffEvent{a.version, before, nil, stored.json})
			continue
		}
		k.objects[key] = stored
		k.events = append(k.events, diffEvent{a.version, before, stored, stored.json})
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *diffAPI) store(k *diffKind, o diffObject) *diffStored {
	o = o.DeepCopyObject().(diffObject)
	o.SetResourceVersion(strconv.Itoa(a.version))
	s := &diffStored{labels: o.GetLabels(), fields: fields.Set{"metadata.name": o.GetName()}}
	switch o := o.(type) {
	case *corev1.Service:
		o.APIVersion, o.Kind = k.apiVersion, k.name
		s.fields["spec.clusterIP"] = o.Spec.ClusterIP
	case *corev1.Pod:
		o.APIVersion, o.Kind = k.apiVersion, k.name
		s.fields["status.phase"] = string(o.Status.Phase)
	case *corev1.Namespace:
		o.APIVersion, o.Kind = k.apiVersion, k.name
	case *discoveryv1.EndpointSlice:
		o.APIVersion, o.Kind = k.apiVersion, k.name
	}
	var err error
	if s.json, err = json.Marshal(o); err != nil {
		panic(err)
	}
	return s
}

// diffSelection is what a request selects.
type diffSelection struct {
	labels labels.Selector
	fields fields.Selector
}

func (s diffSelection) takes(o *diffStored) bool {
	return o != nil && s.labels.Matches(o.labels) && s.fields.Matches(o.fields)
}

func (a *diffAPI) serve(w http.ResponseWriter, r *http.Request) {
	k, ok := a.kinds[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	q := r.URL.Query()
	var s diffSelection
	var err error
	if s.labels, err = labels.Parse(q.Get("labelSelector")); err == nil {
		s.fields, err = fields.ParseSelector(q.Get("fieldSelector"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if watch, _ := strconv.ParseBool(q.Get("watch")); !watch {
		_, _ = w.Write(a.list(k, s))
		return
	}
	since, _ := strconv.Atoi(q.Get("resourceVersion"))
	initial, _ := strconv.ParseBool(q.Get("sendInitialEvents"))
	a.watch(w, r, k, s, since, initial)
}

func (a *diffAPI) list(k *diffKind, s diffSelection) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := fmt.Appendf(nil, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"%d"},"items":[`, k.name, k.apiVersion, a.version)
	comma := false
	for _, o := range k.objects {
		if s.takes(o) {
			if comma {
				out = append(out, ',')
			}
			out, comma = append(out, o.json...), true
		}
	}
	return append(out, "]}"...)
}

// watch sends events until the client goes. With initial, they begin with what
// there is, and a bookmark at its end, as a client's first watch wants it.
func (a *diffAPI) watch(w http.ResponseWriter, r *http.Request, k *diffKind, s diffSelection, since int, initial bool) {
	next := 0
	if initial {
		a.mu.Lock()
		var out []byte
		for _, o := range k.objects {
			if s.takes(o) {
				out = diffAppendEvent(out, "ADDED", o.json)
			}
		}
		out = diffAppendEvent(out, "BOOKMARK", fmt.Appendf(nil,
			`{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"%d","annotations":{%q:"true"}}}`,
			k.name, k.apiVersion, a.version, metav1.InitialEventsAnnotationKey))
		since, next = a.version, len(k.events)
		a.mu.Unlock()
		_, _ = w.Write(out)
	}
	w.(http.Flusher).Flush()
	for {
		a.mu.Lock()
		events, changed := k.events[next:], a.changed
		a.mu.Unlock()
		next += len(events)
		var out []byte
		for _, e := range events {
			if e.version > since {
				out = e.appendFor(out, s)
			}
		}
		if len(out) > 0 {
			_, _ = w.Write(out)
			w.(http.Flusher).Flush()
		}
		select {
		case <-changed:
		case <-a.done:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// appendFor appends the event as a selection sees it: an object that is no
// longer selected was deleted.
func (e *diffEvent) appendFor(out []byte, s diffSelection) []byte {
	was, is := s.takes(e.before), s.takes(e.after)
	switch {
	case was && is:
		return diffAppendEvent(out, "MODIFIED", e.last)
	case is:
		return diffAppendEvent(out, "ADDED", e.last)
	case was:
		return diffAppendEvent(out, "DELETED", e.last)
	}
	return out
}

func diffAppendEvent(out []byte, kind string, object []byte) []byte {
	out = fmt.Appendf(out, `{"type":%q,"object":`, kind)
	return append(append(out, object...), "}\n"...)
}
