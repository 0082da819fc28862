package headless

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// nameServer returns the NS record of an apex: ns.dns below it, which is this server. A headless
// service is never a name server, even if it has an address of this server. Otherwise a tenant
// who may write services could add hosts to one and answer for the zone.
func (h *Headless) nameServer(apex string) []dns.RR {
	return []dns.RR{&dns.NS{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: h.ttl},
		Ns:  nameBelow("ns.dns", apex),
	}}
}

// nameServerGlue returns the address records of an apex's name server.
func (h *Headless) nameServerGlue(apex string) []dns.RR {
	server := nameBelow("ns.dns", apex)
	return append(h.addressRecords(server, dns.TypeA), h.addressRecords(server, dns.TypeAAAA)...)
}

// nameServerSets returns the NS record of an apex and the address records of its name server,
// one slice for each type.
func (h *Headless) nameServerSets(apex string) [][]dns.RR {
	server := nameBelow("ns.dns", apex)
	return [][]dns.RR{h.nameServer(apex), h.addressRecords(server, dns.TypeA), h.addressRecords(server, dns.TypeAAAA)}
}

// nameBelow returns the name of labels below a zone.
func nameBelow(labels, zone string) string {
	if zone == "." {
		return labels + "."
	}
	return labels + "." + zone
}

// addressRecords returns the addresses of this server as records of a type. For ANY it returns
// those of one type.
func (h *Headless) addressRecords(name string, qtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, a := range h.serverAddrs {
		hdr := dns.RR_Header{Name: name, Rrtype: qtype, Class: dns.ClassINET, Ttl: h.ttl}
		switch {
		case a.Is4() && qtype == dns.TypeA:
			rrs = append(rrs, &dns.A{Hdr: hdr, A: a.AsSlice()})
		case !a.Is4() && qtype == dns.TypeAAAA:
			rrs = append(rrs, &dns.AAAA{Hdr: hdr, AAAA: a.AsSlice()})
		case qtype == dns.TypeANY && len(rrs) == 0:
			if a.Is4() {
				return h.addressRecords(name, dns.TypeA)
			}
			return h.addressRecords(name, dns.TypeAAAA)
		}
	}
	return rrs
}

// maxServerAddrs is the most addresses that the name server has. In kube-proxy's IPVS mode a
// machine has every virtual IP too, after its real addresses, and replies would grow with them.
const maxServerAddrs = 13

// serverAddresses returns the addresses that the server listens on, at most maxServerAddrs: the
// bound ones, or those of all interfaces if none is bound. It returns loopback addresses only
// if there are no others, as other machines can't use them.
func serverAddresses(bound []string) ([]netip.Addr, error) {
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
	return others[:min(len(others), maxServerAddrs)], nil
}
