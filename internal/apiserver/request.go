package apiserver

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// request is a parsed request.
type request struct {
	collection *collection
	selection
	codec runtime.SerializerInfo
	form  *kind // in which the objects are sent: their kind, or their metadata alone

	limit     int64 // of a list; zero for none
	watch     bool
	version   int64 // to watch from; zero for any
	initial   bool  // begin with the present objects
	ended     bool  // and mark their end with a bookmark
	bookmarks bool
	timeout   time.Duration
}

// selection selects objects of a kind.
type selection struct {
	namespace string // empty for all
	labels    labels.Selector
	fields    fields.Selector
}

func (s *selection) takes(o *stored) bool {
	return o != nil && (s.namespace == "" || s.namespace == o.namespace) &&
		s.labels.Matches(o.labels) && s.fields.Matches(o.fields)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.RequestURI())
	s.mu.Unlock()
	if s.discover(w, r) {
		return
	}
	q, err := s.parse(r)
	if err != nil {
		refuse(w, q.codec, err)
		return
	}
	if s.replyFault(w, q) {
		return
	}
	if q.watch {
		s.watch(w, r, q)
	} else {
		s.list(w, r, q)
	}
}

// refuse replies with an error.
func refuse(w http.ResponseWriter, codec runtime.SerializerInfo, err error) {
	status := statusOf(err)
	w.Header().Set("Content-Type", codec.MediaType)
	w.WriteHeader(int(status.Code))
	_ = codec.Serializer.Encode(status, w) // the client may be gone
}

// statusOf returns an error in the form in which it is sent.
func statusOf(err error) *metav1.Status {
	var reply apierrors.APIStatus
	if !errors.As(err, &reply) {
		reply = apierrors.NewInternalError(err)
	}
	status := reply.Status()
	status.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("Status"))
	return &status
}

// parse parses a request. It sets the codec even if it returns an error.
func (s *Server) parse(r *http.Request) (*request, error) {
	q := new(request)
	values := r.URL.Query()
	q.watch, _ = strconv.ParseBool(values.Get("watch"))
	var ok, metadata, exists bool
	q.collection, q.form, q.namespace, exists = s.route(r.URL.Path)
	if q.codec, metadata, ok = negotiate(r.Header.Get("Accept"), q.watch, s.JSON || exists && q.form.isCustom()); !ok {
		return q, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
			Message: "only JSON and protobuf are served",
		}}
	}
	if !exists || r.Method != http.MethodGet {
		return q, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, "", "no such resource", 0, false)
	}
	if metadata {
		q.form = q.form.metadata()
	}
	if err := q.parseSelectors(values); err != nil {
		return q, apierrors.NewBadRequest(err.Error())
	}
	if s.NoClusterIP && q.fields.String() != "" && q.collection.resource == "services" {
		return q, apierrors.NewBadRequest(`"spec.clusterIP" is not a known field selector: only "metadata.name", "metadata.namespace"`)
	}
	if err := q.parseWatch(values); err != nil {
		return q, apierrors.NewBadRequest(err.Error())
	}
	if s.NoInitialEvents && q.watch && q.ended {
		return q, apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil)
	}
	return q, nil
}

// negotiate returns the codec of the first served media type in an Accept header, and whether that
// is for the metadata of objects alone. If there is none, it returns JSON and false.
func negotiate(accept string, watch, onlyJSON bool) (codec runtime.SerializerInfo, metadata, ok bool) {
	supported := scheme.Codecs.SupportedMediaTypes()
	fallback, _ := runtime.SerializerInfoForMediaType(supported, runtime.ContentTypeJSON)
	if accept == "" {
		return fallback, false, true
	}
	as := partialKind
	if !watch {
		as += "List"
	}
	for part := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(part)
		metadata := err == nil && parameters["as"] == as && parameters["g"] == metav1.GroupName && parameters["v"] == "v1"
		if err != nil || parameters["as"] != "" && !metadata {
			continue
		}
		if media == "*/*" || media == "application/*" {
			return fallback, false, true
		}
		codec, ok := runtime.SerializerInfoForMediaType(supported, media)
		if ok && (media == runtime.ContentTypeJSON || media == runtime.ContentTypeProtobuf && !onlyJSON) && (!watch || codec.StreamSerializer != nil) {
			return codec, metadata, true
		}
	}
	return fallback, false, false
}

// route returns the collection of a path, its kind in the version of the path, and the namespace if
// the path has one.
func (s *Server) route(path string) (c *collection, form *kind, namespace string, ok bool) {
	for _, c := range s.kinds {
		form, rest, ok := s.inVersion(c.kind, path)
		if !ok {
			continue
		}
		parts := strings.Split(rest, "/")
		if len(parts) == 1 && parts[0] == c.resource {
			return c, form, "", true
		}
		if len(parts) == 3 && parts[0] == "namespaces" && parts[2] == c.resource && c.namespaced {
			return c, form, parts[1], true
		}
	}
	return nil, nil, "", false
}

func (q *request) parseSelectors(values url.Values) error {
	var err error
	if q.labels, err = labels.Parse(values.Get("labelSelector")); err != nil {
		return fmt.Errorf("parse label selector: %w", err)
	}
	if q.fields, err = fields.ParseSelector(values.Get("fieldSelector")); err != nil {
		return fmt.Errorf("parse field selector: %w", err)
	}
	for _, r := range q.fields.Requirements() {
		if !q.collection.selectable(r.Field) {
			return fmt.Errorf("field label not supported: %s", r.Field)
		}
	}
	return nil
}

func (q *request) parseWatch(values url.Values) error {
	var err error
	number := func(name string) (n int64) {
		if text := values.Get(name); text != "" && err == nil {
			if n, err = strconv.ParseInt(text, 10, 64); err != nil {
				err = fmt.Errorf("parse %s: %w", name, err)
			}
		}
		return n
	}
	q.version, q.limit = number("resourceVersion"), number("limit")
	q.timeout = time.Duration(number("timeoutSeconds")) * time.Second
	q.bookmarks, _ = strconv.ParseBool(values.Get("allowWatchBookmarks"))
	q.ended, _ = strconv.ParseBool(values.Get("sendInitialEvents"))
	q.initial = q.ended || q.version == 0 && !slices.Contains(values["sendInitialEvents"], "false")
	if err == nil && q.watch && q.ended && values.Get("resourceVersionMatch") != string(metav1.ResourceVersionMatchNotOlderThan) {
		err = fmt.Errorf("initial events are sent with resourceVersionMatch %s only", metav1.ResourceVersionMatchNotOlderThan)
	}
	return err
}
