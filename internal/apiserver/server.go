// Package apiserver is a stand-in for kube-apiserver, for tests and benchmarks.
//
// It serves lists and watches of a few kinds as kube-apiserver does: in JSON and
// protobuf, of one namespace or of all, with label and field selectors, initial events,
// bookmarks, and resource versions that expire. It ignores the continue token: a list
// with a limit is its first page. It accepts no writes: a test calls [Server.Apply].
// [Server.SetFault], [Server.Damage] and [Server.Restore] make it misbehave.
//
// The server stores an object as its protobuf encoding, which is never modified. An event
// in the history is two pointers to such objects.
package apiserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// defaultHistory lets a watch be 100,000 events behind.
	defaultHistory = 1 << 17
	// The server's port is below those that the kernel gives to outgoing connections.
	firstPort, lastPort = 12000, 19000
	// bookmarkPeriod is the time between two bookmarks of a watch without events.
	bookmarkPeriod = time.Minute
)

// Server is a stand-in API server that listens on the loopback address.
type Server struct {
	URL string
	// History is the least number of events of a kind that the server keeps for watches
	// that resume. A watch that is further behind ends. Set it before the first change.
	History int

	http *http.Server
	sent atomic.Int64 // bytes

	applying sync.Mutex // serializes changes; they are encoded before mu is locked

	mu        sync.Mutex
	version   int64
	expired   int64 // watches can't resume at an earlier version
	kinds     []*collection
	bookmarks int           // requested by Bookmark so far
	changed   chan struct{} // closed and renewed when there are events or bookmarks to send
	dropped   chan struct{} // closed and renewed to end the watches

	fault        Fault
	faultChanged chan struct{} // closed and renewed when the fault changes
}

// collection has the objects of a kind and their recent events.
type collection struct {
	*kind
	objects map[string]*stored // by namespace/name
	events  []event
	first   int   // the number of events[0]; the server numbers events from its start
	trimmed int64 // the version of the latest event that was discarded
	lists   int   // list requests
	watches int   // and watches
	listed  int   // complete lists and complete sets of initial events
}

// event is a change: before is nil for a new object, after is nil for a deleted one.
type event struct {
	version       int64
	before, after *stored
}

// Object is a Kubernetes object.
type Object interface {
	metav1.Object
	runtime.Object
}

// Change creates or updates an object, or deletes it if Gone is set.
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
	// A client that retries while the server is closed may get, for its own connection,
	// the port that the server had. So the port is outside the kernel's range.
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
	go func() { _ = server.Serve(&countingListener{l, &s.sent}) }() // until Close
	return nil
}

// Start restarts a closed server at its former address, with its objects and history.
func (s *Server) Start() error { return s.listen(s.http.Addr) }

// Close stops the server and closes its connections.
func (s *Server) Close() error {
	s.DropWatches()
	return s.http.Close()
}

// Put creates or updates objects.
func (s *Server) Put(objects ...Object) {
	changes := make([]Change, len(objects))
	for i, o := range objects {
		changes[i].Object = o
	}
	s.Apply(changes)
}

// Apply makes the changes in order, as one step, and wakes the watches. It does not keep
// the objects themselves. To delete an object that does not exist is no change. Apply
// panics on a kind that is not served.
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

// record adds an event. It copies the history rather than move it, as watches may be
// reading the old slice.
func (c *collection) record(e event, history int) {
	if len(c.events) == 2*history {
		c.first += history
		c.trimmed = c.events[history-1].version
		c.events = append(make([]event, 0, 2*history), c.events[history:]...)
	}
	c.events = append(c.events, e)
}

// wake makes the watches look for events and bookmarks. The caller holds s.mu.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Bookmark sends a bookmark to each watch that allows bookmarks.
func (s *Server) Bookmark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bookmarks++
	s.wake()
}

// DropWatches ends all watches. Clients can resume them at their last version.
func (s *Server) DropWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *Server) drop() {
	close(s.dropped)
	s.dropped = make(chan struct{})
}

// Expire ends all watches and discards the history, so that clients that resume have to
// relist.
func (s *Server) Expire() {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++ // so that even a client that is up to date has expired
	s.expired = s.version
	for _, c := range s.kinds {
		c.first += len(c.events)
		c.events = nil
	}
	s.drop()
}

// Listed returns how often the server has sent the whole of a resource, such as "pods":
// as a list, or as the initial events of a watch.
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

// Sent returns how many bytes the server has written to its connections.
func (s *Server) Sent() int64 { return s.sent.Load() }

// countingListener counts the bytes written to its connections.
type countingListener struct {
	net.Listener
	sent *atomic.Int64
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
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
