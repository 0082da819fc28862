package apiserver

import (
	"encoding/json"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Fault says how a server misbehaves.
type Fault struct {
	// Code, if not zero, is the status of every reply.
	Code int
	// Lists restricts Code to lists.
	Lists bool
	// Abort closes every connection without a reply.
	Abort bool
	// Stall sends neither a list beyond its header nor the initial events of a watch. It
	// does not delay a list with limit 1.
	Stall bool
	// Cut ends each watch after its header.
	Cut bool
	// Expired ends each watch with the error that its version is too old.
	Expired bool
	// Silent sends neither events nor bookmarks. A silent watch stays silent after the fault,
	// like one whose peer is gone.
	Silent bool
}

// SetFault replaces the present fault; the zero Fault ends it. Open watches continue,
// unless the fault is Silent.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	close(s.faultChanged)
	s.faultChanged = make(chan struct{})
	s.wake()
}

func (s *Server) present() (Fault, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault, s.faultChanged
}

// stall waits until replies are no longer stalled. It reports whether the client is still
// there.
func (s *Server) stall(r *http.Request) bool {
	for {
		f, changed := s.present()
		if !f.Stall {
			return true
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return false
		}
	}
}

// statusError returns an error with the status code.
func statusError(code int) error {
	return apierrors.NewGenericServerResponse(code, http.MethodGet, schema.GroupResource{}, "", "stand-in fault "+strconv.Itoa(code), 0, true)
}

// Damage stores an object that clients can't decode. If named is set, they can decode its
// metadata.
func (s *Server) Damage(o Object, named bool) {
	s.applying.Lock()
	defer s.applying.Unlock()
	c := s.collection(o)
	encoded := c.encode(o, s.version+1)
	encoded.damage(c.kind, named, s.version+1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	c.record(event{version: s.version, before: c.objects[encoded.key], after: encoded}, s.History)
	c.objects[encoded.key] = encoded
	s.wake()
}

func (o *stored) damage(k *kind, named bool, version int64) {
	if !named {
		o.raw = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
		o.json = json.RawMessage(`{"metadata": 1}`)
		return
	}
	name, _ := o.fields.Lookup("metadata.name")
	text, err := json.Marshal(map[string]any{
		"apiVersion": k.GroupVersion().String(), "kind": k.Kind,
		"metadata": metav1.ObjectMeta{Namespace: o.namespace, Name: name, ResourceVersion: formatVersion(version)},
		"spec":     1, "addressType": 1,
	})
	if err != nil {
		panic(err) // all its values can be encoded
	}
	if o.json = text; k.isCustom() {
		return
	}
	// The metadata is the first field. A truncated second one follows.
	_, _, n := protowire.ConsumeField(o.raw)
	o.raw = append(o.raw[:n:n], protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.BytesType), 100)...)
}

// Restore acts as if etcd were restored from a backup: the server has only these objects,
// versions start over, and there is no history. All watches end. A watch that resumes at a
// later version receives nothing before that.
func (s *Server) Restore(objects ...Object) {
	s.mu.Lock()
	s.version, s.expired = 1, 0
	for _, c := range s.kinds {
		c.first += len(c.events)
		c.events, c.trimmed = nil, 0
		clear(c.objects)
	}
	s.drop()
	s.mu.Unlock()
	s.Put(objects...)
}

// tooLarge is the error for a version that is not yet reached.
func tooLarge(version, current int64) error {
	err := apierrors.NewTimeoutError("Too large resource version: "+formatVersion(version)+", current: "+formatVersion(current), 1)
	err.ErrStatus.Details.RetryAfterSeconds = 0
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return err
}

// Requests returns the numbers of lists and watches of a resource that clients requested.
func (s *Server) Requests(resource string) (lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.kinds {
		if c.resource == resource {
			return c.lists, c.watches
		}
	}
	return 0, 0
}

// replyFault counts a request. If the fault or the version demands an error, it replies
// with the error and returns true.
func (s *Server) replyFault(w http.ResponseWriter, q *request) bool {
	s.mu.Lock()
	if q.watch {
		q.collection.watches++
	} else {
		q.collection.lists++
	}
	f, version := s.fault, s.version
	s.mu.Unlock()
	switch {
	case f.Abort:
		panic(http.ErrAbortHandler)
	case f.Code != 0 && (!f.Lists || !q.watch):
		refuse(w, q.codec, statusError(f.Code))
	case q.version > version && (!q.watch || q.initial):
		refuse(w, q.codec, tooLarge(q.version, version))
	default:
		return false
	}
	return true
}
