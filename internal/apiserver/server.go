// Package apiserver is a stand-in for kube-apiserver in tests and benchmarks.
//
// It lists and watches a few kinds of objects as kube-apiserver does: in JSON and protobuf,
// of a namespace or of all, with label and field selectors, initial events and bookmarks,
// by resource versions that expire. ServiceImports are a custom resource, in JSON alone, which
// [Server.ServeImports] adds. It returns only the first page of a list with a limit.
// Clients can't write: a test calls [Server.Apply]. A test makes it misbehave with
// [Server.SetFault], [Server.Fail], [Server.Damage] or [Server.Restore], and makes it
// resemble older servers with [Options].
//
// An object is stored as the protobuf of its kind, or as JSON if it has none, which is immutable. An entry of the
// history is a version and two pointers to such objects.
package apiserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// defaultHistory allows a watch to be 100,000 objects behind.
	defaultHistory = 1 << 17
	// firstPort and lastPort are below the ports that the kernel gives to connections.
	firstPort, lastPort = 12000, 19000
	// bookmarkPeriod is how often a watch without events gets a bookmark.
	bookmarkPeriod = time.Minute
)

// Options are the differences between API servers. The zero value is a recent one.
type Options struct {
	// JSON makes JSON the only encoding.
	JSON bool
	// NoInitialEvents rejects watches with initial events, as API servers before Kubernetes
	// 1.32 do.
	NoInitialEvents bool
	// NoClusterIP rejects the field selector spec.clusterIP for Services, as API servers
	// before Kubernetes 1.31 do.
	NoClusterIP bool
}

// Server is a stand-in API server on the loopback address.
type Server struct {
	URL string
	// Options may be set before the first request.
	Options
	// History is the least number of events of a kind that the server keeps for watches to
	// resume. A watch that is further behind ends. It may be set before the first change.
	History int

	http *http.Server
	sent atomic.Int64 // bytes

	applying sync.Mutex // serializes the changes, which are encoded before mu is taken

	mu        sync.Mutex
	version   int64
	expired   int64 // watches can't resume at earlier versions
	kinds     []*collection
	bookmarks int           // requested so far
	requests  []string      // the URIs of all requests
	imports   []string      // the versions of ServiceImports that are served
	changed   chan struct{} // closed and replaced when there is something to send
	dropped   chan struct{} // closed and replaced to end the watches

	fault        Fault
	faultChanged chan struct{} // closed and replaced when the fault changes
}

// collection are the objects of a kind and their history.
type collection struct {
	*kind
	objects map[string]*stored // by namespace/name
	events  []event
	first   int   // the number of events[0], counted from the start of the server
	trimmed int64 // the version of the last event that was dropped
	lists   int   // requests for lists
	watches int   // and watches
	listed  int   // lists and initial events that were sent completely
}

// event is a change. Before is nil for a new object, after is nil for a deleted one.
type event struct {
	version       int64
	before, after *stored
}

// Object is an object of Kubernetes.
type Object interface {
	metav1.Object
	runtime.Object
}

// Change is an object that is added or changed, or deleted if Gone is set.
type Change struct {
	Object Object
	Gone   bool
}

// New starts a server.
func New() (*Server, error) {
	s := &Server{
		History: defaultHistory,
		version: 1,
		changed: make(chan struct{}),
		dropped: make(chan struct{}),

		faultChanged: make(chan struct{}),
	}
	for i := range kinds {
		s.kinds = append(s.kinds, &collection{kind: &kinds[i], objects: make(map[string]*stored)})
	}
	// The kernel could give one of its own ports to a client that tries to connect while
	// the server restarts.
	for try := 0; ; try++ {
		err := s.listen(fmt.Sprint("127.0.0.1:", firstPort+rand.IntN(lastPort-firstPort)))
		if err == nil {
			return s, nil
		}
		if try == 100 {
			return nil, err
		}
	}
}

func (s *Server) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("start stand-in API server: %w", err)
	}
	s.URL = "http://" + l.Addr().String()
	server := &http.Server{Addr: l.Addr().String(), Handler: s}
	s.http = server
	go func() { _ = server.Serve(&counting{l, &s.sent}) }() // until Close
	return nil
}

// Start restarts a closed server at its address, with its objects.
func (s *Server) Start() error { return s.listen(s.http.Addr) }

// Close stops the server and closes all connections.
func (s *Server) Close() error {
	s.DropWatches()
	return s.http.Close()
}

// Put adds or changes objects.
func (s *Server) Put(objects ...Object) {
	changes := make([]Change, len(objects))
	for i, o := range objects {
		changes[i].Object = o
	}
	s.Apply(changes)
}

// Apply applies changes in order, all at once, and wakes the watches. It keeps no reference
// to the objects. Removing an object that does not exist is no change. It panics on a kind
// that is not served.
func (s *Server) Apply(changes []Change) {
	s.applying.Lock()
	defer s.applying.Unlock()
	first := s.version + 1
	encoded := make([]*stored, len(changes))
	for i, c := range changes {
		if !c.Gone {
			encoded[i] = s.collection(c.Object).encode(c.Object, first+int64(i))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range changes {
		in := s.collection(c.Object)
		key := key(c.Object)
		e := event{version: first + int64(i), before: in.objects[key], after: encoded[i]}
		if e.after != nil {
			in.objects[key] = e.after
		} else if e.before != nil {
			delete(in.objects, key)
		} else {
			continue
		}
		in.record(e, s.History)
	}
	s.version += int64(len(changes))
	s.wake()
}

func key(o metav1.Object) string { return o.GetNamespace() + "/" + o.GetName() }

func (s *Server) collection(o Object) *collection {
	for _, c := range s.kinds {
		if c.is(o) {
			return c
		}
	}
	panic(fmt.Sprintf("stand-in API server: %T is not served", o))
}

// record appends an event. It copies old events and does not move them, as watches may read
// them meanwhile.
func (c *collection) record(e event, history int) {
	if len(c.events) == 2*history {
		c.first += history
		c.trimmed = c.events[history-1].version
		c.events = append(make([]event, 0, 2*history), c.events[history:]...)
	}
	c.events = append(c.events, e)
}

// wake makes the watches look for something to send.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Bookmark sends a bookmark to each watch that wants them.
func (s *Server) Bookmark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bookmarks++
	s.wake()
}

// DropWatches ends all watches. Clients resume at their versions.
func (s *Server) DropWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *Server) drop() {
	close(s.dropped)
	s.dropped = make(chan struct{})
}

// Fail ends the watches of a resource, such as "pods", with an error. It also ends watches
// that resume later from an earlier version.
func (s *Server) Fail(resource string, err error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.kinds {
		if c.resource == resource {
			s.version++
			c.record(event{version: s.version, after: &stored{failure: err}}, s.History)
			s.wake()
			return
		}
	}
	panic(fmt.Sprintf("stand-in API server: resource %q is not served", resource))
}

// Asked returns the URIs of the requests so far that contain a text.
func (s *Server) Asked(text string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(uri string) bool { return !strings.Contains(uri, text) })
}

// Expire ends all watches and forgets the history, so that clients that resume must relist.
func (s *Server) Expire() {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++ // so that clients that have seen everything are too late as well
	s.expired = s.version
	for _, c := range s.kinds {
		c.first += len(c.events)
		c.events = nil
	}
	s.drop()
}

// Listed returns how many lists of a resource, such as "pods", were sent completely, as a
// list or as the initial events of a watch.
func (s *Server) Listed(resource string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.kinds {
		if c.resource == resource {
			return c.listed
		}
	}
	return 0
}

// Sent returns the number of bytes sent to clients.
func (s *Server) Sent() int64 { return s.sent.Load() }

// counting is a listener that counts the bytes written to its connections.
type counting struct {
	net.Listener
	sent *atomic.Int64
}

// Accept implements net.Listener.
func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l.sent}, nil
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

// Write implements io.Writer.
func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

func (s *Server) addListed(c *collection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.listed++
}

func formatVersion(v int64) string { return strconv.FormatInt(v, 10) }
