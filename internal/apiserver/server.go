// Package apiserver is a stand-in for kube-apiserver, for tests and benchmarks.
//
// It lists and watches a few kinds of objects as kube-apiserver does: in JSON and
// protobuf, of a namespace or all, with label and field selectors, initial events
// and bookmarks, by resource versions that expire. Of a list with a limit it has the
// first page alone, and nothing is written through it: a test calls [Server.Apply].
// It misbehaves when a test says so by [Server.SetFault], [Server.Damage] or
// [Server.Restore].
//
// An object is held as the bytes that its kind has in protobuf, and they are never
// written; a history entry is a pair of pointers to them.
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
	// defaultHistory is enough for a watch to be 100,000 objects behind.
	defaultHistory = 1 << 17
	// firstPort and lastPort are below the ports that the kernel gives to connections.
	firstPort, lastPort = 12000, 19000
	// bookmarkPeriod is how often a watch without events shows that it is alive.
	bookmarkPeriod = time.Minute
)

// Options are what API servers differ in. The zero value is a recent one.
type Options struct {
	// JSON makes it the only encoding.
	JSON bool
	// NoInitialEvents refuses watches that begin with initial events, as API servers
	// before Kubernetes 1.32 do.
	NoInitialEvents bool
	// NoClusterIP refuses to select Services by spec.clusterIP, as API servers before
	// Kubernetes 1.31 do.
	NoClusterIP bool
}

// Server is a stand-in API server that listens on the loopback address.
type Server struct {
	URL string
	// Options may be set before the first request.
	Options
	// History is how many events of a kind are at least kept for watches that
	// resume. A watch that is further behind ends. It may be set before the first
	// change.
	History int

	http *http.Server
	sent atomic.Int64 // bytes

	applying sync.Mutex // serializes the changes, which are encoded before mu is taken

	mu        sync.Mutex
	version   int64
	expired   int64 // watches don't resume at versions before this
	kinds     []*collection
	bookmarks int           // asked for so far
	requests  []string      // the URIs of all requests
	changed   chan struct{} // closed, and replaced, when there is something to send
	dropped   chan struct{} // closed, and replaced, to end the watches

	fault        Fault
	faultChanged chan struct{} // closed, and replaced, with the fault
}

// collection is all there is of a kind, and what happened to it.
type collection struct {
	*kind
	objects map[string]*stored // by namespace/name
	events  []event
	first   int   // the number of events[0], counted from the start of the server
	trimmed int64 // the version of the last event that is no longer kept
	lists   int   // requests for lists
	watches int   // and watches
	listed  int   // lists and initial events that were sent in full
}

// event is a change. Before is nil for a new object, after for a deleted one.
type event struct {
	version       int64
	before, after *stored
}

// Object is an object of Kubernetes.
type Object interface {
	metav1.Object
	runtime.Object
}

// Change is an object that comes or changes, or one that is gone.
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
	// A port that the kernel gives to connections might be taken when the server starts
	// again, by a client that tries to reach it meanwhile.
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

// Start starts a server again that was closed, at the address that it had and with
// all that it knew.
func (s *Server) Start() error { return s.listen(s.http.Addr) }

// Close ends the server and all connections to it.
func (s *Server) Close() error {
	s.DropWatches()
	return s.http.Close()
}

// Put applies objects that come or change.
func (s *Server) Put(objects ...Object) {
	changes := make([]Change, len(objects))
	for i, o := range objects {
		changes[i].Object = o
	}
	s.Apply(changes)
}

// Apply makes changes, in their order and all at once, and wakes the watches. It
// keeps none of the objects. That an object goes which is not there is no change.
// It panics on a kind that is not served.
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

// record keeps an event. Watches may read the old events meanwhile, so that they
// are copied, not moved.
func (c *collection) record(e event, history int) {
	if len(c.events) == 2*history {
		c.first += history
		c.trimmed = c.events[history-1].version
		c.events = append(make([]event, 0, 2*history), c.events[history:]...)
	}
	c.events = append(c.events, e)
}

// wake lets the watches look for what there is to send.
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

// DropWatches ends all watches. Clients resume at the version that they have.
func (s *Server) DropWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *Server) drop() {
	close(s.dropped)
	s.dropped = make(chan struct{})
}

// Fail ends the watches of a resource, such as "pods", with an error, as it ends those that
// resume at a version before this one.
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

// Expire ends all watches and forgets what happened, so that clients that resume
// are told to list anew.
func (s *Server) Expire() {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++ // also clients that have seen everything are too late
	s.expired = s.version
	for _, c := range s.kinds {
		c.first += len(c.events)
		c.events = nil
	}
	s.drop()
}

// Listed is how many lists of a resource, such as "pods", were sent in full, be it
// as a list or as the initial events of a watch.
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

// Sent is how many bytes the server has sent: what clients cost it, as far as the
// network goes.
func (s *Server) Sent() int64 { return s.sent.Load() }

// counting is a listener that counts what is written to its connections.
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
