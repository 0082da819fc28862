package headless

import (
	"context"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkNegative compares a negative answer that says why with one that does not, and with an
// answer.
func BenchmarkNegative(b *testing.B) {
	h := startTestHeadless(b, manyPods(b, 500))
	ctx, w := context.Background(), &freeWriter{}
	for _, tc := range []struct {
		name, qname string
		qtype       uint16
		explain     bool
	}{
		{"answer", "big-7.big.default.svc.cluster.local.", dns.TypeA, true},
		{"missing", "big-x.big.default.svc.cluster.local.", dns.TypeA, false},
		{"missing, explained", "big-x.big.default.svc.cluster.local.", dns.TypeA, true},
		{"no data", "big-7.big.default.svc.cluster.local.", dns.TypeAAAA, false},
		{"no data, explained", "big-7.big.default.svc.cluster.local.", dns.TypeAAAA, true},
	} {
		b.Run(tc.name, func(b *testing.B) {
			h.explain = tc.explain
			r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype)
			r.SetEdns0(1232, false)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = h.ServeDNS(ctx, w, r)
			}
		})
	}
}
