package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// diffReply is the compared part of a reply: sections as sorted sets, names in lower
// case, the SOA without its serial.
type diffReply struct {
	msg               *dns.Msg
	rcode             int
	aa, tc            bool
	answer, ns, extra []diffRR
}

// diffRR is a record. Fields that its type lacks are zero.
type diffRR struct {
	name   string
	rrtype uint16
	ttl    uint32
	data   string // an address, a target, or the rest of a record as text
	port   uint16
	weight uint16
	// numbers are the intervals of an SOA record.
	numbers [4]uint32
}

func diffNewReply(m *dns.Msg) *diffReply {
	return &diffReply{
		msg: m, rcode: m.Rcode, aa: m.Authoritative, tc: m.Truncated,
		answer: diffSection(m.Answer), ns: diffSection(m.Ns), extra: diffSection(m.Extra),
	}
}

func diffSection(rrs []dns.RR) []diffRR {
	if len(rrs) == 0 {
		return nil
	}
	out := make([]diffRR, len(rrs))
	for i, rr := range rrs {
		h := rr.Header()
		out[i] = diffRR{name: strings.ToLower(h.Name), rrtype: h.Rrtype, ttl: h.Ttl}
		switch rr := rr.(type) {
		case *dns.A:
			out[i].data = string(rr.A.To4())
		case *dns.AAAA:
			out[i].data = string(rr.AAAA.To16())
		case *dns.SRV:
			out[i].data, out[i].port, out[i].weight = strings.ToLower(rr.Target), rr.Port, rr.Weight
			if rr.Priority != 0 {
				out[i].data = fmt.Sprint("priority ", rr.Priority)
			}
		case *dns.PTR:
			out[i].data = strings.ToLower(rr.Ptr)
		case *dns.SOA:
			out[i].data = strings.ToLower(rr.Ns + " " + rr.Mbox)
			out[i].numbers = [...]uint32{rr.Refresh, rr.Retry, rr.Expire, rr.Minttl}
		default:
			out[i].data = rr.String()
		}
	}
	slices.SortFunc(out, diffRR.compare)
	return out
}

func (rr diffRR) compare(other diffRR) int {
	return cmp.Or(cmp.Compare(rr.name, other.name), cmp.Compare(rr.rrtype, other.rrtype), cmp.Compare(rr.data, other.data),
		cmp.Compare(rr.port, other.port), cmp.Compare(rr.weight, other.weight), cmp.Compare(rr.ttl, other.ttl)) // a section has at most one SOA record
}

// equal reports whether two replies are equal.
func (r *diffReply) equal(other *diffReply) bool {
	return r.sameBut(other) && slices.Equal(r.answer, other.answer) && slices.Equal(r.extra, other.extra)
}

// sameBut reports whether two replies are equal apart from the answer and additional
// sections.
func (r *diffReply) sameBut(other *diffReply) bool {
	return r.rcode == other.rcode && r.aa == other.aa && r.tc == other.tc && slices.Equal(r.ns, other.ns)
}

// negative reports whether the reply is a denial with this rcode: no answers, and the
// SOA.
func (r *diffReply) negative(rcode int) bool {
	return r.rcode == rcode && r.aa && !r.tc && len(r.answer) == 0 && len(r.extra) == 0 &&
		len(r.ns) == 1 && r.ns[0].rrtype == dns.TypeSOA
}

// positive reports whether the reply has answers, all of this type.
func (r *diffReply) positive(rrtype uint16) bool {
	return r.rcode == dns.RcodeSuccess && r.aa && !r.tc && len(r.ns) == 0 && len(r.answer) > 0 &&
		!slices.ContainsFunc(r.answer, func(rr diffRR) bool { return rr.rrtype != rrtype })
}

// passed reports whether the plugin passed the query on.
func (r *diffReply) passed() bool {
	return (r.rcode == dns.RcodeServerFailure || r.rcode == dns.RcodeRefused) &&
		len(r.answer)+len(r.ns)+len(r.extra) == 0
}
