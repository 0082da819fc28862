package informer

import (
	"net/http"
	"time"

	"github.com/go-logr/logr"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// Config configures an informer.
type Config struct {
	// Cluster is the API server. Ignored with Manifests.
	Cluster Cluster
	// Manifests are files and folders to read the objects from.
	Manifests []string
	// Namespaces restricts the informer to some namespaces. Empty means all.
	Namespaces []string
	// NamespaceLabels is a label selector for the namespaces to serve. It excludes
	// Namespaces.
	NamespaceLabels string
	// Labels is a label selector for Services, their EndpointSlices and ServiceImports.
	Labels string
	// Slices takes the endpoints from the EndpointSlices of all controllers and watches no
	// pods.
	//
	// It is cheaper where few of many pods belong to headless services: without it every pod
	// of the cluster, or of the namespaces, is watched, and most change often. It costs more
	// where most pods belong to them, as the controller writes a whole slice for each
	// endpoint that changes. Changes arrive later, as the controller writes the slice some
	// time after the pod changed. A pod without an address is in no slice, so such pods are
	// not counted.
	Slices bool
	// Addressed makes a host have the address of a pod that is not ready, unless it terminates,
	// while no ready pod has the host's label. The annotation of a Service,
	// headless-dns.github.io/hosts, wins: "addressed" or "ready".
	Addressed bool
	// Zonal gives ready endpoints their topology zones: with pods, that of the pod's label
	// topology.kubernetes.io/zone, else that of its node, whose metadata is then watched; with
	// slices, that of the endpoint.
	Zonal bool
	// MultiCluster fills Tries.Imports with multi-cluster services (KEP-1645): each ServiceImport
	// of type Headless is a service, and the EndpointSlices that are labelled with its name and
	// with the cluster that they come from have its endpoints. Nothing is requested without it.
	//
	// Namespaces and NamespaceLabels restrict the imports as they do Services. Labels selects
	// ServiceImports by their own labels, but none of their slices: nothing says that these have
	// the labels of the import. Addressed and PodNames count as for slices of Services. Slices
	// and Zonal change nothing.
	MultiCluster bool
	// Snapshot is the file of the snapshot, or empty for none. It is written every
	// SnapshotInterval if an object changed, and at the end. At a start without an API
	// server, the objects come from it until the lists arrive. Ignored with Manifests.
	Snapshot         string
	SnapshotInterval time.Duration
	// Successor means that an earlier informer still serves. A successor never reads the
	// snapshot, which is older than the data of that informer, and writes none before
	// TakeOver.
	Successor bool
	// PodNames makes the pod's name its host label if it has no hostname.
	PodNames bool
	// Transport, if not nil, wraps the transport of the client.
	Transport func(http.RoundTripper) http.RoundTripper
	// Log receives faults that no caller can get as an error.
	Log   logr.Logger
	Hooks Hooks
}

// Hooks are callbacks for metrics. The writer or a source calls them; they must not block.
// None may be nil.
type Hooks struct {
	// Received is called for each event, list and bookmark of a watch, with the namespace
	// of the watch, or "" if it covers all. It is not called for manifests.
	Received func(kind object.Kind, namespace string)
	// Synced is called once, when the tries hold what Informer.Synced waits for. Its counts are
	// the sums of both tries, so an import counts as a service.
	Synced func(stats records.Stats)
	// Published is called after each publication with the number of services that changed and
	// the sums of the counts of both tries. Delays are the times since the receipt of each watch event in
	// it; lists are left out. The callee must not keep the slice.
	Published func(services int, stats records.Stats, delays []time.Duration)
	// Rejected is called when a manifest changed and can't be read.
	Rejected func(error)
	// BadManifests is called when the number of manifests changes that can't be read,
	// wholly or in part.
	BadManifests func(int)
	// Restored is called with true when the trie is filled from the snapshot, and with false
	// once every list has arrived.
	Restored func(bool)
	// Failing is called with true when a list or watch fails, and with false when it works
	// again. Each kind has a list and watch for each namespace, so it is called several
	// times in a row.
	Failing func(object.Kind, bool)
	// Broken is called when the number of objects of a kind that can't be decoded changes.
	Broken func(object.Kind, int)
	// Wrote is called after each attempt to write the snapshot, with its size in bytes.
	Wrote func(size int64, err error)
	// Due is called with the time by which the snapshot must be written: its interval after
	// the first change that it lacks. It is called with the zero time when it lacks none.
	Due func(time.Time)
}

// Kind is a kind of object.
type Kind = object.Kind

// The kinds that are watched.
const (
	Services       = object.Services
	Pods           = object.Pods
	EndpointSlices = object.EndpointSlices
	Namespaces     = object.Namespaces
	Nodes          = object.Nodes
	ServiceImports = object.ServiceImports
	ImportedSlices = object.ImportedSlices
)
