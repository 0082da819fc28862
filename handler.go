// Package headless is a CoreDNS plugin that serves DNS for the headless services
// of Kubernetes.
//
// A query comes to [Headless.ServeDNS], which finds the name in a trie (package
// records) and decides what reply that makes. The trie is kept up to date by
// package informer, which watches pods and services, or reads them from files.
package headless

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// Headless answers for headless services. A name is its own when a headless
// service exists at it or above it, or when it is the reverse name of an address
// of one; whatever else is asked goes to the next plugin.
type Headless struct {
	Next plugin.Handler
	Fall fall.F

	zones   records.Zones
	primary string // the zone that PTR records point into
	ttl     uint32 // seconds

	// authoritative tells that the plugin owns its zones, and is not only there
	// for the headless services in them.
	authoritative bool
	locals        []netip.Addr // the server's own, with authoritative
	transfers     bool         // by the transfer plugin, with authoritative
	notifier      *notifier    // of secondaries, with transfers

	trie    *records.Trie // source.trie, saving a load per query
	source  *source
	release func() // gives source back
	// delegate tells that a kubernetes plugin stands in the same server block
	// and knows what to say until there is something to serve.
	delegate bool
}

// Name implements the plugin.Handler interface.
func (h *Headless) Name() string { return pluginName }

// ServeDNS implements the plugin.Handler interface.
func (h *Headless) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if len(r.Question) != 1 {
		return dns.RcodeFormatError, nil // RFC 9619
	}
	q := &r.Question[0]
	zone := h.zones.Match(q.Name)
	if zone == nil || !serves(r, q) {
		if zone != nil && h.refuses(zone, r) {
			return dns.RcodeRefused, nil
		}
		return h.pass(ctx, w, r)
	}
	if !h.source.synced() {
		outcomes.unsynced.Inc()
		if h.delegate {
			return h.pass(ctx, w, r)
		}
		return dns.RcodeServerFailure, nil
	}
	var name records.Name
	name.Fold(q.Name)
	node, result := h.find(&name, zone)
	switch result {
	case records.Found:
		return h.reply(w, r, &node, zone)
	case records.Missing:
		return h.missing(ctx, w, r, zone)
	case records.Outside:
		if h.authoritative {
			return h.authority(ctx, w, r, &name, zone)
		}
	}
	return h.pass(ctx, w, r)
}

// pass gives a query to the next plugin. Without one, the reply is REFUSED, as of
// any server that does not have the zone.
func (h *Headless) pass(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if h.Next == nil {
		return dns.RcodeRefused, nil
	}
	return plugin.NextOrFailure(pluginName, h.Next, ctx, w, r)
}

// serves reports whether a message is of a kind that the plugin answers. Zone
// transfers and notifications are for the plugin that has the zone.
func serves(r *dns.Msg, q *dns.Question) bool {
	return r.Opcode == dns.OpcodeQuery && q.Qclass == dns.ClassINET &&
		q.Qtype != dns.TypeAXFR && q.Qtype != dns.TypeIXFR
}

// refuses reports whether a message that the plugin does not serve is for the owner
// of the zone, which the plugin is. It is the primary, so that no notification
// concerns it (RFC 1996), and it takes no updates.
func (h *Headless) refuses(zone *records.Zone, r *dns.Msg) bool {
	q := &r.Question[0]
	switch {
	case !h.authoritative:
		return false
	case r.Opcode != dns.OpcodeQuery || q.Qclass != dns.ClassINET:
		return !h.Fall.Through(q.Name)
	default: // a transfer: the transfer plugin is behind, and knows the apexes only
		return !h.transfers || len(q.Name) != len(zone.Name)
	}
}

func (h *Headless) find(name *records.Name, zone *records.Zone) (records.Node, records.Result) {
	if addr, ok := name.Reverse(); ok {
		return h.trie.FindAddr(addr)
	}
	if zone.Reverse { // it has no names of services
		return records.Node{}, records.Outside
	}
	return h.trie.Find(name, zone.Labels())
}

// reply answers for a name that exists.
func (h *Headless) reply(w dns.ResponseWriter, r *dns.Msg, node *records.Node, zone *records.Zone) (int, error) {
	state := request.Request{W: w, Req: r}
	query := records.Query{
		Name:  r.Question[0].Name,
		Type:  r.Question[0].Qtype,
		Zone:  h.primary,
		TTL:   h.ttl,
		Size:  room(&state),
		Start: rand.Uint64(),
	}
	answer := h.answer(node, &query)
	if len(answer.Records) == 0 && !answer.Truncated {
		return h.noData(w, r, zone)
	}
	m := newReply(r)
	m.Answer, m.Extra = answer.Records, answer.Glue
	// Addresses of targets may be left out (RFC 2181, section 9), but a client
	// that can have them over TCP should know.
	m.Truncated = answer.Truncated || answer.GlueTruncated && state.Proto() == "udp"
	return answered(w, m)
}

// answered counts and writes a reply with records, or with the flag that there are.
func answered(w dns.ResponseWriter, m *dns.Msg) (int, error) {
	if m.Truncated {
		outcomes.truncated.Inc()
	} else {
		outcomes.answer.Inc()
	}
	return write(w, m)
}

// answer returns the records asked for. Of ANY it is one set that exists (RFC
// 8482, section 4.1).
func (h *Headless) answer(node *records.Node, q *records.Query) records.Answer {
	if q.Type != dns.TypeANY {
		return node.Answer(q)
	}
	for _, q.Type = range records.Types {
		if a := node.Answer(q); len(a.Records) > 0 || a.Truncated {
			return a
		}
	}
	return records.Answer{}
}

// noData answers that a name has no such type.
func (h *Headless) noData(w dns.ResponseWriter, r *dns.Msg, zone *records.Zone) (int, error) {
	outcomes.nodata.Inc()
	return write(w, h.negative(r, zone))
}

// missing answers for a name that is ours and does not exist, or lets it fall
// through.
func (h *Headless) missing(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, zone *records.Zone) (int, error) {
	if h.zones.Below(r.Question[0].Name) {
		return h.noData(w, r, zone)
	}
	if h.Next != nil && h.Fall.Through(r.Question[0].Name) {
		outcomes.fallthroughs.Inc()
		return h.pass(ctx, w, r)
	}
	return h.deny(w, r, zone)
}

// deny answers that a name does not exist.
func (h *Headless) deny(w dns.ResponseWriter, r *dns.Msg, zone *records.Zone) (int, error) {
	outcomes.nxdomain.Inc()
	m := h.negative(r, zone)
	m.Rcode = dns.RcodeNameError
	return write(w, m)
}

// negative returns a reply without records, with the zone's SOA, spelled as in the
// name asked. Its TTL, and so that of the negative answer (RFC 2308, section 5),
// is that of the records. All of it but the names in the SOA is one allocation.
func (h *Headless) negative(r *dns.Msg, zone *records.Zone) *dns.Msg {
	reply := &struct {
		dns.Msg
		question  [1]dns.Question
		authority [1]dns.RR
		soa       dns.SOA
	}{}
	qname := r.Question[0].Name
	reply.soa = h.soa(qname[len(qname)-len(zone.Name):], h.trie.Serial())
	setReply(&reply.Msg, &reply.question, r)
	reply.authority[0] = &reply.soa
	reply.Ns = reply.authority[:]
	return &reply.Msg
}

// soa returns the SOA record of a zone (RFC 1035, section 3.3.13).
func (h *Headless) soa(apex string, serial uint32) dns.SOA {
	const server, mailbox = "ns.dns.", "hostmaster."
	zone := strings.TrimPrefix(apex, ".") // the root's labels are none
	names := server + zone + mailbox + zone
	return dns.SOA{
		Hdr:     dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: h.ttl},
		Ns:      names[:len(server)+len(zone)],
		Mbox:    names[len(server)+len(zone):],
		Serial:  serial,
		Refresh: 7200,
		Retry:   1800,
		Expire:  86400,
		Minttl:  h.ttl,
	}
}

// newReply returns an authoritative reply without records. The message and its
// question are one allocation.
func newReply(r *dns.Msg) *dns.Msg {
	reply := &struct {
		dns.Msg
		question [1]dns.Question
	}{}
	setReply(&reply.Msg, &reply.question, r)
	return &reply.Msg
}

// setReply makes m, which is empty, an authoritative reply.
func setReply(m *dns.Msg, question *[1]dns.Question, r *dns.Msg) {
	m.Id = r.Id
	m.Response = true
	m.Authoritative = true
	m.RecursionDesired = r.RecursionDesired
	m.CheckingDisabled = r.CheckingDisabled
	question[0] = r.Question[0]
	m.Question = question[:]
}

func write(w dns.ResponseWriter, m *dns.Msg) (int, error) {
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, plugin.Error(pluginName, err)
	}
	return m.Rcode, nil
}
