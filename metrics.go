package headless

import (
	"net/http"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/headless-dns/headless/informer"
	"github.com/headless-dns/headless/records"
)

var (
	answersTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "answers_total",
		Help:      "Counter of queries for names of headless services, by outcome.",
	}, []string{"outcome"})

	names = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "names",
		Help:      "Number of names held, by kind.",
	}, []string{"kind"})

	sharedHosts = promauto.NewGauge(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "shared_hosts",
		Help:      "Number of names of hosts that several endpoints of one service share.",
	})

	endpoints = promauto.NewGaugeVec(prometheus.GaugeOpts{
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

// outcomes are the counters of answers_total, looked up once.
var outcomes = struct {
	answer, truncated, nodata, nxdomain, passed, unsynced prometheus.Counter
}{
	answer:    answersTotal.WithLabelValues("answer"),
	truncated: answersTotal.WithLabelValues("truncated"),
	nodata:    answersTotal.WithLabelValues("nodata"),
	nxdomain:  answersTotal.WithLabelValues("nxdomain"),
	passed:    answersTotal.WithLabelValues("fallthrough"),
	unsynced:  answersTotal.WithLabelValues("unsynced"),
}

// hooks returns the informer's hooks, and a function that takes what they have
// counted out of the gauges: with several sources, a gauge is the sum of their
// tries. Changed is called after each publication.
func hooks(changed func()) (informer.Hooks, func()) {
	var last records.Stats
	count := func(s records.Stats) {
		for kind, change := range map[string]int{
			"service": s.Services - last.Services,
			"host":    s.Hosts - last.Hosts,
			"port":    s.Ports - last.Ports,
			"reverse": s.Addresses - last.Addresses,
		} {
			names.WithLabelValues(kind).Add(float64(change))
		}
		sharedHosts.Add(float64(s.Shared - last.Shared))
		for reason := range s.Endpoints {
			endpoints.WithLabelValues(states[reason]).Add(float64(s.Endpoints[reason] - last.Endpoints[reason]))
		}
		last = s
	}
	serving := false // a snapshot
	restored := func(is bool) {
		switch {
		case is && !serving:
			snapshotServing.Inc()
		case !is && serving:
			snapshotServing.Dec()
		}
		serving = is
	}
	bad := 0
	countBad := func(n int) {
		badManifests.Add(float64(n - bad))
		bad = n
	}
	failing, broken, seen := newShare(failingWatches), newShare(brokenObjects), living.add()
	return informer.Hooks{
			Received: seen.received,
			Published: func(services int, s records.Stats, delays []time.Duration) {
				publicationsTotal.Add(float64(services))
				for _, d := range delays {
					publicationDuration.Observe(d.Seconds())
				}
				count(s)
				changed()
			},
			Rejected:     func(error) { manifestErrorsTotal.Inc() },
			BadManifests: countBad,

			Restored: restored,
			Failing: func(k informer.Kind, is bool) {
				if is {
					failing.add(k, 1)
				} else {
					failing.add(k, -1)
				}
			},
			Broken: broken.set,
			Wrote: func(size int64, err error) {
				if err != nil {
					snapshotErrorsTotal.Inc()
					return
				}
				seen.wrote(size)
			},
			Due: seen.waits,
		}, func() {
			count(records.Stats{})
			restored(false)
			countBad(0)
			failing.forget()
			broken.forget()
			living.remove(seen)
		}
}

// share is what one informer adds to a gauge. It may be used by several at once.
type share struct {
	gauge *prometheus.GaugeVec
	mu    sync.Mutex
	kinds map[informer.Kind]int
}

func newShare(g *prometheus.GaugeVec) *share {
	for _, k := range []informer.Kind{informer.Services, informer.Pods, informer.EndpointSlices, informer.Namespaces} {
		g.WithLabelValues(k.String()) // it is there, and zero, where nothing is wrong
	}
	return &share{gauge: g, kinds: make(map[informer.Kind]int)}
}

func (s *share) add(k informer.Kind, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds[k] += n
	s.gauge.WithLabelValues(k.String()).Add(float64(n))
}

// set is for the writer alone.
func (s *share) set(k informer.Kind, n int) {
	s.mu.Lock()
	was := s.kinds[k]
	s.mu.Unlock()
	s.add(k, n-was)
}

func (s *share) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, n := range s.kinds {
		s.gauge.WithLabelValues(k.String()).Sub(float64(n))
	}
	clear(s.kinds)
}

// states are the values of the label state.
var states = [...]string{
	records.Ready:       "ready",
	records.Terminating: "terminating",
	records.NoAddress:   "no_address",
	records.WrongFamily: "wrong_family",
	records.NotReady:    "not_ready",
}

// instrument counts the requests to the API server. Client-go has metrics of its
// own, but only one user of a process can register for them, and the kubernetes
// plugin does.
func instrument(next http.RoundTripper) http.RoundTripper {
	return promhttp.InstrumentRoundTripperCounter(requestsTotal,
		promhttp.InstrumentRoundTripperDuration(requestDuration, next))
}
