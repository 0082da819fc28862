package headless

import (
	"context"
	"strconv"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// maxExtraText is the most bytes of the EXTRA-TEXT of an extended DNS error.
const maxExtraText = 100

// maxZone is the most bytes of a topology zone or of a cluster's id, the value of a label.
const maxZone = 63

// extended is the OPT record of a reply with at most two extended DNS errors (RFC 8914).
type extended struct {
	opt     dns.OPT
	errors  [2]dns.EDNS0_EDE
	options [2]dns.EDNS0
	extra   [1]dns.RR
}

// add adds an error.
func (x *extended) add(code uint16, text string) {
	i := len(x.opt.Option)
	x.errors[i] = dns.EDNS0_EDE{InfoCode: code, ExtraText: text}
	x.options[i] = &x.errors[i]
	x.opt.Option = x.options[:i+1]
}

// size returns the bytes that the errors take in the record.
func (x *extended) size() int {
	size := 0
	for i := range x.opt.Option {
		size += edeSize(len(x.errors[i].ExtraText))
	}
	return size
}

// edeSize returns the size of an extended DNS error with a text: OPTION-CODE, OPTION-LENGTH,
// INFO-CODE and the text (RFC 8914, section 2).
func edeSize(text int) int { return 6 + text }

// attach makes the record the additional section of a reply that has none. query is the OPT record
// of the query, of which it returns the options that a plugin has registered. Without attach, the
// server adds an OPT record, which returns the same options.
func (x *extended) attach(m *dns.Msg, query *dns.OPT) {
	x.opt.Hdr = dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT} // the server sets the size and the flags
	for _, option := range query.Option {
		if edns.SupportedOption(option.Option()) {
			x.opt.Option = append(x.opt.Option, option)
		}
	}
	x.extra[0] = &x.opt
	m.Extra = x.extra[:]
}

// explained is a negative answer that says why it is one. It is one allocation.
type explained struct {
	negative
	extended
}

// deny returns a negative answer with an rcode. If the query has an OPT record, it says why. The
// node is the one that the lookup found, so the reason fits the answer. deny also sets the reason
// in the metadata.
//
// With "denial TTL bare", an NXDOMAIN has no SOA record if a pod may be about to get the name. So
// no cache keeps it (RFC 2308, section 5).
func (h *Headless) deny(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup, rcode int) *dns.Msg {
	opt := r.IsEdns0()
	text, bare := "", h.denial.bare && rcode == dns.RcodeNameError
	if explains := h.explain && (opt != nil || h.metadata); explains || bare {
		d := l.node.Denial(&l.name, l.zone, r.Question[0].Qtype)
		bare = bare && d.Passing()
		if explains {
			text = h.reason(ctx, &d)
		}
	}
	if opt == nil || !h.explain || text == "" && !h.source.stale.Load() {
		m := new(negative)
		m.init(h, r, l.zone, rcode, bare)
		return &m.Msg
	}
	m := new(explained)
	m.init(h, r, l.zone, rcode, bare)
	if h.source.stale.Load() {
		code := dns.ExtendedErrorCodeStaleAnswer
		if rcode == dns.RcodeNameError {
			code = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
		}
		m.add(code, "from a snapshot, as no API server can be reached")
	}
	if text != "" {
		m.add(dns.ExtendedErrorCodeOther, text)
	}
	size := negativeSize(r.Question[0].Name) + m.size()
	if size+replyOPTSize(opt) > dns.MinMsgSize {
		if state := (request.Request{W: w, Req: r}); size > sizeLimit(&state) {
			return &m.Msg
		}
	}
	m.attach(&m.Msg, opt)
	return &m.Msg
}

// reason returns the text of a denial, and sets it in the metadata.
func (h *Headless) reason(ctx context.Context, d *records.Denial) string {
	text := fixedText(d.Cause)
	if text == "" && d.Cause != records.Unexplained {
		var buffer [maxExtraText]byte
		text = string(abridge(appendDenial(buffer[:0], d)))
	}
	if h.metadata {
		metadata.SetValueFunc(ctx, metaReason, func() string { return text })
	}
	return text
}

// appendReason appends the text of a denial to an empty buffer.
func appendReason(b []byte, d *records.Denial) []byte {
	if text := fixedText(d.Cause); text != "" || d.Cause == records.Unexplained {
		return append(b, text...)
	}
	return abridge(appendDenial(b, d))
}

// fixedText returns the text of a cause if it has no names, else "". Together with those of
// appendDenial, the vocabulary is stable: the documentation lists it.
func fixedText(c records.Cause) string {
	switch c {
	case records.NoSuchName:
		return "neither a pod nor a port has such a name"
	case records.OtherTypes:
		return "only A, AAAA and SRV records here"
	case records.OnlySRV:
		return "only SRV records here"
	case records.OnlyPorts:
		return "only names of ports below"
	case records.OnlyZones:
		return "only names of topology zones below"
	case records.OnlyClusters:
		return "only names of a cluster's pods below"
	case records.OnlyPTR:
		return "only PTR records here"
	}
	return ""
}

// negativeSize returns the most bytes of a negative answer to a name, without an OPT record: the
// header, the question, and an SOA record with compressed names.
func negativeSize(qname string) int {
	const soa = 54
	return headerSize + len(qname) + 1 + questionTail + soa
}

// abridge cuts a text that is too long.
func abridge(text []byte) []byte {
	const dots = "..."
	if len(text) > maxExtraText {
		text = append(text[:maxExtraText-len(dots)], dots...)
	}
	return text
}

// appendLabel appends a label of the query. It may have any bytes: those that are not printable
// ASCII become question marks, as do the characters with which the DNS library escapes others.
func appendLabel(b, label []byte) []byte {
	for _, c := range label {
		if c <= ' ' || c > '~' || c == '\\' || c == '"' {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// appendDenial appends the text of a denial with names to an empty buffer.
func appendDenial(b []byte, d *records.Denial) []byte {
	switch d.Cause {
	case records.NoService:
		b = appendLabel(append(b, "no headless service "...), d.Service)
		return appendLabel(append(b, " in namespace "...), d.Namespace)
	case records.NoEndpoint:
		b = appendService(b, d)
		total := 0
		for _, n := range d.Counts {
			total += n
		}
		if total == 0 {
			return append(b, "no endpoints"...)
		}
		b = append(b, "0 of "...)
		b = strconv.AppendInt(b, int64(total), 10)
		return append(b, " endpoints ready"...)
	case records.HostWithheld:
		return append(appendPod(b, d), d.Reason.String()...)
	case records.HostElsewhere:
		b = append(appendPod(b, d), `subdomain is "`...)
		b = append(b, d.Subdomain...)
		b = append(b, `", not "`...)
		b = appendLabel(b, d.Service)
		return append(b, '"')
	case records.NoHost:
		b = appendLabel(append(b, "no pod with hostname "...), d.Host)
		if len(d.Cluster) > 0 {
			b = appendLabel(append(b, " in cluster "...), d.Cluster)
		}
		return b
	case records.NoCluster:
		b = appendLabel(append(b, "service "...), d.Service)
		b = append(b, " in cluster "...)
		return append(appendLabel(b, d.Cluster[:min(len(d.Cluster), maxZone)]), ": no ready endpoint"...)
	case records.NoPort:
		b = append(appendService(b, d), "no "...)
		b = appendLabel(b, d.Protocol)
		if len(d.Port) == 0 {
			return append(b, " port with a name"...)
		}
		return appendLabel(append(b, " port named "...), d.Port)
	case records.UnnamedPort:
		b = append(appendService(b, d), "its "...)
		return append(appendLabel(b, d.Protocol), " port has no name"...)
	case records.NoIPv4:
		return append(appendOwner(b, d), "no IPv4 address"...)
	case records.NoIPv6:
		return append(appendOwner(b, d), "no IPv6 address"...)
	case records.NoZone:
		b = append(appendOwner(b, d), "no ready endpoint"...)
		if len(d.Port) > 0 {
			b = appendLabel(append(b, " with port "...), d.Port)
		}
		return b
	case records.NoTargets:
		return append(appendOwner(b, d), "no ports"...)
	}
	return b
}

func appendService(b []byte, d *records.Denial) []byte {
	return append(appendLabel(append(b, "service "...), d.Service), ": "...)
}

func appendPod(b []byte, d *records.Denial) []byte {
	return append(appendLabel(append(b, "pod "...), d.Host), ": "...)
}

// appendOwner appends the pod or, without one, the service with the topology zone.
func appendOwner(b []byte, d *records.Denial) []byte {
	switch {
	case len(d.Host) > 0:
		return appendPod(b, d)
	case len(d.Zone) == 0:
		return appendService(b, d)
	}
	b = appendLabel(append(b, "service "...), d.Service)
	b = append(b, " in zone "...)
	return append(appendLabel(b, d.Zone[:min(len(d.Zone), maxZone)]), ": "...)
}
