package apiserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"sort"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restwatch "k8s.io/client-go/rest/watch"
)

// state are the objects at a version.
type state struct {
	objects   []*stored
	version   int64
	next      int // the number of the first event after the version
	bookmarks int
}

func (s *Server) state(q *request) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := q.collection
	now := state{version: s.version, next: c.first + len(c.events), bookmarks: s.bookmarks}
	for _, o := range c.objects {
		if q.takes(o) {
			now.objects = append(now.objects, o)
		}
	}
	return now
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, q *request) {
	w.Header().Set("Content-Type", q.codec.MediaType)
	if f, _ := s.present(); f.Stall && q.limit != 1 {
		if http.NewResponseController(w).Flush() != nil || !s.stall(r) {
			return
		}
	}
	now := s.state(q)
	sortStored(now.objects)
	whole := q.limit == 0 || int64(len(now.objects)) <= q.limit
	if !whole {
		now.objects = now.objects[:q.limit]
	}
	c := q.collection
	reply := &list{Items: make([]json.RawMessage, 0, len(now.objects))}
	reply.APIVersion, reply.Kind = q.form.GroupVersion().String(), q.form.Kind+"List"
	reply.ResourceVersion = formatVersion(now.version)
	for _, o := range now.objects {
		item, err := q.form.bytes(o)
		if q.codec.MediaType != runtime.ContentTypeProtobuf {
			item, err = q.form.text(o, q.codec.Serializer)
		}
		if err != nil {
			refuse(w, q.codec, err)
			return
		}
		reply.Items = append(reply.Items, item)
	}
	if q.codec.Serializer.Encode(reply, w) == nil && whole {
		s.addListed(c)
	}
}

// stream is an open watch.
type stream struct {
	*request
	out     *bufio.Writer
	flusher *http.ResponseController
	encoder *restwatch.Encoder
	frame   []byte // reused for each event
}

// watch sends events until the client is gone, the timeout ends, or the watches are
// dropped.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, q *request) {
	ctx := r.Context()
	if q.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.timeout)
		defer cancel()
	}
	contentType := q.codec.MediaType
	if contentType != runtime.ContentTypeJSON {
		contentType += ";stream=watch"
	}
	w.Header().Set("Content-Type", contentType)
	out := bufio.NewWriterSize(w, 1<<16)
	frames := q.codec.StreamSerializer.Framer.NewFrameWriter(out)
	st := &stream{
		request: q,
		out:     out,
		flusher: http.NewResponseController(w),
		encoder: restwatch.NewEncoder(streaming.NewEncoder(frames, q.codec.StreamSerializer.Serializer), q.codec.Serializer),
	}
	s.mu.Lock()
	dropped := s.dropped
	s.mu.Unlock()
	next, bookmarks, err := s.begin(st, r)
	silent := false
	tick := time.NewTicker(bookmarkPeriod)
	defer tick.Stop()
	for err == nil {
		var events []event
		var changed chan struct{}
		var version int64
		s.mu.Lock()
		if next < q.collection.first || s.dropped != dropped || !s.serves(q.form) {
			s.mu.Unlock()
			return // the history no longer has the next event, the watches are dropped, or the kind is gone
		}
		events, changed, version = q.collection.events[next-q.collection.first:], s.changed, s.version
		requested := s.bookmarks > bookmarks
		bookmarks = s.bookmarks
		silent = silent || s.fault.Silent
		s.mu.Unlock()
		next += len(events)
		if !silent {
			err = st.events(events)
			if err == nil && requested {
				err = st.bookmark(version, false)
			}
		}
		if err == nil {
			err = st.flush()
		}
		if err != nil {
			return // the client is gone
		}
		select {
		case <-changed:
		case <-tick.C:
			if !silent {
				err = st.bookmark(version, false)
			}
		case <-dropped:
			return
		case <-ctx.Done():
			return
		}
	}
}

// begin sends the initial events, if the client wants them. It returns the number of the
// first event to send afterwards.
func (s *Server) begin(st *stream, r *http.Request) (next, bookmarks int, err error) {
	switch f, _ := s.present(); {
	case f.Cut:
		return 0, 0, errors.Join(errors.New("cut"), st.flush())
	case f.Expired:
		return 0, 0, st.fail(apierrors.NewResourceExpired("stand-in fault"))
	case f.Stall && st.initial:
		if err := st.flush(); err != nil || !s.stall(r) {
			return 0, 0, errors.Join(errors.New("stalled"), err)
		}
	}
	if st.initial {
		now := s.state(st.request)
		sortStored(now.objects)
		for _, o := range now.objects {
			if err := st.send(watch.Added, o); err != nil {
				return 0, 0, err
			}
		}
		if st.ended {
			if err := st.bookmark(now.version, true); err != nil {
				return 0, 0, err
			}
		}
		if err := st.flush(); err != nil {
			return 0, 0, err
		}
		s.addListed(st.collection)
		return now.next, now.bookmarks, nil
	}
	next, bookmarks, err = s.resume(st)
	if err == nil {
		return next, bookmarks, nil
	}
	return 0, 0, st.fail(err)
}

// fail ends a watch with an error event. Only bad requests get an error status.
func (st *stream) fail(err error) error {
	return errors.Join(err, st.encoder.Encode(&watch.Event{Type: watch.Error, Object: statusOf(err)}), st.flush())
}

// resume returns the number of the event that follows the version of the client.
func (s *Server) resume(st *stream) (next, bookmarks int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := st.collection
	if st.version < max(s.expired, c.trimmed) {
		return 0, 0, apierrors.NewResourceExpired("too old resource version: " + formatVersion(st.version))
	}
	next = c.first + sort.Search(len(c.events), func(i int) bool { return c.events[i].version > st.version })
	return next, s.bookmarks, nil
}

func (st *stream) flush() error {
	if err := st.out.Flush(); err != nil {
		return err
	}
	return st.flusher.Flush()
}

// events sends events as the selection sees them: an object that is no longer selected
// counts as deleted.
func (st *stream) events(events []event) error {
	for _, e := range events {
		if e.after != nil && e.after.failure != nil {
			return st.fail(e.after.failure)
		}
		was, is := st.takes(e.before), st.takes(e.after)
		var err error
		switch {
		case was && is:
			err = st.send(watch.Modified, e.after)
		case is:
			err = st.send(watch.Added, e.after)
		case was:
			err = st.sendDeleted(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends an object. It writes the protobuf envelope by hand: the encoder would copy the
// object four times, and the stand-in must send faster than the program under measurement
// receives.
func (st *stream) send(what watch.EventType, o *stored) error {
	if st.codec.MediaType == runtime.ContentTypeProtobuf {
		raw, err := st.form.bytes(o)
		if err != nil {
			return err
		}
		st.frame = appendEvent(st.frame[:0], what, st.form, raw)
		_, err = st.out.Write(st.frame)
		return err
	}
	if o.json != nil {
		return st.encoder.Encode(&watch.Event{Type: what, Object: &runtime.Unknown{Raw: o.json, ContentType: runtime.ContentTypeJSON}})
	}
	decoded, err := st.form.decode(o)
	if err != nil {
		return err
	}
	return st.encoder.Encode(&watch.Event{Type: what, Object: decoded})
}

// appendEvent appends a frame with a metav1.WatchEvent. Its object is the bytes of a
// runtime.Unknown, after the four bytes that identify one.
func appendEvent(to []byte, what watch.EventType, k *kind, raw []byte) []byte {
	field := func(to []byte, number protowire.Number, value string) []byte {
		return protowire.AppendString(protowire.AppendTag(to, number, protowire.BytesType), value)
	}
	meta := field(field(nil, 1, k.GroupVersion().String()), 2, k.Kind)
	unknown := len("k8s\x00") + sizeOf(len(meta)) + sizeOf(len(raw)) + 2*sizeOf(0)

	to = append(to, 0, 0, 0, 0) // the length, set at the end
	first := len(to)
	to = field(to, 1, string(what))
	to = protowire.AppendVarint(protowire.AppendTag(to, 2, protowire.BytesType), uint64(sizeOf(unknown))) // a RawExtension
	to = protowire.AppendVarint(protowire.AppendTag(to, 1, protowire.BytesType), uint64(unknown))
	to = append(to, "k8s\x00"...)
	to = protowire.AppendBytes(protowire.AppendTag(to, 1, protowire.BytesType), meta)
	to = protowire.AppendBytes(protowire.AppendTag(to, 2, protowire.BytesType), raw)
	to = field(field(to, 3, ""), 4, "") // the encoding and type of the content
	binary.BigEndian.PutUint32(to[first-4:], uint32(len(to)-first))
	return to
}

// sizeOf returns the size of a field with a low number and n bytes.
func sizeOf(n int) int { return protowire.SizeTag(1) + protowire.SizeBytes(n) }

// sendDeleted sends the last state of an object, at the version of its deletion.
func (st *stream) sendDeleted(e event) error {
	last, err := st.form.decode(e.before)
	if e.before.json != nil { // a deleted object need not stay damaged
		last, err = st.form.empty(), nil
	}
	if err != nil {
		return err
	}
	name, _ := e.before.fields.Lookup("metadata.name")
	last.SetNamespace(e.before.namespace)
	last.SetName(name)
	last.SetResourceVersion(formatVersion(e.version))
	return st.encoder.Encode(&watch.Event{Type: watch.Deleted, Object: last})
}

// bookmark sends a bookmark if the client wants bookmarks and is not past the version.
func (st *stream) bookmark(version int64, initialEventsEnd bool) error {
	if !st.bookmarks || version < st.version {
		return nil
	}
	return st.encoder.Encode(&watch.Event{Type: watch.Bookmark, Object: st.form.bookmark(version, initialEventsEnd)})
}
