package informer

import (
	"net/http"
	"time"

	"github.com/go-logr/logr"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// Config says what is watched, and how.
type Config struct {
	// Cluster is how to reach the API server, unless there are Manifests.
	Cluster Cluster
	// Manifests are files and folders to read the objects from.
	Manifests []string
	// Namespaces, if any, are the only ones that are watched.
	Namespaces []string
	// NamespaceLabels, if not empty, is a label selector for the namespaces
	// whose services are served. It excludes Namespaces.
	NamespaceLabels string
	// Labels is a label selector for Services and EndpointSlices.
	Labels string
	// Slices takes the endpoints from the EndpointSlices of all controllers, and
	// watches no pods. It is the better choice where the pods of headless services
	// are few among many: every pod of the cluster, or of the namespaces, is
	// watched otherwise, and most change often. It is the worse where they are
	// most of the pods, or where readiness is to be seen soon: a slice is written
	// by the controller, some time after the pod, and as a whole for each change
	// of one of its endpoints. A pod that has no address stands in no slice, so
	// what is told of such is not known.
	Slices bool
	// Snapshot, if not empty, is a file that is written every SnapshotInterval if
	// something changed, and at the end; not with Manifests. The endpoints come from
	// it at a start while the API server can't be reached, until it was.
	Snapshot         string
	SnapshotInterval time.Duration
	// Successor tells that an informer that came before still serves. Then the
	// snapshot is never read, as the other informer knows better, and not written
	// before TakeOver.
	Successor bool
	// PodNames makes the name of a pod its host label if it has no hostname.
	PodNames bool
	// Transport, if not nil, wraps the connections to the API server.
	Transport func(http.RoundTripper) http.RoundTripper
	// Log takes what can't be returned as an error.
	Log logr.Logger
	// Hooks are told what happens.
	Hooks Hooks
}

// Hooks are called by the writer or by a source; they must not block. None of
// them may be nil.
type Hooks struct {
	// Received is called for each event, list and bookmark of a watch, with the
	// namespace that the watch covers, or "" if it covers all. Manifests are not watched.
	Received func(kind object.Kind, namespace string)
	// Published is called after each publication with the number of services
	// that changed and what the trie now holds. Delays are the times from the
	// receipt of each watch event that took part to now; lists have none. They
	// may not be kept.
	Published func(services int, stats records.Stats, delays []time.Duration)
	// Rejected is called when a manifest that changed can't be read.
	Rejected func(error)
	// BadManifests is called with how many manifests can't be read at present, wholly
	// or in part, when that changes.
	BadManifests func(int)
	// Restored is called with true when the endpoints begin to be those of the
	// snapshot, and with false when they are those of the source again.
	Restored func(bool)
	// Failing is called with true when what an origin covers, a kind or one of a
	// namespace, can no longer be watched, and with false when it can again. It is
	// called for several origins at once.
	Failing func(object.Kind, bool)
	// Broken is called with how many objects of a kind can't be decoded at present,
	// when that changes.
	Broken func(object.Kind, int)
	// Wrote is called after each try to write the snapshot, with its size in bytes.
	Wrote func(size int64, err error)
	// Due is called with the time by which the snapshot has to be written, its interval
	// after the first change that it lacks, and with the zero time when it lacks none.
	Due func(time.Time)
}

// Kind is a kind of object that is watched.
type Kind = object.Kind

// The kinds.
const (
	Services       = object.Services
	Pods           = object.Pods
	EndpointSlices = object.EndpointSlices
	Namespaces     = object.Namespaces
)
