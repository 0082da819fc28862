package headless

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

var _ transfer.Transferer = (*Headless)(nil)

// Transfer implements the transfer.Transferer interface. What it sends is one
// state of the whole zone, made by the same code as the answers to queries.
func (h *Headless) Transfer(apex string, serial uint32) (<-chan []dns.RR, error) {
	zone := h.owned(apex)
	if zone == nil || !h.Ready() {
		return nil, transfer.ErrNotAuthoritative
	}
	image := h.trie.Image()
	soa := h.soa(zone.Name, image.Serial)
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		ch <- []dns.RR{&soa}
		if serial != 0 && int32(image.Serial-serial) <= 0 { // RFC 1982: it is up to date
			return
		}
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

// contents yields the records of a zone but for the SOA, each set once.
func (h *Headless) contents(image *records.Image, zone *records.Zone) func(func([]dns.RR) bool) {
	return func(yield func([]dns.RR) bool) {
		server := join("ns.dns", zone.Name)
		own := [][]dns.RR{h.nameServers(zone.Name, zone), h.addresses(server, dns.TypeA), h.addresses(server, dns.TypeAAAA)}
		if !zone.Reverse {
			own = append(own, []dns.RR{version("dns-version." + zone.Name)})
		}
		for _, rrs := range own {
			if len(rrs) > 0 && !yield(rrs) {
				return
			}
		}
		if zone.Reverse {
			h.reverseContents(image, zone, yield)
			return
		}
		for name, node := range image.Names(zone.Name) {
			for _, qtype := range records.Types {
				if rrs := h.everything(&node, name, qtype); len(rrs) > 0 && !yield(rrs) {
					return
				}
			}
		}
	}
}

func (h *Headless) reverseContents(image *records.Image, zone *records.Zone, yield func([]dns.RR) bool) {
	for addr, node := range image.Addrs() {
		name, err := dns.ReverseAddr(addr.String())
		if err != nil || !dns.IsSubDomain(zone.Name, name) {
			continue
		}
		if rrs := h.everything(&node, name, dns.TypePTR); len(rrs) > 0 && !yield(rrs) {
			return
		}
	}
}

// everything returns all records of a type, whatever their number, unless the name
// is too long (RFC 1035, section 2.3.4): where the zone has a long one, labels of 63
// bytes make such names, which nobody can ask for, and secondaries would refuse all.
func (h *Headless) everything(node *records.Node, name string, qtype uint16) []dns.RR {
	if _, ok := dns.IsDomainName(name); !ok {
		return nil
	}
	return node.Answer(&records.Query{Name: name, Type: qtype, Zone: h.primary, TTL: h.ttl, Size: 1 << 30}).Records
}

// notifyInterval is the time between notifications of a zone: the secondaries of
// a busy cluster would do nothing else than transfer it.
const notifyInterval = time.Second

// notifier tells the secondaries of changes (RFC 1996).
type notifier struct {
	changed chan struct{} // holds a token while there is something to tell
	stop    context.CancelFunc
	wait    sync.WaitGroup
}

// startNotifier begins to notify about the zones through the transfer plugin.
func startNotifier(t *transfer.Transfer, zones records.Zones) *notifier {
	ctx, cancel := context.WithCancel(context.Background())
	n := &notifier{changed: make(chan struct{}, 1), stop: cancel}
	n.wait.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-n.changed:
			}
			for i := range zones {
				if err := t.Notify(zones[i].Name); err != nil {
					log.Warning(err)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(notifyInterval):
			}
		}
	})
	return n
}

// note is called for each change; it does not block.
func (n *notifier) note() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *notifier) end() {
	n.stop()
	n.wait.Wait()
}
