package headless

import (
	"context"
	"net/netip"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// dnsVersion is the version of the Kubernetes DNS specification. Its section 2.2 requires a
// TXT record with it at dns-version. clustersetVersion is that of the Multi-Cluster DNS
// specification (KEP-1645).
const (
	dnsVersion        = "1.1.0"
	clustersetVersion = "1.0.0"
)

// versionTTL is the TTL of that record in seconds, from the specification.
const versionTTL = 28800

// answerZone answers for a name that is neither a headless service nor below one, in a zone
// that the plugin is authoritative for: the apex, the name server, the version, and empty
// non-terminals. Other names are missing.
func (h *Headless) answerZone(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, l *lookup) (int, error) {
	q := &r.Question[0]
	apex := zoneSuffix(q.Name, l.zone)
	rrs, exists := h.zoneRecords(&l.name, l.zone, q.Name, apex, q.Qtype)
	if !exists {
		return h.answerMissing(ctx, w, r, l)
	}
	if len(rrs) == 0 {
		return h.noData(ctx, w, r, l)
	}
	m := newReply(r)
	m.Answer = rrs
	if q.Qtype == dns.TypeNS {
		m.Extra = h.nameServerGlue(apex)
	}
	m.Truncate(sizeLimit(&request.Request{W: w, Req: r}))
	return h.writeAnswer(ctx, w, m)
}

// zoneRecords returns the records of a name outside all headless services, and whether the
// name exists.
func (h *Headless) zoneRecords(name *records.Name, zone *records.Zone, qname, apex string, qtype uint16) (rrs []dns.RR, exists bool) {
	trie := h.trieOf(zone)
	label := func(i int) string { return string(name.Label(zone.Labels() + i)) }
	switch below := name.Len() - zone.Labels(); {
	case below == 0:
		switch qtype {
		case dns.TypeSOA, dns.TypeANY:
			soa := h.soa(apex, trie.Serial())
			return []dns.RR{&soa}, true
		case dns.TypeNS:
			return h.nameServer(apex), true
		}
		return nil, true
	case below == 1 && label(0) == "dns":
		return nil, true
	case below == 2 && label(0) == "dns" && label(1) == "ns":
		return h.addressRecords(qname, qtype), true
	case zone.External:
		return nil, below == 1 && trie.HasNamespace(zone, name.Label(zone.Labels()))
	case zone.Reverse:
		return nil, h.covers(name)
	case below == 1 && label(0) == "dns-version":
		if qtype == dns.TypeTXT || qtype == dns.TypeANY {
			return []dns.RR{versionRecord(qname, zone)}, true
		}
		return nil, true
	case below == 1 && label(0) == "svc":
		return nil, !trie.Empty()
	case below == 2 && label(0) == "svc":
		return nil, trie.HasNamespace(zone, name.Label(zone.Labels()+1))
	}
	return nil, zone.HasReverse() && h.covers(name)
}

// covers reports whether the PTR name of an endpoint is below the name.
func (h *Headless) covers(name *records.Name) bool {
	if name.Len() == 1 && string(name.Label(0)) == "arpa" {
		return h.trie.Covers(netip.PrefixFrom(netip.IPv4Unspecified(), 0)) || h.trie.Covers(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	prefix, ok := name.ReversePrefix()
	return ok && h.trie.Covers(prefix)
}

// versionRecord returns the TXT record with the version of the specification that a zone follows.
func versionRecord(name string, zone *records.Zone) dns.RR {
	version := dnsVersion
	if zone.Clusterset {
		version = clustersetVersion
	}
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: versionTTL},
		Txt: []string{version},
	}
}
