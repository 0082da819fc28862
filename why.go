package headless

import (
	"context"
	"slices"
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
//
// A name with too many labels below "svc" does not exist: a client that tries its search list must
// go on to the next domain, as for _why.web-0.nginx.prod in namespace default.
func (h *Headless) answerWhy(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	q := &r.Question[0]
	l.name.Fold(q.Name[len(whyLabel)+1:])
	addr, reverse := l.name.Reverse()
	reverse = reverse && l.zone.HasReverse()
	subject, ok := h.subjectOf(&l.name, l.zone)
	switch {
	case !ok && !reverse && l.name.Len()-l.zone.Labels() > 3 && h.find(l) != records.Found:
		return h.nameError(ctx, w, r, l)
	case q.Qtype != dns.TypeTXT && q.Qtype != dns.TypeANY:
		h.count(ctx, outcomes.nodata)
		m := new(negative)
		m.init(h, r, l.zone, dns.RcodeSuccess, false)
		return write(w, &m.Msg)
	}
	var reasons []string
	switch {
	case !h.whyLimiter.Allow():
		reasons = []string{"the server explains only a few names a second; ask again in a second"}
	case reverse:
		reasons = h.source.informer.Explain(informer.Subject{Addr: addr})
	case ok:
		reasons = h.source.informer.Explain(subject)
	case l.zone.External:
		reasons = []string{"not a name of a headless service: such names are SERVICE.NAMESPACE.ZONE, as this zone is external, and HOST and _PORT._PROTOCOL below it"}
	case l.zone.Clusterset:
		reasons = []string{"not a name of a headless service: such names are SERVICE.NAMESPACE.svc.ZONE, as this zone is of a clusterset, and HOST.CLUSTER and _PORT._PROTOCOL below it"}
	default:
		reasons = []string{"not a name of a headless service: such names are SERVICE.NAMESPACE.svc.ZONE, HOST and _PORT._PROTOCOL below it, and reverse names of addresses"}
	}
	m := newReply(r)
	for _, reason := range reasons {
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, // the TTL is 0
			Txt: []string{reason},
		})
	}
	h.count(ctx, outcomes.explanation)
	return write(w, m)
}

// subjectOf parses the name of a service, of a host, a port or a cluster below one, or a zonal name.
// It reports whether the name has that form.
func (h *Headless) subjectOf(name *records.Name, zone *records.Zone) (s informer.Subject, ok bool) {
	at, ok := zone.Service(name)
	if zone.Reverse || !ok {
		return informer.Subject{}, false
	}
	service := at + 2 // labels of the name of the service
	label := func(i int) string { return string(appendLabel(nil, name.Label(i))) }
	s.Namespace, s.Service, s.External, s.Clusterset = label(at), label(at+1), zone.External, zone.Clusterset
	if h.zonal && !zone.Clusterset {
		if z, ok := name.Zonal(service); ok && len(z.Zone) > 0 {
			text := func(b []byte) string { return string(appendLabel(nil, b)) }
			s.Zone, s.Prefer, s.Protocol, s.Port = text(z.Zone), string(z.Directive) == "prefer", text(z.Protocol), text(z.Port)
			return s, true
		}
	}
	labels := make([]string, 0, name.Len()-service) // below the service, from the right
	underscored := 0
	for i := service; i < name.Len(); i++ {
		labels = append(labels, label(i))
		if strings.HasPrefix(label(i), "_") {
			underscored++
		}
	}
	switch below := len(labels); {
	case below == 0:
	case below == 1 && underscored == 1:
		s.Protocol = labels[0][1:]
	case below == 2 && underscored == 2:
		s.Protocol, s.Port = labels[0][1:], labels[1][1:]
	case below == 1 && !zone.Clusterset:
		s.Host = labels[0]
	case underscored > 0 || !zone.Clusterset:
		return informer.Subject{}, false
	default: // the name of a cluster, or of a host in one
		if below > 1 {
			s.Host, labels = labels[below-1], labels[:below-1]
		}
		slices.Reverse(labels)
		s.Cluster = strings.Join(labels, ".")
	}
	return s, true
}
