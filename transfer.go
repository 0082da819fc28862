package headless

import (
	"strings"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

var _ transfer.Transferer = (*Headless)(nil)

// Transfer implements the transfer.Transferer interface. What it sends is one
// state of the whole zone, made by the same code as the answers to queries.
func (h *Headless) Transfer(apex string, serial uint32) (<-chan []dns.RR, error) {
	zone := h.owned(apex)
	if zone == nil || !h.serving() {
		return nil, transfer.ErrNotAuthoritative
	}
	if now := h.trie.Serial(); serial != 0 && int32(now-serial) <= 0 { // RFC 1982: it is up to date
		soa := h.soa(zone.Name, now)
		ch := make(chan []dns.RR, 1)
		ch <- []dns.RR{&soa}
		close(ch)
		return ch, nil
	}
	image := h.trie.Image()
	soa := h.soa(zone.Name, image.Serial)
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		ch <- []dns.RR{&soa}
		for rrs := range h.contents(image, zone) {
			ch <- rrs
		}
		ch <- []dns.RR{&soa}
	}()
	return ch, nil
}

// owned returns the zone with exactly that apex, if the plugin owns its zones.
func (h *Headless) owned(apex string) *records.Zone {
	if !h.authoritative {
		return nil
	}
	for i := range h.zones {
		if strings.EqualFold(h.zones[i].Name, apex) {
			return &h.zones[i]
		}
	}
	return nil
}

// contents yields the records of a zone but for the SOA, each once: what
// queries have, and the delegation of the zones right below, as nobody else tells a
// secondary of these (RFC 1034, section 4.2.1).
func (h *Headless) contents(image *records.Image, zone *records.Zone) func(func([]dns.RR) bool) {
	return func(yield func([]dns.RR) bool) {
		sets := h.serverSets(zone)
		if !zone.Reverse {
			sets = append(sets, []dns.RR{version(join("dns-version", zone.Name))})
		}
		for i := range h.zones {
			if child := &h.zones[i]; h.zones.Parent(child) == zone {
				sets = append(sets, h.serverSets(child)...)
			}
		}
		for _, rrs := range sets {
			if len(rrs) > 0 && !yield(rrs) {
				return
			}
		}
		h.services(image, zone, yield)
	}
}

// serverSets returns the NS record of a zone and the addresses of the server.
func (h *Headless) serverSets(zone *records.Zone) [][]dns.RR {
	server := join("ns.dns", zone.Name)
	return [][]dns.RR{h.nameServer(zone.Name), h.addresses(server, dns.TypeA), h.addresses(server, dns.TypeAAAA)}
}

// services yields the records of headless services in a zone, without those in
// zones below it.
func (h *Headless) services(image *records.Image, zone *records.Zone, yield func([]dns.RR) bool) {
	if !zone.Reverse {
		for name, node := range image.Names(zone.Name) {
			if h.zones.Match(name) != zone {
				continue
			}
			for _, qtype := range records.Types {
				if !h.everything(&node, name, qtype, yield) {
					return
				}
			}
		}
		if !dns.IsSubDomain(zone.Name, "arpa.") {
			return
		}
	}
	for addr, node := range image.Addrs() {
		name, err := dns.ReverseAddr(addr.String())
		if err != nil || h.zones.Match(name) != zone {
			continue
		}
		if !h.everything(&node, name, dns.TypePTR, yield) {
			return
		}
	}
}

// everything yields all records of a type, some at a time, and reports whether to go on.
// There are none if the name is too long (RFC 1035, section 2.3.4): where the zone has a
// long one, labels of 63 bytes make such names, which nobody can ask for, and secondaries
// would refuse all.
func (h *Headless) everything(node *records.Node, name string, qtype uint16, yield func([]dns.RR) bool) bool {
	if _, ok := dns.IsDomainName(name); !ok {
		return true
	}
	for rrs := range node.All(&records.Query{Name: name, Type: qtype, Zone: h.primary, TTL: h.ttl}) {
		if !yield(rrs) {
			return false
		}
	}
	return true
}
