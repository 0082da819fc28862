package headless

import (
	"net/http"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/headless-dns/headless/records"
)

var (
	answersTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "answers_total",
		Help:      "Counter of queries for owned names, by outcome.",
	}, []string{"outcome"})

	fastAnswersTotal = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "fastpath_answers_total",
		Help:      "Counter of the answers that the fast path gave. They are also in answers_total.",
	})

	fastSocketsOpen = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "fastpath_sockets",
		Help:      "Number of addresses on which the fast path answers.",
	})

	namesByKind = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "names",
		Help:      "Number of names in the trie, by kind.",
	}, []string{"kind"})

	sharedHosts = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "shared_hosts",
		Help:      "Number of host names that several endpoints of one service share.",
	})

	endpointsByState = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "endpoints",
		Help:      "Number of endpoints of headless services, by state: ready, or why they are withheld.",
	}, []string{"state"})

	publicationsTotal = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "publications_total",
		Help:      "Counter of publications of a changed service.",
	})

	publicationDuration = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace:                   plugin.Namespace,
		Subsystem:                   pluginName,
		Name:                        "publication_duration_seconds",
		Help:                        "Time from the receipt of a watch event to the publication of what it changed.",
		Buckets:                     prometheus.ExponentialBuckets(10e-6, 4, 10), // 10 µs to 2.6 s
		NativeHistogramBucketFactor: plugin.NativeHistogramBucketFactor,
	})

	failingWatches = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "failing_watches",
		Help:      "Number of watches that the API server does not serve at present, by kind of object.",
	}, []string{"kind"})

	brokenObjects = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "broken_objects",
		Help:      "Number of objects that can't be decoded at present, by kind.",
	}, []string{"kind"})

	manifestErrorsTotal = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "manifest_errors_total",
		Help:      "Counter of changed manifests that could not be read.",
	})

	badManifests = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "bad_manifests",
		Help:      "Number of manifests that can't be read at present, wholly or in part.",
	})

	snapshotServing = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "snapshot_serving",
		Help:      "Number of sources whose answers are those of a snapshot, as the API server was not reached yet.",
	})

	snapshotErrorsTotal = promauto.NewCounter(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "snapshot_errors_total",
		Help:      "Counter of snapshots that could not be written.",
	})

	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "rest_client_requests_total",
		Help:      "Counter of requests to the API server, by status code and method.",
	}, []string{"code", "method"})

	requestDuration = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace:                   plugin.Namespace,
		Subsystem:                   pluginName,
		Name:                        "rest_client_request_duration_seconds",
		Help:                        "Time to the response header of requests to the API server, by status code and method.",
		Buckets:                     plugin.TimeBuckets,
		NativeHistogramBucketFactor: plugin.NativeHistogramBucketFactor,
	}, []string{"code", "method"})
)

// outcome is a value of the label outcome of answers_total, with its counter.
type outcome struct {
	prometheus.Counter
	name metadata.Func
}

func newOutcome(name string) *outcome {
	return &outcome{answersTotal.WithLabelValues(name), func() string { return name }}
}

// outcomes are looked up once.
var outcomes = struct {
	answer, truncated, nodata, nxdomain, fallthroughs, unsynced, explanation *outcome
}{
	answer:       newOutcome("answer"),
	truncated:    newOutcome("truncated"),
	nodata:       newOutcome("nodata"),
	nxdomain:     newOutcome("nxdomain"),
	fallthroughs: newOutcome("fallthrough"),
	unsynced:     newOutcome("unsynced"),
	explanation:  newOutcome("explanation"),
}

// endpointStates are the values of the label state of endpoints.
var endpointStates = [...]string{
	records.Ready:       "ready",
	records.Terminating: "terminating",
	records.NoAddress:   "no_address",
	records.NotReady:    "not_ready",
	records.WrongFamily: "wrong_family",
}

// instrument returns a transport that counts and times the requests to the API server.
// Client-go has its own metrics, but only one part of a process can register for them, and
// the kubernetes plugin does.
func instrument(next http.RoundTripper) http.RoundTripper {
	return promhttp.InstrumentRoundTripperCounter(requestsTotal,
		promhttp.InstrumentRoundTripperDuration(requestDuration, next))
}
