package headless

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/informer"
	"github.com/headless-dns/headless/records"
)

// sourceMetrics is what one source adds to the metrics. A gauge is the sum over all sources, so
// a source that stops withdraws its part.
type sourceMetrics struct {
	// One goroutine at a time uses each of these.
	stats        records.Stats // of the last publication
	fromSnapshot bool          // the answers are those of a snapshot
	badManifests int
	undecodable  *gaugePart

	// Goroutines share these.
	failing  *gaugePart
	progress *progress
}

func newSourceMetrics() *sourceMetrics {
	return &sourceMetrics{
		failing:     newGaugePart(failingWatches),
		undecodable: newGaugePart(brokenObjects),
		progress:    progressMetrics.add(),
	}
}

// hooks returns the informer's hooks. They call published after each publication.
func (m *sourceMetrics) hooks(published func()) informer.Hooks {
	return informer.Hooks{
		Received: m.progress.received,
		Published: func(services int, s records.Stats, delays []time.Duration) {
			publicationsTotal.Add(float64(services))
			for _, d := range delays {
				publicationDuration.Observe(d.Seconds())
			}
			m.setStats(s)
			published()
		},
		Rejected:     func(error) { manifestErrorsTotal.Inc() },
		BadManifests: m.setBadManifests,

		Failing: func(k informer.Kind, fails bool) {
			if fails {
				m.failing.add(k, 1)
			} else {
				m.failing.add(k, -1)
			}
		},
		Broken: m.undecodable.set,
		Wrote: func(size int64, err error) {
			if err != nil {
				snapshotErrorsTotal.Inc()
				return
			}
			m.progress.wroteSnapshot(size)
		},
		Due: m.progress.setSnapshotDue,
	}
}

// withdraw subtracts the source from the gauges, and ends its progress metrics.
func (m *sourceMetrics) withdraw() {
	m.setStats(records.Stats{})
	m.setFromSnapshot(false)
	m.setBadManifests(0)
	m.failing.withdraw()
	m.undecodable.withdraw()
	progressMetrics.remove(m.progress)
}

func (m *sourceMetrics) setStats(s records.Stats) {
	for kind, change := range map[string]int{
		"service": s.Services - m.stats.Services,
		"host":    s.Hosts - m.stats.Hosts,
		"port":    s.Ports - m.stats.Ports,
		"reverse": s.Addresses - m.stats.Addresses,
	} {
		namesByKind.WithLabelValues(kind).Add(float64(change))
	}
	sharedHosts.Add(float64(s.Shared - m.stats.Shared))
	for reason := range s.Endpoints {
		endpointsByState.WithLabelValues(endpointStates[reason]).Add(float64(s.Endpoints[reason] - m.stats.Endpoints[reason]))
	}
	m.stats = s
}

func (m *sourceMetrics) setFromSnapshot(is bool) {
	switch {
	case is && !m.fromSnapshot:
		snapshotServing.Inc()
	case !is && m.fromSnapshot:
		snapshotServing.Dec()
	}
	m.fromSnapshot = is
}

func (m *sourceMetrics) setBadManifests(n int) {
	badManifests.Add(float64(n - m.badManifests))
	m.badManifests = n
}

// gaugePart is what one source adds to a gauge, by kind of object.
type gaugePart struct {
	gauge *prometheus.GaugeVec
	mu    sync.Mutex
	kinds map[informer.Kind]int
}

// newGaugePart returns an empty part, and makes the gauge 0 rather than absent.
func newGaugePart(g *prometheus.GaugeVec) *gaugePart {
	for _, k := range []informer.Kind{informer.Services, informer.Pods, informer.EndpointSlices, informer.Namespaces, informer.Nodes,
		informer.ServiceImports, informer.ImportedSlices} {
		g.WithLabelValues(k.String())
	}
	return &gaugePart{gauge: g, kinds: make(map[informer.Kind]int)}
}

func (p *gaugePart) add(k informer.Kind, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[k] += n
	p.gauge.WithLabelValues(k.String()).Add(float64(n))
}

// set replaces the number of a kind. One goroutine at a time may call it.
func (p *gaugePart) set(k informer.Kind, n int) {
	p.mu.Lock()
	old := p.kinds[k]
	p.mu.Unlock()
	p.add(k, n-old)
}

// withdraw subtracts the part from the gauge.
func (p *gaugePart) withdraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, n := range p.kinds {
		p.gauge.WithLabelValues(k.String()).Sub(float64(n))
	}
	clear(p.kinds)
}
