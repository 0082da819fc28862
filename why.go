package headless

import (
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/headless-dns/headless/informer"
	"github.com/headless-dns/headless/records"
)

// whyLabel is the label before a name whose TXT records explain the name. No name of a service
// has it: names of ports have a protocol behind them.
const whyLabel = "_why"

// An explanation reads all pods of a namespace, so the plugin limits how many it gives.
const (
	whyPerSecond = 10
	whyBurst     = 20
)

func newWhyLimiter() *rate.Limiter { return rate.NewLimiter(whyPerSecond, whyBurst) }

// isWhy reports whether a name in the zone asks for an explanation.
func isWhy(name *records.Name, zone *records.Zone) bool {
	n := name.Len()
	return n > zone.Labels() && string(name.Label(n-1)) == whyLabel
}

// answerWhy answers with the explanation of the name behind [whyLabel], a TXT record a reason. It
// does so before the first sync, too.
func (h *Headless) answerWhy(w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	q := &r.Question[0]
	if q.Qtype != dns.TypeTXT && q.Qtype != dns.TypeANY {
		return h.noData(w, r, l)
	}
	reasons := []string{"the server explains only a few names a second; ask again in a second"}
	if h.whyLimiter.Allow() {
		l.name.Fold(q.Name[len(whyLabel)+1:])
		reasons = h.reasons(l)
	}
	m := newReply(r)
	for _, reason := range reasons {
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, // the TTL is 0
			Txt: []string{reason},
		})
	}
	outcomes.explanation.Inc()
	return write(w, m)
}

// reasons returns the explanation of a name.
func (h *Headless) reasons(l *lookup) []string {
	const form = "not a name of a headless service: such names are SERVICE.NAMESPACE.svc.ZONE, HOST and _PORT._PROTOCOL below it, and reverse names of addresses"
	addr, reverse := l.name.Reverse()
	if reverse {
		return h.source.informer.Explain(informer.Subject{Addr: addr})
	}
	apex := l.zone.Labels()
	label := func(i int) string { return string(appendLabel(nil, l.name.Label(apex+i))) }
	below := l.name.Len() - apex
	if l.zone.Reverse || below < 3 || label(0) != "svc" {
		return []string{form}
	}
	s := informer.Subject{Namespace: label(1), Service: label(2)}
	switch {
	case below == 3:
	case below == 4 && strings.HasPrefix(label(3), "_"):
		s.Protocol = label(3)[1:]
	case below == 4:
		s.Host = label(3)
	case below == 5 && strings.HasPrefix(label(3), "_") && strings.HasPrefix(label(4), "_"):
		s.Protocol, s.Port = label(3)[1:], label(4)[1:]
	default:
		return []string{form}
	}
	return h.source.informer.Explain(s)
}
