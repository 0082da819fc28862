package headless

import (
	"context"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// ServeDNS implements the plugin.Handler interface.
func (h *Headless) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if len(r.Question) != 1 {
		return dns.RcodeFormatError, nil // RFC 9619
	}
	q := &r.Question[0]
	zone := h.zones.Match(q.Name)
	if zone == nil || !isLookup(r, q) {
		if zone != nil && h.refuses(zone, r) {
			return dns.RcodeRefused, nil
		}
		return h.callNext(ctx, w, r)
	}
	var l lookup
	l.zone = zone
	l.name.Fold(q.Name)
	if h.explain && isWhy(&l.name, zone) {
		return h.answerWhy(ctx, w, r, &l)
	}
	if !h.source.synced() {
		return h.notSynced(ctx, w, r)
	}
	switch h.find(&l) {
	case records.Found:
		return h.answerNode(ctx, w, r, &l)
	case records.Missing:
		return h.answerMissing(ctx, w, r, &l)
	case records.Outside:
		if h.owns(zone) {
			return h.answerZone(ctx, w, r, &l)
		}
	}
	return h.callNext(ctx, w, r)
}

// lookup is the name of a query and what was found there.
type lookup struct {
	zone *records.Zone
	name records.Name
	node records.Node
}

// notSynced replies SERVFAIL, or passes the query to the kubernetes plugin.
func (h *Headless) notSynced(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	h.count(ctx, outcomes.unsynced)
	if h.delegate {
		return h.callNext(ctx, w, r)
	}
	opt := r.IsEdns0()
	if opt == nil || !h.explain {
		return dns.RcodeServerFailure, nil
	}
	m := new(dns.Msg).SetRcode(r, dns.RcodeServerFailure)
	var x extended
	x.add(dns.ExtendedErrorCodeNotReady, "not every kind of object has been listed yet")
	x.attach(m, opt)
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, plugin.Error(pluginName, err)
	}
	return dns.RcodeSuccess, nil // for another rcode the server would write a second reply
}

// callNext passes a query to the next plugin. Without one it replies REFUSED, as a server does
// for a zone that it does not serve.
func (h *Headless) callNext(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if h.Next == nil {
		return dns.RcodeRefused, nil
	}
	return plugin.NextOrFailure(pluginName, h.Next, ctx, w, r)
}

// isLookup reports whether a message asks for the records of one name. Other messages, such as
// zone transfers and NOTIFY, go to the plugin that has the zone.
func isLookup(r *dns.Msg, q *dns.Question) bool {
	return r.Opcode == dns.OpcodeQuery && q.Qclass == dns.ClassINET &&
		q.Qtype != dns.TypeAXFR && q.Qtype != dns.TypeIXFR
}

// refuses reports whether the plugin refuses a message that is no lookup. It refuses only
// messages for the zones that it is authoritative for. As their primary it needs no NOTIFY
// (RFC 1996), and it takes no UPDATE.
func (h *Headless) refuses(zone *records.Zone, r *dns.Msg) bool {
	q := &r.Question[0]
	switch {
	case !h.owns(zone):
		return false
	case r.Opcode != dns.OpcodeQuery || q.Qclass != dns.ClassINET:
		return !h.Fall.Through(q.Name)
	default: // AXFR or IXFR: the transfer plugin comes later, and transfers whole zones only
		return !h.transfers || len(q.Name) != len(zone.Name)
	}
}

// owns reports whether the plugin is authoritative for the zone.
func (h *Headless) owns(zone *records.Zone) bool { return h.authoritative || zone.External }

// trieOf returns the trie with the names of a zone.
func (h *Headless) trieOf(zone *records.Zone) *records.Trie {
	if zone.Clusterset {
		return h.imports
	}
	return h.trie
}

// find looks up the name and sets the node.
func (h *Headless) find(l *lookup) (result records.Result) {
	if addr, ok := l.name.Reverse(); ok && l.zone.HasReverse() {
		l.node, result = h.trie.FindAddr(addr)
		return result
	}
	if l.zone.Reverse { // services have no names there
		return records.Outside
	}
	l.node, result = h.trieOf(l.zone).Find(&l.name, l.zone)
	return result
}

// answerNode answers with the records of a node.
func (h *Headless) answerNode(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	state := request.Request{W: w, Req: r}
	query := records.Query{
		Name:  r.Question[0].Name,
		Type:  r.Question[0].Qtype,
		Zone:  h.ptrZone,
		TTL:   h.ttl,
		Size:  sizeLimit(&state),
		Start: h.randomStart(),
	}
	answer := h.answer(&l.node, &query)
	if len(answer.Records) == 0 && !answer.Truncated {
		return h.noData(ctx, w, r, l)
	}
	m := newReply(r)
	m.Answer, m.Extra = answer.Records, answer.Glue
	// Addresses of targets may be left out (RFC 2181, section 9), but a client
	// that can have them over TCP should know.
	m.Truncated = answer.Truncated || answer.GlueTruncated && state.Proto() == "udp"
	return h.writeAnswer(ctx, w, m)
}

// answer returns the records of the queried type. For ANY it returns those of one type that the
// name has (RFC 8482, section 4.1).
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

// noData answers that the name exists and has no records of the queried type.
func (h *Headless) noData(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	h.count(ctx, outcomes.nodata)
	return write(w, h.deny(ctx, w, r, l, dns.RcodeSuccess))
}

// answerMissing answers for a name that the plugin owns and that has no records: NODATA if a
// zone is below it, else the next plugin with fallthrough, else NXDOMAIN.
func (h *Headless) answerMissing(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	if h.zones.Below(r.Question[0].Name) {
		return h.noData(ctx, w, r, l)
	}
	if h.Next != nil && h.Fall.Through(r.Question[0].Name) {
		h.count(ctx, outcomes.fallthroughs)
		return h.callNext(ctx, w, r)
	}
	return h.nameError(ctx, w, r, l)
}

// nameError answers that the name does not exist (NXDOMAIN).
func (h *Headless) nameError(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	h.count(ctx, outcomes.nxdomain)
	return write(w, h.deny(ctx, w, r, l, dns.RcodeNameError))
}
