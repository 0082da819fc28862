package headless

import (
	"context"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// newReply returns an authoritative reply without records. The message and its question are
// one allocation.
func newReply(r *dns.Msg) *dns.Msg {
	reply := &struct {
		dns.Msg
		question [1]dns.Question
	}{}
	initReply(&reply.Msg, &reply.question, r)
	return &reply.Msg
}

// negative is a negative answer: no records, and the zone's SOA. All but the names in the SOA is one
// allocation.
type negative struct {
	dns.Msg
	question  [1]dns.Question
	authority [1]dns.RR
	soa       dns.SOA
}

// init turns m, which is empty, into an answer to r. The SOA, which a bare answer lacks, has the
// letter case of the query.
func (m *negative) init(h *Headless, r *dns.Msg, zone *records.Zone, rcode int, bare bool) {
	initReply(&m.Msg, &m.question, r)
	m.Rcode = rcode
	if bare {
		return
	}
	m.soa = h.soa(zoneSuffix(r.Question[0].Name, zone), h.trieOf(zone).Serial())
	m.authority[0] = &m.soa
	m.Ns = m.authority[:]
}

// initReply turns m, an empty message, into an authoritative reply to r. It stores the question
// in the given array.
func initReply(m *dns.Msg, question *[1]dns.Question, r *dns.Msg) {
	m.Id = r.Id
	m.Response = true
	m.Authoritative = true
	m.RecursionDesired = r.RecursionDesired
	m.CheckingDisabled = r.CheckingDisabled
	question[0] = r.Question[0]
	m.Question = question[:]
}

// zoneSuffix returns the zone's apex as qname, a name in the zone, spells it.
func zoneSuffix(qname string, zone *records.Zone) string {
	return qname[len(qname)-len(zone.Name):]
}

const soaServer, soaMailbox = "ns.dns.", "hostmaster."

// The times in an SOA record that only secondaries use, in seconds.
const soaRefresh, soaRetry, soaExpire = 7200, 1800, 86400

// soaNames returns the two names in the SOA record of a zone, one after the other.
func soaNames(apex string) string {
	zone := strings.TrimPrefix(apex, ".") // the root zone has no labels
	return soaServer + zone + soaMailbox + zone
}

// soa returns the SOA record of a zone (RFC 1035, section 3.3.13). A cache keeps a negative answer
// for the lesser of its TTL and its minimum (RFC 2308, section 5), so both are the same.
func (h *Headless) soa(apex string, serial uint32) dns.SOA {
	names := ""
	for i := range h.zones {
		if h.zones[i].Name == apex { // nearly all queries are in lower case
			names = h.soaNames[i]
		}
	}
	if names == "" {
		names = soaNames(apex)
	}
	server := (len(names) + len(soaServer) - len(soaMailbox)) / 2
	return dns.SOA{
		Hdr:     dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: h.denial.ttl},
		Ns:      names[:server],
		Mbox:    names[server:],
		Serial:  serial,
		Refresh: soaRefresh,
		Retry:   soaRetry,
		Expire:  soaExpire,
		Minttl:  h.denial.ttl,
	}
}

func write(w dns.ResponseWriter, m *dns.Msg) (int, error) {
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, plugin.Error(pluginName, err)
	}
	return m.Rcode, nil
}

// writeAnswer counts and writes a reply that has records, or TC set because no record fits.
func (h *Headless) writeAnswer(ctx context.Context, w dns.ResponseWriter, m *dns.Msg) (int, error) {
	if m.Truncated {
		h.count(ctx, outcomes.truncated)
	} else {
		h.count(ctx, outcomes.answer)
	}
	return write(w, m)
}
