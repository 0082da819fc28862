package headless

import (
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/informer"
)

// A sightings is what one source has seen and written, and when. Its metrics are
// collected from the sources that live, so that nothing stays of one that has ended
// and no source hides another.
type sightings struct {
	mu       sync.Mutex
	events   map[origin]time.Time // the last list, event or bookmark of each watch
	snapshot struct {
		size    int64 // bytes
		written time.Time
		kept    bool
		due     time.Time // when changes have to be written; zero without any
	}
}

// origin is what one watch covers.
type origin struct {
	kind      string
	namespace string
}

// received notes a list, an event or a bookmark.
func (s *sightings) received(k informer.Kind, namespace string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[origin{k.String(), namespace}] = now
}

// wrote notes a snapshot of a size in bytes.
func (s *sightings) wrote(size int64) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.size, s.snapshot.written = size, now
}

// waits notes by which time the next snapshot has to be written.
func (s *sightings) waits(due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.kept, s.snapshot.due = true, due
}

var (
	lastEventDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "last_event_timestamp_seconds"),
		"Time of the last event, list or bookmark of the watch that is silent for longest, by kind of object.", []string{"kind"}, nil)
	snapshotSizeDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "snapshot_size_bytes"),
		"Size of the last snapshot that was written.", nil, nil)
	snapshotTimeDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "snapshot_timestamp_seconds"),
		"Time when the last snapshot was written; with several sources, that of the oldest.", nil, nil)
	snapshotOverdueDesc = prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, pluginName, "snapshot_overdue_seconds"),
		"How long ago a snapshot should have been written, as there are changes; with several sources, of the one that is most late.", nil, nil)
)

// collector is the prometheus.Collector of the sightings of all sources that live.
type collector struct {
	mu  sync.Mutex
	all map[*sightings]struct{}
}

var living = collector{all: make(map[*sightings]struct{})}

func init() { prometheus.MustRegister(&living) }

func (c *collector) add() *sightings {
	s := &sightings{events: make(map[origin]time.Time)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[s] = struct{}{}
	return s
}

func (c *collector) remove(s *sightings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, s)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- lastEventDesc
	out <- snapshotSizeDesc
	out <- snapshotTimeDesc
	out <- snapshotOverdueDesc
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	events := make(map[string]time.Time) // by kind
	var size int64
	var written time.Time
	var overdue time.Duration
	kept := false
	c.mu.Lock()
	for s := range c.all {
		s.mu.Lock()
		for o, t := range s.events {
			if first, ok := events[o.kind]; !ok || t.Before(first) {
				events[o.kind] = t
			}
		}
		if t := s.snapshot.written; !t.IsZero() {
			size += s.snapshot.size
			if written.IsZero() || t.Before(written) {
				written = t
			}
		}
		kept = kept || s.snapshot.kept
		if !s.snapshot.due.IsZero() {
			overdue = max(overdue, time.Since(s.snapshot.due))
		}
		s.mu.Unlock()
	}
	c.mu.Unlock()
	for k, t := range events {
		out <- prometheus.MustNewConstMetric(lastEventDesc, prometheus.GaugeValue, seconds(t), k)
	}
	if !written.IsZero() {
		out <- prometheus.MustNewConstMetric(snapshotSizeDesc, prometheus.GaugeValue, float64(size))
		out <- prometheus.MustNewConstMetric(snapshotTimeDesc, prometheus.GaugeValue, seconds(written))
	}
	if kept {
		out <- prometheus.MustNewConstMetric(snapshotOverdueDesc, prometheus.GaugeValue, overdue.Seconds())
	}
}

// seconds is the Unix time of t with its fraction.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }
