package headless

import (
	"context"
	"net"
	"net/netip"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// dnsVersion is the version of the Kubernetes DNS specification, which its
// section 2.2 wants as a TXT record of dns-version.
const dnsVersion = "1.1.0"

// versionTTL is the TTL of that record in seconds, as the specification has it.
const versionTTL = 28800

// authority answers for the names of a zone that no headless service exists at
// or above, where the plugin owns the zone: the apex, the name server, the
// version, and the names that others are below.
func (h *Headless) authority(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, name *records.Name, zone *records.Zone) (int, error) {
	q := &r.Question[0]
	apex := q.Name[len(q.Name)-len(zone.Name):]
	rrs, exists := h.ownRecords(name, zone, q.Name, apex, q.Qtype)
	if !exists {
		return h.missing(ctx, w, r, zone)
	}
	if len(rrs) == 0 {
		return h.noData(w, r, zone)
	}
	m := newReply(r)
	m.Answer = rrs
	if q.Qtype == dns.TypeNS {
		m.Extra = h.glue(apex)
	}
	m.Truncate(room(&request.Request{W: w, Req: r}))
	return answered(w, m)
}

// ownRecords returns the records that the zone's owner has at a name, and whether
// the name exists.
func (h *Headless) ownRecords(name *records.Name, zone *records.Zone, qname, apex string, qtype uint16) (rrs []dns.RR, exists bool) {
	label := func(i int) string { return string(name.Label(zone.Labels() + i)) }
	switch below := name.Len() - zone.Labels(); {
	case below == 0:
		switch qtype {
		case dns.TypeSOA, dns.TypeANY:
			soa := h.soa(apex, h.trie.Serial())
			return []dns.RR{&soa}, true
		case dns.TypeNS:
			return h.nameServer(apex), true
		}
		return nil, true
	case below == 1 && label(0) == "dns":
		return nil, true
	case below == 2 && label(0) == "dns" && label(1) == "ns":
		return h.addresses(qname, qtype), true
	case zone.Reverse:
		return nil, h.covers(name)
	case below == 1 && label(0) == "dns-version":
		if qtype == dns.TypeTXT || qtype == dns.TypeANY {
			return []dns.RR{version(qname)}, true
		}
		return nil, true
	case below == 1 && label(0) == "svc":
		return nil, !h.trie.Empty()
	case below == 2 && label(0) == "svc":
		return nil, h.trie.HasNamespace(name.Label(zone.Labels() + 1))
	}
	return nil, h.covers(name)
}

// covers reports whether the reverse name of an address is below a name.
func (h *Headless) covers(name *records.Name) bool {
	if name.Len() == 1 && string(name.Label(0)) == "arpa" {
		return h.trie.Covers(netip.PrefixFrom(netip.IPv4Unspecified(), 0)) || h.trie.Covers(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	prefix, ok := name.ReversePrefix()
	return ok && h.trie.Covers(prefix)
}

func version(name string) dns.RR {
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: versionTTL},
		Txt: []string{dnsVersion},
	}
}

// nameServer returns the NS record of an apex: ns.dns of the zone, which is this
// server. The names of headless services are no name servers, even if they have an
// address of this server: whoever may write a service could add hosts to it, and
// answer for the zone.
func (h *Headless) nameServer(apex string) []dns.RR {
	return []dns.RR{&dns.NS{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: h.ttl},
		Ns:  join("ns.dns", apex),
	}}
}

// glue returns the addresses of the name server.
func (h *Headless) glue(apex string) []dns.RR {
	server := join("ns.dns", apex)
	return append(h.addresses(server, dns.TypeA), h.addresses(server, dns.TypeAAAA)...)
}

// join puts labels before a zone.
func join(labels, zone string) string {
	if zone == "." {
		return labels + "."
	}
	return labels + "." + zone
}

// addresses returns the records of ns.dns: the addresses that the server has.
func (h *Headless) addresses(name string, qtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, a := range h.locals {
		hdr := dns.RR_Header{Name: name, Rrtype: qtype, Class: dns.ClassINET, Ttl: h.ttl}
		switch {
		case a.Is4() && qtype == dns.TypeA:
			rrs = append(rrs, &dns.A{Hdr: hdr, A: a.AsSlice()})
		case !a.Is4() && qtype == dns.TypeAAAA:
			rrs = append(rrs, &dns.AAAA{Hdr: hdr, AAAA: a.AsSlice()})
		case qtype == dns.TypeANY && len(rrs) == 0:
			if a.Is4() {
				return h.addresses(name, dns.TypeA)
			}
			return h.addresses(name, dns.TypeAAAA)
		}
	}
	return rrs
}

// maxLocals is the most addresses of ns.dns. A machine has more where kube-proxy
// gives it each virtual IP, after its own, and a reply would be as large.
const maxLocals = 13

// localAddresses returns the addresses that the server listens on, at most
// maxLocals, given those it is bound to, if any. Those of the loopback interface
// count only if there are no others: nobody else can use them.
func localAddresses(bound []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, b := range bound {
		if a, err := netip.ParseAddr(b); err == nil {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		found, err := net.InterfaceAddrs()
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if p, err := netip.ParsePrefix(f.String()); err == nil {
				addrs = append(addrs, p.Addr())
			}
		}
	}
	var loopback, others []netip.Addr
	for _, a := range addrs {
		switch a = a.Unmap().WithZone(""); {
		case a.IsLoopback():
			loopback = append(loopback, a)
		case !a.IsLinkLocalUnicast() && !a.IsUnspecified():
			others = append(others, a)
		}
	}
	if len(others) == 0 {
		others = loopback
	}
	return others[:min(len(others), maxLocals)], nil
}
