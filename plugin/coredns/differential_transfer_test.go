package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnsutil"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// diffTransfer are the records of a transfer of all zones, by name and type.
type diffTransfer map[string]map[uint16][]dns.RR

// diffTransferred is the key of the count of queries whose answers are compared with a transfer.
const diffTransferred = "with a transfer, of all sorts"

// transfer transfers zones of a server.
func (s *diffServer) transfer(t *testing.T, zones string) diffTransfer {
	t.Helper()
	out := make(diffTransfer)
	for _, zone := range strings.Fields(zones) {
		sets, err := s.handler.(transfer.Transferer).Transfer(zone+".", 0)
		if err != nil {
			t.Fatal(err)
		}
		for rrs := range sets {
			for _, rr := range rrs {
				h := rr.Header()
				if out[h.Name] == nil {
					out[h.Name] = make(map[uint16][]dns.RR)
				}
				out[h.Name][h.Rrtype] = append(out[h.Name][h.Rrtype], rr)
			}
		}
	}
	return out
}

// compareTransfer compares a transfer with the answers to queries for all names of the cluster.
func (c *diffComparer) compareTransfer(all diffTransfer) error {
	asked := make(map[string]bool)
	for _, name := range c.names {
		asked[name] = true
		if _, ok := c.zonalOf(name); ok {
			if len(all[name]) > 0 {
				return fmt.Errorf("%s: the transfer has %v, want no zonal name", name, all[name])
			}
			continue
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR} {
			ours, err := c.askOurs(name, qtype)
			if err != nil {
				return err
			}
			if !slices.Equal(ours.answer, diffSection(all[name][qtype])) {
				return fmt.Errorf("%s %s: the transfer has %v, and headless replies\n%v", name, dns.TypeToString[qtype], all[name][qtype], ours.msg)
			}
			c.counts[diffTransferred]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if c.owns(name) && !asked[name] {
			return fmt.Errorf("%s: the transfer has %v, of no object", name, all[name])
		}
	}
	return nil
}

// owns reports whether a name is in the namespace of the cluster, or the reverse name of an address
// in its subnet.
func (c *diffCluster) owns(name string) bool {
	a, err := netip.ParseAddr(dnsutil.ExtractAddressFromReverse(name))
	if err != nil {
		return strings.HasSuffix(name, c.fqdn(""))
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	return netip.PrefixFrom(netip.MustParseAddr(c.addr(a.Is4(), 0)), bits).Contains(a)
}
