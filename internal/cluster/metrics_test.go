package cluster

import (
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serveMetrics serves a text as the metrics of a server, and returns the server's address.
func serveMetrics(t *testing.T, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestMetrics(t *testing.T) {
	addr := serveMetrics(t, `# HELP a Text.
# TYPE a gauge
a 1
b{zone="x y",view=""} 2.5e+06
b_bucket{le="+Inf"} +Inf
`)
	got, err := Metrics(addr)
	want := map[string]float64{"a": 1, `b{zone="x y",view=""}`: 2.5e6, `b_bucket{le="+Inf"}`: math.Inf(1)}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if n, err := Metric(addr, "a"); err != nil || n != 1 {
		t.Errorf("a: got %v, %v, want 1", n, err)
	}
	if n, err := Metric(addr, "b"); err == nil || !strings.Contains(err.Error(), "no metric b") {
		t.Errorf("b: got %v, %v, want an error", n, err)
	}
	for _, text := range []string{"a\n", "a b\n", "a 1\n\n"} {
		if got, err := Metrics(serveMetrics(t, text)); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: got %v, %v, want an error", text, got, err)
		}
	}
}

func TestFailingWatches(t *testing.T) {
	const pods, services = `coredns_headless_failing_watches{kind="pods"} `, `coredns_headless_failing_watches{kind="services"} `
	for text, want := range map[string]int{pods + "0\n": 0, pods + "0\n" + services + "2\n": 1, pods + "1\n" + services + "1\n": 2} {
		if n, err := FailingWatches(serveMetrics(t, text)); err != nil || n != want {
			t.Errorf("%q: got %d, %v, want %d", text, n, err, want)
		}
	}
	if n, err := FailingWatches(serveMetrics(t, "coredns_headless_failing_watches_total 0\n")); err == nil {
		t.Errorf("without the metric: got %d, want an error", n)
	}
}
