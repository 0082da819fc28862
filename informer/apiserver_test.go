package informer

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restwatch "k8s.io/client-go/rest/watch"

	"github.com/headless-dns/headless/informer/internal/object"
)

// apiServer is a stand-in API server. It sends everything that there is, whatever
// a client selects but a namespace.
type apiServer struct {
	*httptest.Server
	apiOptions
	done chan struct{} // closed at the end

	mu       sync.Mutex
	version  int
	events   []apiEvent
	changed  chan struct{} // closed, and replaced, when there are new events
	dropped  chan struct{} // closed, and replaced, to end the watches
	requests []string      // path and query
}

// apiOptions are what servers differ in.
type apiOptions struct {
	json   bool // it knows no protobuf
	noList bool // it refuses to list
	noInit bool // it knows no initial events, as those before 1.32
	// noField refuses to select Services by a field, as those before 1.31.
	noField bool
	http2   bool // it speaks HTTP/2, with as many streams a connection as kube-apiserver allows
}

type apiEvent struct {
	kind    object.Kind
	version int
	watch.Event
}

type apiObject interface {
	runtime.Object
	metav1.Object
}

func newAPIServer(t *testing.T, o apiOptions) *apiServer {
	a := &apiServer{apiOptions: o, done: make(chan struct{}), changed: make(chan struct{}), dropped: make(chan struct{}), version: 1}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	if o.http2 {
		a.EnableHTTP2 = true
		a.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that end too soon
		a.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
		a.StartTLS()
	} else {
		a.Start()
	}
	t.Cleanup(func() {
		close(a.done)
		a.Close()
	})
	return a
}

// apply makes objects come or change.
func (a *apiServer) apply(objects ...any) {
	for _, o := range objects {
		a.record(watch.Modified, o.(apiObject))
	}
}

// remove makes an object go.
func (a *apiServer) remove(o apiObject) { a.record(watch.Deleted, o) }

// drop ends all watches.
func (a *apiServer) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.dropped)
	a.dropped = make(chan struct{})
}

// fail ends the watches of a kind with an error.
func (a *apiServer) fail(k object.Kind, err *apierrors.StatusError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.append(apiEvent{k, a.version, watch.Event{Type: watch.Error, Object: &err.ErrStatus}})
}

func (a *apiServer) record(change watch.EventType, o apiObject) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	o = o.DeepCopyObject().(apiObject)
	o.SetResourceVersion(strconv.Itoa(a.version))
	a.append(apiEvent{apiKind(o), a.version, watch.Event{Type: change, Object: o}})
}

func (a *apiServer) append(e apiEvent) {
	a.events = append(a.events, e)
	close(a.changed)
	a.changed = make(chan struct{})
}

func apiKind(o runtime.Object) object.Kind {
	switch o.(type) {
	case *corev1.Service:
		return object.Services
	case *corev1.Pod:
		return object.Pods
	case *discoveryv1.EndpointSlice:
		return object.EndpointSlices
	default:
		return object.Namespaces
	}
}

// current returns the objects of an origin and the version that they are of.
func (a *apiServer) current(o object.Origin) ([]runtime.Object, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []runtime.Object
	index := map[string]int{}
	for _, e := range a.events {
		if !e.of(o) || e.Type == watch.Error {
			continue
		}
		name := e.Object.(apiObject).GetNamespace() + "/" + e.Object.(apiObject).GetName()
		if i, ok := index[name]; ok {
			out[i] = nil
		}
		if e.Type == watch.Modified {
			index[name] = len(out)
			out = append(out, e.Object)
		}
	}
	var there []runtime.Object
	for _, o := range out {
		if o != nil {
			there = append(there, o)
		}
	}
	return there, strconv.Itoa(a.version)
}

func (e *apiEvent) of(o object.Origin) bool {
	m, ok := e.Object.(apiObject)
	return e.kind == o.Kind && (!ok || o.Namespace == "" || m.GetNamespace() == o.Namespace)
}

// asked returns the requests so far that have some text in them.
func (a *apiServer) asked(text string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, r := range a.requests {
		if strings.Contains(r, text) {
			out = append(out, r)
		}
	}
	return out
}

// apiOrigin parses a path such as /api/v1/namespaces/default/pods.
func apiOrigin(path string) (object.Origin, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var o object.Origin
	if n := len(parts); n >= 5 && parts[n-3] == "namespaces" {
		o.Namespace = parts[n-2]
	}
	for o.Kind = range object.Kinds {
		if parts[len(parts)-1] == o.Kind.String() {
			return o, strings.HasPrefix(path, map[bool]string{true: "/apis/discovery.k8s.io/v1/", false: "/api/v1/"}[o.Kind == object.EndpointSlices])
		}
	}
	return o, false
}

// apiList returns an empty list of a kind, and an empty object.
func apiList(k object.Kind) (runtime.Object, apiObject) {
	switch k {
	case object.Services:
		return &corev1.ServiceList{}, &corev1.Service{}
	case object.Pods:
		return &corev1.PodList{}, &corev1.Pod{}
	case object.EndpointSlices:
		return &discoveryv1.EndpointSliceList{}, &discoveryv1.EndpointSlice{}
	default:
		return &corev1.NamespaceList{}, &corev1.Namespace{}
	}
}

var apiCodecs = serializer.NewCodecFactory(object.Scheme)

func (a *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r.URL.RequestURI())
	a.mu.Unlock()
	media := runtime.ContentTypeJSON
	if !a.json && strings.HasPrefix(r.Header.Get("Accept"), runtime.ContentTypeProtobuf) {
		media = runtime.ContentTypeProtobuf
	}
	info, _ := runtime.SerializerInfoForMediaType(apiCodecs.SupportedMediaTypes(), media)
	encoder := apiCodecs.EncoderForVersion(info.Serializer, schema.GroupVersions{corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion})
	w.Header().Set("Content-Type", media)
	status := func(err *apierrors.StatusError) {
		w.WriteHeader(int(err.ErrStatus.Code))
		_ = encoder.Encode(&err.ErrStatus, w)
	}
	q := r.URL.Query()
	o, ok := apiOrigin(r.URL.Path)
	watches, initial := q.Get("watch") == "true", q.Get("sendInitialEvents") == "true"
	switch {
	case !ok:
		status(apierrors.NewNotFound(schema.GroupResource{}, r.URL.Path))
	case a.noField && o.Kind == object.Services && q.Get("fieldSelector") != "":
		status(apierrors.NewBadRequest(`"spec.clusterIP" is not a known field selector: only "metadata.name", "metadata.namespace"`))
	case initial && a.noInit:
		status(apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil))
	case watches:
		since, _ := strconv.Atoi(q.Get("resourceVersion"))
		w.Header().Set("Content-Type", media+";stream=watch")
		stream := streaming.NewEncoder(info.StreamSerializer.NewFrameWriter(w), info.StreamSerializer.Serializer)
		a.watch(w, r, o, restwatch.NewEncoder(stream, encoder), since, initial)
	case a.noList:
		status(apierrors.NewForbidden(schema.GroupResource{Resource: o.Kind.String()}, "", nil))
	default:
		objects, version := a.current(o)
		list, _ := apiList(o.Kind)
		_ = meta.SetList(list, objects)
		m, _ := meta.ListAccessor(list)
		m.SetResourceVersion(version)
		_ = encoder.Encode(list, w)
	}
}

func (a *apiServer) watch(w http.ResponseWriter, r *http.Request, o object.Origin, encoder *restwatch.Encoder, since int, initial bool) {
	// An encoder writes to the object for a moment, and other watches send it, too.
	send := func(t watch.EventType, o runtime.Object) {
		_ = encoder.Encode(&watch.Event{Type: t, Object: o.DeepCopyObject()})
	}
	if initial {
		objects, version := a.current(o)
		for _, o := range objects {
			send(watch.Added, o)
		}
		_, mark := apiList(o.Kind)
		mark.SetResourceVersion(version)
		mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		send(watch.Bookmark, mark)
		since, _ = strconv.Atoi(version)
	}
	w.(http.Flusher).Flush()
	a.mu.Lock()
	dropped := a.dropped
	a.mu.Unlock()
	next := 0
	for {
		a.mu.Lock()
		events, changed := a.events[next:], a.changed
		a.mu.Unlock()
		next += len(events)
		for _, e := range events {
			if e.version <= since || !e.of(o) {
				continue
			}
			send(e.Type, e.Object)
			if e.Type == watch.Error {
				return
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-dropped:
			return
		case <-a.done:
			return
		case <-r.Context().Done():
			return
		}
	}
}
