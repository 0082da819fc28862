package headless

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headless-dns/headless/informer"
)

// testHooks returns the hooks of a source, and a function that withdraws its metrics.
func testHooks() (hooks informer.Hooks, withdraw func()) {
	m := newSourceMetrics()
	return m.hooks(func() {}), m.withdraw
}

// TestBadManifests checks that the gauge is the sum of two sources, until one of them stops.
func TestBadManifests(t *testing.T) {
	start := testutil.ToFloat64(badManifests)
	check := func(when string, want float64) {
		t.Helper()
		if got := testutil.ToFloat64(badManifests) - start; got != want {
			t.Errorf("%s: got %v bad manifests, want %v", when, got, want)
		}
	}
	a, withdrawA := testHooks()
	b, withdrawB := testHooks()
	a.BadManifests(2)
	b.BadManifests(1)
	check("a and b", 3)
	a.BadManifests(1)
	check("one of a is good again", 2)
	withdrawA()
	check("a has stopped", 1)
	b.BadManifests(0)
	withdrawB()
	check("a and b have stopped", 0)
}

// TestGaugeParts checks that the gauges by kind are the sums of two sources, until one of them
// stops.
func TestGaugeParts(t *testing.T) {
	for name, gauge := range map[string]*prometheus.GaugeVec{"failing_watches": failingWatches, "broken_objects": brokenObjects} {
		value := func() float64 { return testutil.ToFloat64(gauge.WithLabelValues("pods")) }
		start := value()
		check := func(when string, want float64) {
			t.Helper()
			if got := value() - start; got != want {
				t.Errorf("%s, %s: got %v, want %v", name, when, got, want)
			}
		}
		a, withdrawA := testHooks()
		b, withdrawB := testHooks()
		defer withdrawB()
		for _, h := range []informer.Hooks{a, a, b} { // a has two namespaces
			h.Failing(informer.Pods, true)
		}
		a.Broken(informer.Pods, 1)
		a.Broken(informer.Pods, 2)
		b.Broken(informer.Pods, 1)
		check("a and b", 3)
		b.Failing(informer.Pods, false)
		b.Broken(informer.Pods, 0)
		check("nothing of b fails", 2)
		withdrawA()
		check("a has stopped", 0)
	}
}
