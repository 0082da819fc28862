package main

import (
	"slices"

	"github.com/miekg/dns"
)

// The records that a diffModel makes of endpoints.

// diffAddresses returns the records of a type of endpoints.
func diffAddresses(endpoints []diffPlaced, qtype uint16, name func(diffPlaced) string) []diffRR {
	var out []diffRR
	for _, e := range endpoints {
		if e.addr.Is4() == (qtype == dns.TypeA) {
			out = append(out, diffRR{name: name(e), rrtype: qtype, ttl: diffTTL, data: string(e.addr.AsSlice())})
		}
	}
	return diffSet(out)
}

func diffSet(rrs []diffRR) []diffRR {
	slices.SortFunc(rrs, diffRR.compare)
	return slices.Compact(rrs)
}

// targets returns the SRV records of endpoints, and the addresses of their targets.
func (m diffModel) targets(name, service string, here []diffPlaced) (answer, extra []diffRR) {
	shares := 0
	for _, e := range here {
		shares += len(e.ports)
	}
	targets := make(map[string]bool)
	var with []diffPlaced
	for _, e := range here {
		for _, p := range e.ports {
			if p.Port == nil {
				continue
			}
			targets[e.host] = true
			with = append(with, e)
			answer = append(answer, diffRR{
				name: name, rrtype: dns.TypeSRV, ttl: diffTTL, data: e.host + "." + service, port: uint16(*p.Port), weight: uint16(max(1, 100/shares)),
			})
		}
	}
	if !m.like.has(diffLikeGlue) {
		here, _ := m.at(service, nil)
		with = slices.DeleteFunc(here, func(e diffPlaced) bool { return !targets[e.host] })
	}
	fqdn := func(e diffPlaced) string { return e.host + "." + service }
	extra = append(diffAddresses(with, dns.TypeA, fqdn), diffAddresses(with, dns.TypeAAAA, fqdn)...)
	return diffSet(answer), diffSet(extra)
}

// pointers returns the PTR records of a reverse name: those of hostnames, else of the names made of
// the address.
func (m diffModel) pointers(reverse string) []diffRR {
	var found []diffPlaced
	hostnames := false
	for _, e := range m.addressed[reverse] {
		if e.counts && m.headless[e.service] || !e.counts && m.like.has(diffLikeImported) || e.counts && m.like.has(diffLikePointers) {
			found = append(found, e)
			hostnames = hostnames || e.hostname
		}
	}
	var out []diffRR
	for _, e := range found {
		if e.hostname || !hostnames || m.like.has(diffLikePointers) {
			out = append(out, diffRR{name: reverse, rrtype: dns.TypePTR, ttl: diffTTL, data: e.host + "." + e.service})
		}
	}
	return diffSet(out)
}
