package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	restwatch "k8s.io/client-go/rest/watch"
	"k8s.io/utils/ptr"
)

var contentTypes = []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON}

func start(t *testing.T) *Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(t *testing.T, s *Server, contentType string) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(&rest.Config{
		Host: s.URL, ContentConfig: rest.ContentConfig{ContentType: contentType, AcceptContentTypes: contentType}, QPS: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newPod(namespace, name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "web", "pod": name}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "web", Image: "nginx"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func done(p *corev1.Pod)    { p.Status.Phase = corev1.PodSucceeded }
func another(p *corev1.Pod) { p.Labels = map[string]string{"app": "db"} }

func names(pods []corev1.Pod) string {
	var out []string
	for _, p := range pods {
		out = append(out, p.Namespace+"/"+p.Name)
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	s := start(t)
	s.Put(newPod("b", "1"), newPod("a", "2", another), newPod("a", "1"), newPod("a", "3", done))
	for _, contentType := range contentTypes {
		pods := client(t, s, contentType).CoreV1()
		for _, test := range []struct {
			namespace string
			options   metav1.ListOptions
			want      string
		}{
			{"", metav1.ListOptions{}, "a/1 a/2 a/3 b/1"},
			{"a", metav1.ListOptions{}, "a/1 a/2 a/3"},
			{"c", metav1.ListOptions{}, ""},
			{"", metav1.ListOptions{LabelSelector: "app!=db"}, "a/1 a/3 b/1"},
			{"", metav1.ListOptions{LabelSelector: "app in (db),pod"}, ""},
			{"", metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"}, "a/1 a/2 b/1"},
			{"a", metav1.ListOptions{FieldSelector: "metadata.name=1"}, "a/1"},
			{"", metav1.ListOptions{FieldSelector: "metadata.namespace=b,spec.nodeName=node-1"}, "b/1"},
		} {
			l, err := pods.Pods(test.namespace).List(t.Context(), test.options)
			if err != nil {
				t.Fatalf("%s: %+v: %v", contentType, test, err)
			}
			if got := names(l.Items); got != test.want || l.ResourceVersion != "5" {
				t.Errorf("%s: of %q, %+v: %q at version %s", contentType, test.namespace, test.options, got, l.ResourceVersion)
			}
		}
		l, err := pods.Pods("b").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := newPod("b", "1")
		want.ResourceVersion = "2"
		l.Items[0].TypeMeta = metav1.TypeMeta{}
		if !equality.Semantic.DeepEqual(&l.Items[0], want) {
			t.Errorf("%s: %v came back as %v", contentType, want, &l.Items[0])
		}
	}
}

// TestKinds lists an object of each kind.
func TestKinds(t *testing.T) {
	s := start(t)
	meta := metav1.ObjectMeta{Namespace: "a", Name: "x", Labels: map[string]string{"app": "web"}}
	s.Put(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}},
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Type: corev1.ServiceTypeClusterIP}},
		newPod("a", "x"),
		&discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}}},
	)
	for _, contentType := range contentTypes {
		c := client(t, s, contentType)
		got := make(map[string]int)
		namespaces, err1 := c.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase=Active"})
		services, err2 := c.CoreV1().Services("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.clusterIP=None,spec.type=ClusterIP"})
		pods, err3 := c.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "status.podIP=10.0.0.1"})
		endpoints, err4 := c.DiscoveryV1().EndpointSlices("").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				t.Fatal(err)
			}
		}
		got["namespaces"], got["services"], got["pods"], got["endpointslices"] = len(namespaces.Items), len(services.Items), len(pods.Items), len(endpoints.Items)
		for kind, n := range got {
			if n != 1 {
				t.Errorf("%s: %d %s", contentType, n, kind)
			}
		}
	}
	if s.Listed("pods") != 2 || s.Listed("nodes") != 0 {
		t.Errorf("listed %d times", s.Listed("pods"))
	}
}

func TestRefuse(t *testing.T) {
	s := start(t)
	for _, contentType := range contentTypes {
		c := client(t, s, contentType)
		_, err := c.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.hostname=x"})
		if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "field label not supported: spec.hostname") {
			t.Errorf("%s: an unknown field: %v", contentType, err)
		}
		if _, err := c.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: an unknown kind: %v", contentType, err)
		}
		yes := true
		_, err = c.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{SendInitialEvents: &yes})
		if !apierrors.IsBadRequest(err) {
			t.Errorf("%s: initial events of no version: %v", contentType, err)
		}
	}
	for accept, want := range map[string]string{
		"":                 "application/json 200",
		"*/*":              "application/json 200",
		"application/yaml": "application/json 406",
		"text/html, application/vnd.kubernetes.protobuf;q=0.9": "application/vnd.kubernetes.protobuf 200",
		"application/json;as=Table;v=v1, application/json":     "application/json 200",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/v1/pods", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := fmt.Sprint(resp.Header.Get("Content-Type"), " ", resp.StatusCode); got != want {
			t.Errorf("Accept: %q: %s", accept, got)
		}
	}
}

// watched is an open watch whose events are compared as strings.
type watched struct {
	t *testing.T
	watch.Interface
}

func open(t *testing.T, s *Server, contentType, namespace string, o metav1.ListOptions) *watched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	w, err := client(t, s, contentType).CoreV1().Pods(namespace).Watch(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Stop(); cancel() })
	return &watched{t, w}
}

func (w *watched) expect(want ...string) {
	w.t.Helper()
	for _, want := range want {
		e, ok := <-w.ResultChan()
		got := "end"
		if ok {
			got = string(e.Type)
			switch o := e.Object.(type) {
			case *corev1.Pod:
				got += fmt.Sprintf(" %s@%s", o.Name, o.ResourceVersion)
				for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
					got += " " + key + "=" + o.Annotations[key]
				}
			case *metav1.Status:
				got += fmt.Sprintf(" %d %s", o.Code, o.Reason)
			}
		}
		if got != want {
			w.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	for _, contentType := range contentTypes {
		t.Run(contentType, func(t *testing.T) {
			s := start(t)
			s.Put(newPod("a", "1"), newPod("a", "2"))
			all := open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "2"})
			all.expect("ADDED 2@3")
			web := open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "3", LabelSelector: "app=web"})
			running := open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "3", FieldSelector: "status.phase=Running"})
			ofB := open(t, s, contentType, "b", metav1.ListOptions{ResourceVersion: "3"})
			s.Apply([]Change{
				{Object: newPod("a", "1", another)},
				{Object: newPod("a", "2", done)},
				{Object: newPod("b", "3")},
				{Object: newPod("a", "4"), Gone: true}, // never existed
				{Object: newPod("a", "1", another), Gone: true},
				{Object: newPod("a", "2")},
			})
			all.expect("MODIFIED 1@4", "MODIFIED 2@5", "ADDED 3@6", "DELETED 1@8", "MODIFIED 2@9")
			web.expect("DELETED 1@4", "MODIFIED 2@5", "ADDED 3@6", "MODIFIED 2@9")
			running.expect("MODIFIED 1@4", "DELETED 2@5", "ADDED 3@6", "DELETED 1@8", "ADDED 2@9")
			ofB.expect("ADDED 3@6")
		})
	}
}

func TestInitialEvents(t *testing.T) {
	yes := true
	for _, contentType := range contentTypes {
		t.Run(contentType, func(t *testing.T) {
			s := start(t)
			s.Put(newPod("a", "2"), newPod("a", "1"), newPod("b", "3", another))
			streamed := open(t, s, contentType, "", metav1.ListOptions{
				SendInitialEvents: &yes, AllowWatchBookmarks: true, LabelSelector: "app=web",
				ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
			})
			streamed.expect("ADDED 1@3", "ADDED 2@2", "BOOKMARK @4 k8s.io/initial-events-end=true")
			any := open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "0"})
			any.expect("ADDED 1@3", "ADDED 2@2", "ADDED 3@4")
			s.Bookmark()
			streamed.expect("BOOKMARK @4")
			s.Put(newPod("a", "1"))
			streamed.expect("MODIFIED 1@5")
			any.expect("MODIFIED 1@5")
		})
	}
}

func TestBookmark(t *testing.T) {
	s := start(t)
	s.Put(newPod("a", "1"))
	w := open(t, s, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: "2", AllowWatchBookmarks: true})
	s.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
	s.Bookmark()
	w.expect("BOOKMARK @3")
}

func TestResume(t *testing.T) {
	for _, contentType := range contentTypes {
		t.Run(contentType, func(t *testing.T) {
			s := start(t)
			s.Put(newPod("a", "1"))
			w := open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "2"})
			s.DropWatches()
			w.expect("end")
			s.Put(newPod("a", "2"))
			w = open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "2"})
			w.expect("ADDED 2@3")
			s.Expire()
			w.expect("end")
			open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "3"}).expect("ERROR 410 Expired", "end")
			w = open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "4"})
			s.Put(newPod("a", "3"))
			w.expect("ADDED 3@5")
		})
	}
}

// TestTimeout ends a watch when its timeout ends.
func TestTimeout(t *testing.T) {
	second := int64(1)
	open(t, start(t), runtime.ContentTypeJSON, "", metav1.ListOptions{ResourceVersion: "1", TimeoutSeconds: &second}).expect("end")
}

// TestTrim fills the history twice. A watch that resumes too far behind gets an error.
func TestTrim(t *testing.T) {
	s := start(t)
	s.History = 100
	history := int64(s.History)
	pod := newPod("a", "1")
	for range 2*history + 1 {
		s.Put(pod)
	}
	oldest := formatVersion(history + 1)
	open(t, s, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: oldest}).expect("MODIFIED 1@" + formatVersion(history+2))
	open(t, s, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: formatVersion(history)}).expect("ERROR 410 Expired")
}

// TestSent limits the bytes of an event to the object and its envelope.
func TestSent(t *testing.T) {
	s := start(t)
	pod := newPod("a", "1")
	s.Put(pod)
	w := open(t, s, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: "2"})
	s.Put(pod)
	w.expect("MODIFIED 1@3") // with it comes the header of the response
	before := s.Sent()
	const events = 100
	for i := range events {
		s.Put(pod)
		w.expect("MODIFIED 1@" + formatVersion(int64(4+i)))
	}
	// The envelope has the type of the event, the kind and a few lengths.
	if each := int(s.Sent()-before) / events; each < pod.Size() || each > pod.Size()+100 {
		t.Errorf("an event of a pod of %d bytes took %d", pod.Size(), each)
	}
}

// TestEvent compares an event with that of the encoder.
func TestEvent(t *testing.T) {
	s := start(t)
	codec, _ := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	for _, size := range []int{0, 1, 100, 200, 20_000} {
		pod := newPod("a", strings.Repeat("x", size))
		pods := s.collection(pod)
		stored := pods.encode(pod, 1)
		var want bytes.Buffer
		frames := codec.StreamSerializer.Framer.NewFrameWriter(&want)
		encoder := restwatch.NewEncoder(streaming.NewEncoder(frames, codec.StreamSerializer.Serializer), codec.Serializer)
		err := encoder.Encode(&watch.Event{Type: watch.Added, Object: &runtime.Unknown{
			TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Raw: stored.raw,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := appendEvent([]byte("before"), watch.Added, pods.kind, stored.raw); string(got) != "before"+want.String() {
			t.Errorf("a name of %d bytes: got %.300q, want %.300q", size, got, want.String())
		}
	}
}

// TestUnwritten checks that Put does not change the object.
func TestUnwritten(t *testing.T) {
	pod := newPod("a", "1")
	start(t).Put(pod)
	if want := newPod("a", "1"); !equality.Semantic.DeepEqual(pod, want) {
		t.Errorf("%v became %v", want, pod)
	}
}

func TestNotServed(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the server accepts a ConfigMap")
		}
	}()
	start(t).Put(&corev1.ConfigMap{})
}

// TestStart closes a server, which is then unreachable, and restarts it.
func TestStart(t *testing.T) {
	s := start(t)
	s.Put(newPod("a", "1"))
	pods := client(t, s, runtime.ContentTypeProtobuf).CoreV1().Pods("")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("a server that was closed answers")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	list, err := pods.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(list.Items); got != "a/1" {
		t.Errorf("pods %q", got)
	}
}

// TestOptions sends each kind of server the requests that some reject.
func TestOptions(t *testing.T) {
	headless := metav1.ListOptions{FieldSelector: "spec.clusterIP=None"}
	initial := metav1.ListOptions{SendInitialEvents: ptr.To(true), AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
	for _, test := range []struct {
		Options
		media                   string
		noServices, noInitially bool
	}{
		{Options{}, runtime.ContentTypeProtobuf, false, false},
		{Options{JSON: true}, runtime.ContentTypeJSON, false, false},
		{Options{NoClusterIP: true}, runtime.ContentTypeProtobuf, true, false},
		{Options{NoInitialEvents: true}, runtime.ContentTypeProtobuf, false, true},
	} {
		s := start(t)
		s.Options = test.Options
		r, err := http.NewRequest(http.MethodGet, s.URL+"/api/v1/pods", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); got != test.media {
			t.Errorf("%+v: the content type is %q, want %q", test.Options, got, test.media)
		}
		core := client(t, s, runtime.ContentTypeJSON).CoreV1()
		if _, err := core.Services("").List(t.Context(), headless); apierrors.IsBadRequest(err) != test.noServices || err != nil && !test.noServices {
			t.Errorf("%+v: the list of headless services ends with %v", test.Options, err)
		}
		if _, err := core.Services("").List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("%+v: the list of all services ends with %v", test.Options, err)
		}
		w, err := core.Pods("").Watch(t.Context(), initial)
		if apierrors.IsInvalid(err) != test.noInitially || err != nil && !test.noInitially {
			t.Errorf("%+v: a watch with initial events ends with %v", test.Options, err)
		}
		if err == nil {
			w.Stop()
		}
		if asked := s.Asked("services"); len(asked) != 2 || !strings.Contains(asked[0], "fieldSelector=") {
			t.Errorf("%+v: the requests are %q", test.Options, asked)
		}
	}
}

// TestFail ends the watches of one resource with an error. Those of others continue.
func TestFail(t *testing.T) {
	for _, contentType := range contentTypes {
		s := start(t)
		s.Put(newPod("a", "1"))
		w := open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "2"})
		services, err := client(t, s, contentType).CoreV1().Services("").Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2"})
		if err != nil {
			t.Fatal(err)
		}
		s.Fail("pods", apierrors.NewResourceExpired("too old"))
		w.expect("ERROR 410 Expired", "end")
		s.Put(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "1"}}, newPod("a", "2"))
		if e := <-services.ResultChan(); e.Type != watch.Added {
			t.Errorf("%s: the watch of services sends %v", contentType, e)
		}
		services.Stop()
		open(t, s, contentType, "", metav1.ListOptions{ResourceVersion: "3"}).expect("ADDED 2@5")
	}
}

// TestMetadata gets the metadata of nodes alone, as the client of Kubernetes for metadata does.
func TestMetadata(t *testing.T) {
	for _, onlyJSON := range []bool{false, true} {
		s := start(t)
		s.JSON = onlyJSON
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{"zone": "a"}},
			Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{Names: []string{strings.Repeat("long", 1000)}}}}}
		s.Put(node)
		c, err := metadata.NewForConfig(&rest.Config{Host: s.URL, QPS: -1})
		if err != nil {
			t.Fatal(err)
		}
		nodes := c.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
		before := s.Sent()
		list, err := nodes.List(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 1 || list.Items[0].Name != "node-1" || list.Items[0].Labels["zone"] != "a" || list.ResourceVersion != "2" {
			t.Errorf("the list is %+v", list)
		}
		if n := s.Sent() - before; n > 1000 {
			t.Errorf("the list takes %d bytes, want only metadata", n)
		}
		w, err := nodes.Watch(context.Background(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		node.Labels["zone"] = "b"
		s.Put(node)
		s.Apply([]Change{{Object: node, Gone: true}})
		for _, want := range []watch.EventType{watch.Modified, watch.Deleted} {
			e := <-w.ResultChan()
			o, ok := e.Object.(*metav1.PartialObjectMetadata)
			if e.Type != want || !ok || o.Name != "node-1" || o.Labels["zone"] != "b" {
				t.Errorf("the event is %v %+v, want %v of the node", e.Type, e.Object, want)
			}
		}
		s.Bookmark()
		if e := <-w.ResultChan(); e.Type != watch.Bookmark || e.Object.(*metav1.PartialObjectMetadata).ResourceVersion != "4" {
			t.Errorf("the event is %v %+v, want a bookmark", e.Type, e.Object)
		}
	}
}
