package headless

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headless-dns/headless/records"
)

// TestMetrics checks how the metrics change. Their values at the start may not be 0, as all
// server blocks of a process share them.
func TestMetrics(t *testing.T) {
	values := func() map[string]float64 {
		out := map[string]float64{
			"publications":    testutil.ToFloat64(publicationsTotal),
			"shared hosts":    testutil.ToFloat64(sharedHosts),
			"manifest errors": testutil.ToFloat64(manifestErrorsTotal),
		}
		for _, kind := range []string{"service", "host", "port", "reverse"} {
			out["names "+kind] = testutil.ToFloat64(namesByKind.WithLabelValues(kind))
		}
		for _, state := range endpointStates {
			out["endpoints "+state] = testutil.ToFloat64(endpointsByState.WithLabelValues(state))
		}
		for _, outcome := range []string{"answer", "truncated", "nodata", "nxdomain", "fallthrough", "unsynced", "explanation"} {
			out["answers "+outcome] = testutil.ToFloat64(answersTotal.WithLabelValues(outcome))
		}
		return out
	}
	start := values()
	check := func(when string, want map[string]float64) {
		t.Helper()
		for name, value := range values() {
			if got := value - start[name]; got != want[name] {
				t.Errorf("%s: %s grew by %v, want %v", when, name, got, want[name])
			}
		}
	}

	h := newTestHeadless(t, overlayStanza)
	query := func(name string, qtype uint16) {
		ask(t, h, new(dns.Msg).SetQuestion(name, qtype), &test.ResponseWriter{})
	}
	query("web-0.nginx.default.svc.cluster.local.", dns.TypeA) // unsynced
	h.source.start()
	<-h.source.informer.Synced()
	query("web-0.nginx.default.svc.cluster.local.", dns.TypeA)
	query("web-0.nginx.default.svc.cluster.local.", dns.TypeMX)
	query("web-9.nginx.default.svc.cluster.local.", dns.TypeA)
	query("example.org.", dns.TypeA) // not owned, not counted
	h.Fall.SetZonesFromArgs(nil)
	query("web-9.nginx.default.svc.cluster.local.", dns.TypeA)
	serving := map[string]float64{
		// Services nginx, dual, starting and by-hand; hosts web-0, web-1, dual-0, and two named
		// after their addresses; ports web, dns and dns-tcp; addresses 10.244.1.5, 10.244.1.6,
		// two of dual-0, and 192.0.2.9.
		"publications": 4, "names service": 4, "names host": 5, "names port": 3, "names reverse": 5,
		"endpoints ready": 6, "endpoints not_ready": 1,
		"answers unsynced": 1, "answers answer": 1, "answers nodata": 1, "answers nxdomain": 1, "answers fallthrough": 1,
	}
	check("serving", serving)
	if got := gather(t, "last_event_timestamp_seconds"); len(got) > 0 {
		t.Errorf("no watch: got last events at %v, want no metric", got)
	}

	h.stop() // its source withdraws
	for _, name := range []string{"names service", "names host", "names port", "names reverse", "endpoints ready", "endpoints not_ready"} {
		delete(serving, name)
	}
	check("stopped", serving)
}

// series returns the plugin's time series, sorted.
func series(t *testing.T) []string {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "coredns_headless_") {
			continue
		}
		for _, m := range f.GetMetric() {
			out = append(out, fmt.Sprint(f.GetName(), m.GetLabel()))
		}
	}
	slices.Sort(out)
	return out
}

// TestCardinality checks that neither queries nor objects add time series.
func TestCardinality(t *testing.T) {
	handlers := []*Headless{
		startTestHeadless(t, overlayStanza),
		startTestHeadless(t, "headless cluster.local in-addr.arpa {\nmanifests testdata/handler.yaml\nauthoritative\n}"),
		startTestHeadless(t, "headless cluster.local {\nmanifests testdata/handler.yaml\nfallthrough\n}"),
		newTestHeadless(t, "headless cluster.local {\nmanifests testdata/handler.yaml\nnamespaces default\n}"), // not started
	}
	if handlers[3].Ready() {
		t.Fatal("the last handler is ready before its start")
	}
	want := series(t)
	handlers = append(handlers, startTestHeadless(t, manyPods(t, 500)))
	rng := rand.New(rand.NewPCG(1, 2))
	parents := []string{"", "web-0.", "nginx.default.svc.cluster.local.", "_tcp.nginx.default.svc.cluster.local.", "default.svc.cluster.local.",
		"svc.cluster.local.", "big.default.svc.cluster.local.", "cluster.local.", "244.10.in-addr.arpa.", "example.org."}
	label := func() string {
		b := make([]byte, 1+rng.IntN(20))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		wire := append(append([]byte{byte(len(b))}, b...), 0)
		name, _, err := dns.UnpackDomainName(wire, 0)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	for range 5000 {
		name := parents[rng.IntN(len(parents))]
		if name == "" || rng.IntN(3) > 0 {
			name = label() + name
		}
		r := new(dns.Msg).SetQuestion(name, uint16(rng.Uint32()))
		if rng.IntN(2) == 0 {
			r.Question[0].Qtype = records.Types[rng.IntN(len(records.Types))]
		}
		if rng.IntN(4) == 0 {
			r.Question[0].Qclass = uint16(rng.Uint32())
			r.Opcode = rng.IntN(16)
		}
		if rng.IntN(2) == 0 {
			r.SetEdns0(uint16(rng.Uint32()), true)
		}
		for _, h := range handlers {
			ask(t, h, r.Copy(), &test.ResponseWriter{TCP: rng.IntN(2) == 0})
		}
	}
	if got := series(t); !slices.Equal(got, want) {
		t.Errorf("got series %q, want those of the start %q", got, want)
	}
}

// TestInstrument checks that the metrics count requests to the API server.
func TestInstrument(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	before := testutil.ToFloat64(requestsTotal.WithLabelValues("404", "get"))
	client := http.Client{Transport: instrument(http.DefaultTransport)}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := testutil.ToFloat64(requestsTotal.WithLabelValues("404", "get")) - before; got != 1 {
		t.Errorf("got %v requests counted, want 1", got)
	}
}
