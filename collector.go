package headless

import (
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/informer"
)

// A progress is what one source has received and written, and when.
type progress struct {
	mu       sync.Mutex
	events   map[watch]time.Time // the last list, event or bookmark
	snapshot struct {
		size    int64     // bytes
		written time.Time // zero before the first
		kept    bool      // the source has a snapshot file
		due     time.Time // when changes must be written; zero if there are none
	}
}

// watch identifies a watch by what it covers.
type watch struct {
	kind      string
	namespace string
}

// received records a list, an event or a bookmark.
func (p *progress) received(k informer.Kind, namespace string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events[watch{k.String(), namespace}] = now
}

// wroteSnapshot records that the snapshot file was written, with its size in bytes.
func (p *progress) wroteSnapshot(size int64) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot.size, p.snapshot.written = size, now
}

// setSnapshotDue records when the snapshot file must be written next. It is zero if there are
// no changes.
func (p *progress) setSnapshotDue(due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot.kept, p.snapshot.due = true, due
}

var (
	lastEventDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "last_event_timestamp_seconds"),
		"Time of the last event, list or bookmark of the watch that has been silent for longest, by kind of object.", []string{"kind"}, nil)
	snapshotSizeDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "snapshot_size_bytes"),
		"Size of the last snapshot that was written.", nil, nil)
	snapshotTimeDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "snapshot_timestamp_seconds"),
		"Time when the last snapshot was written; with several sources, the oldest time.", nil, nil)
	snapshotOverdueDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "snapshot_overdue_seconds"),
		"How long ago a snapshot with changes should have been written; with several sources, the longest time.", nil, nil)
)

// progressCollector is the prometheus.Collector of the progress of all sources. It computes its
// metrics at each scrape, so that a stopped source leaves no metric behind and no source hides
// another.
type progressCollector struct {
	mu      sync.Mutex
	sources map[*progress]struct{}
}

var progressMetrics = progressCollector{sources: make(map[*progress]struct{})}

func init() { prometheus.MustRegister(&progressMetrics) }

func (c *progressCollector) add() *progress {
	p := &progress{events: make(map[watch]time.Time)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sources[p] = struct{}{}
	return p
}

func (c *progressCollector) remove(p *progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sources, p)
}

// Describe implements prometheus.Collector.
func (c *progressCollector) Describe(out chan<- *prometheus.Desc) {
	out <- lastEventDesc
	out <- snapshotSizeDesc
	out <- snapshotTimeDesc
	out <- snapshotOverdueDesc
}

// Collect implements prometheus.Collector.
func (c *progressCollector) Collect(out chan<- prometheus.Metric) {
	oldestEvent := make(map[string]time.Time) // by kind
	var size int64
	var oldestSnapshot time.Time
	var overdue time.Duration
	kept := false
	c.mu.Lock()
	for p := range c.sources {
		p.mu.Lock()
		for w, t := range p.events {
			if oldest, ok := oldestEvent[w.kind]; !ok || t.Before(oldest) {
				oldestEvent[w.kind] = t
			}
		}
		if t := p.snapshot.written; !t.IsZero() {
			size += p.snapshot.size
			if oldestSnapshot.IsZero() || t.Before(oldestSnapshot) {
				oldestSnapshot = t
			}
		}
		kept = kept || p.snapshot.kept
		if !p.snapshot.due.IsZero() {
			overdue = max(overdue, time.Since(p.snapshot.due))
		}
		p.mu.Unlock()
	}
	c.mu.Unlock()
	for kind, t := range oldestEvent {
		out <- prometheus.MustNewConstMetric(lastEventDesc, prometheus.GaugeValue, unixSeconds(t), kind)
	}
	if !oldestSnapshot.IsZero() {
		out <- prometheus.MustNewConstMetric(snapshotSizeDesc, prometheus.GaugeValue, float64(size))
		out <- prometheus.MustNewConstMetric(snapshotTimeDesc, prometheus.GaugeValue, unixSeconds(oldestSnapshot))
	}
	if kept {
		out <- prometheus.MustNewConstMetric(snapshotOverdueDesc, prometheus.GaugeValue, overdue.Seconds())
	}
}

// unixSeconds returns the Unix time of t with its fraction.
func unixSeconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
