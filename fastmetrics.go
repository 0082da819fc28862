package headless

import (
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/records"
)

// fastMetrics moves the metrics of the prometheus plugin for the replies of the fast path, as that
// plugin does for those of the chain. Each series is looked up at its first use, so that no series
// appears that the chain would not have made.
type fastMetrics struct {
	server string // the label "server": the address of the server
	// behind is the label "plugin" of responses_total. CoreDNS sets it to the plugin that comes
	// directly after prometheus, whichever answers.
	behind string
	zones  records.Zones // of the label "zone"
	series []fastSeries  // of each zone, and of the label "." for other names
}

// fastSeries are the series of a zone. A nil series was not used yet.
type fastSeries struct {
	requests                            [2][4]prometheus.Counter // by the client's family and by type
	do                                  prometheus.Counter
	rcodes                              [dns.RcodeNameError + 1]prometheus.Counter
	duration, requestSize, responseSize prometheus.Observer
}

// newFastMetrics returns the metrics of a server block, or nil if it has no prometheus plugin.
func newFastMetrics(server string, chain []plugin.Handler) *fastMetrics {
	for i, p := range chain {
		// The interface of *metrics.Metrics, whose package brings in a program's flags.
		if z, ok := p.(interface{ ZoneNames() []string }); ok && p.Name() == "prometheus" && i+1 < len(chain) {
			zones := records.NewZones(z.ZoneNames())
			return &fastMetrics{server: server, behind: chain[i+1].Name(), zones: zones, series: make([]fastSeries, len(zones)+1)}
		}
	}
	return nil
}

// count counts a reply to a query.
func (m *fastMetrics) count(q *fastQuery, r *fastReply, received time.Time) {
	zone, s := ".", &m.series[len(m.zones)]
	for i := range m.zones {
		if m.zones[i:i+1].MatchName(&q.name) != nil {
			zone, s = m.zones[i].Name, &m.series[i]
			break
		}
	}
	const view, proto = "", "udp"
	if q.do {
		if s.do == nil {
			s.do = vars.RequestDo.WithLabelValues(m.server, zone, view)
		}
		s.do.Inc()
	}
	m.requests(s, zone, q).Inc()
	if s.duration == nil {
		s.duration = vars.RequestDuration.WithLabelValues(m.server, zone, view)
		s.requestSize = vars.RequestSize.WithLabelValues(m.server, zone, view, proto)
		s.responseSize = vars.ResponseSize.WithLabelValues(m.server, zone, view, proto)
	}
	s.duration.Observe(time.Since(received).Seconds())
	s.responseSize.Observe(float64(r.counted()))
	s.requestSize.Observe(float64(len(q.message)))
	rcode := &s.rcodes[r.rcode]
	if *rcode == nil {
		*rcode = vars.ResponseRcode.WithLabelValues(m.server, zone, view, dns.RcodeToString[r.rcode], m.behind)
	}
	(*rcode).Inc()
}

// requests returns the series of requests_total.
func (m *fastMetrics) requests(s *fastSeries, zone string, q *fastQuery) prometheus.Counter {
	family, label := 0, "1"
	if q.v6 {
		family, label = 1, "2"
	}
	rrtype := 0
	switch q.rrtype {
	case dns.TypeAAAA:
		rrtype = 1
	case dns.TypeSRV:
		rrtype = 2
	case dns.TypePTR:
		rrtype = 3
	}
	c := &s.requests[family][rrtype]
	if *c == nil {
		*c = vars.RequestCount.WithLabelValues(m.server, zone, "", "udp", label, dns.TypeToString[q.rrtype])
	}
	return *c
}
