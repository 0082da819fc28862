package headless

import (
	"iter"
	"strings"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

var _ transfer.Transferer = (*Headless)(nil)

// Transfer implements the transfer.Transferer interface. It sends one state of the whole zone.
// The code that answers queries also makes these records.
func (h *Headless) Transfer(apex string, serial uint32) (<-chan []dns.RR, error) {
	zone := h.zoneAt(apex)
	if zone == nil || !h.serving() {
		return nil, transfer.ErrNotAuthoritative
	}
	if now := h.trieOf(zone).Serial(); serial != 0 && int32(now-serial) <= 0 { // the secondary is up to date (RFC 1982)
		soa := h.soa(zone.Name, now)
		ch := make(chan []dns.RR, 1)
		ch <- []dns.RR{&soa}
		close(ch)
		return ch, nil
	}
	image := h.trieOf(zone).Image()
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

// zoneAt returns the zone with this apex, if the plugin is authoritative for it, or nil.
func (h *Headless) zoneAt(apex string) *records.Zone {
	for i := range h.zones {
		if zone := &h.zones[i]; strings.EqualFold(zone.Name, apex) && h.owns(zone) {
			return zone
		}
	}
	return nil
}

// contents yields each record of a zone once, except for the SOA. It also yields the
// delegations of the zones right below, which a secondary gets nowhere else (RFC 1034, section
// 4.2.1).
func (h *Headless) contents(image *records.Image, zone *records.Zone) iter.Seq[[]dns.RR] {
	return func(yield func([]dns.RR) bool) {
		sets := h.nameServerSets(zone.Name)
		if !zone.Reverse && !zone.External {
			sets = append(sets, []dns.RR{versionRecord(nameBelow("dns-version", zone.Name), zone)})
		}
		for i := range h.zones {
			if child := &h.zones[i]; h.zones.Parent(child) == zone {
				sets = append(sets, h.nameServerSets(child.Name)...)
			}
		}
		for _, rrs := range sets {
			if len(rrs) > 0 && !yield(rrs) {
				return
			}
		}
		h.serviceRecords(image, zone, yield)
	}
}

// serviceRecords yields the records of headless services in a zone, without those that are in a
// zone below it.
func (h *Headless) serviceRecords(image *records.Image, zone *records.Zone, yield func([]dns.RR) bool) {
	if !zone.Reverse {
		for name, node := range image.Names(zone) {
			if h.zones.Match(name) != zone {
				continue
			}
			for _, qtype := range records.Types {
				if !h.nodeRecords(&node, name, qtype, yield) {
					return
				}
			}
		}
		if !zone.HasReverse() || !dns.IsSubDomain(zone.Name, "arpa.") {
			return
		}
	}
	for addr, node := range image.Addrs() {
		name, err := dns.ReverseAddr(addr.String())
		if err != nil || h.zones.Match(name) != zone {
			continue
		}
		if !h.nodeRecords(&node, name, dns.TypePTR, yield) {
			return
		}
	}
}

// nodeRecords yields the records of one type of a node in batches, and reports whether yield
// wants more. It leaves out a name that is too long (RFC 1035, section 2.3.4): labels of 63
// bytes make such names in a long zone. Nobody can query them, and a secondary would refuse the
// whole transfer.
func (h *Headless) nodeRecords(node *records.Node, name string, qtype uint16, yield func([]dns.RR) bool) bool {
	if _, ok := dns.IsDomainName(name); !ok {
		return true
	}
	for rrs := range node.All(&records.Query{Name: name, Type: qtype, Zone: h.ptrZone, TTL: h.ttl}) {
		if !yield(rrs) {
			return false
		}
	}
	return true
}
