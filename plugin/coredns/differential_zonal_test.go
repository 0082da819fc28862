package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// With "zonal", kubernetes takes every label before a directive for a part of the zone, also a
// port. What headless replies to zonal names follows from the endpoints by the rules of its
// documentation.

// The counts of queries for zonal names. What diffZonal, a directive and one of the others make is
// such a count.
const (
	diffZonal      = "with zonal: "
	diffZonalHas   = " of a zone with endpoints"
	diffZonalLacks = " of a zone without endpoints"
	diffZonalPort  = ", of a port"
	diffZonalNone  = diffZonal + "a name that does not exist"
	diffZonalEmpty = diffZonal + "an empty non-terminal"
	diffZonalTwice = diffZonal + "an address of the zone is also in another one"
	diffZonalHosts = diffZonal + "a host of the zone is also in another one"
)

// diffZonalWanted are the counts that must not be zero.
func diffZonalWanted() []string {
	out := []string{diffZonalNone, diffZonalEmpty, diffZonalTwice, diffZonalHosts}
	for _, directive := range []string{"pin", "prefer"} {
		for _, has := range []string{diffZonalHas, diffZonalLacks} {
			out = append(out, diffZonal+directive+has, diffZonal+directive+has+diffZonalPort)
		}
	}
	return out
}

// diffZonalNoSuch is a zone of no endpoint.
const diffZonalNoSuch = "no-such-zone"

// diffZonalName is a name at or below the label "_zone" of a headless service.
type diffZonalName struct {
	service        string
	directive      string // or ""
	port, protocol string // with underscores, or ""
	zone           string // or ""
	unknown        bool   // the name is of none of the forms
}

// zonalOf returns the parts of a zonal name, unless the name or the cluster is of another kind.
func (f *diffFacts) zonalOf(name string) (z diffZonalName, ok bool) {
	if !f.options().zonal || !strings.HasSuffix(name, f.fqdn("")) {
		return z, false
	}
	labels := f.below(name)
	if len(labels) < 2 || labels[len(labels)-2] != "_zone" || !f.headless[labels[len(labels)-1]] {
		return z, false
	}
	z.service, labels = labels[len(labels)-1], labels[:len(labels)-2]
	if len(labels) == 0 {
		return z, true
	}
	z.directive, labels = labels[len(labels)-1], labels[:len(labels)-1]
	z.unknown = z.directive != "pin" && z.directive != "prefer"
	if len(labels) == 0 {
		return z, true
	}
	if len(labels) > 1 && labels[0][0] == '_' && labels[1][0] == '_' {
		z.port, labels = labels[0], labels[1:]
	}
	if labels[0][0] == '_' {
		z.protocol, labels = labels[0], labels[1:]
	}
	z.zone = strings.Join(labels, ".")
	z.unknown = z.unknown || z.zone == "" || z.port == "_" || z.protocol == "_" || strings.HasPrefix(z.zone, "_")
	return z, true
}

// all returns the service's own name or, of a name with a port, the name of the port below it.
func (f *diffFacts) all(z diffZonalName) string {
	if z.port != "" {
		return z.port + "." + z.protocol + "." + f.fqdn(z.service)
	}
	return f.fqdn(z.service)
}

// zoneHas reports whether an endpoint in the zone has the port, if the name has one.
func (c *diffComparer) zoneHas(z diffZonalName) bool {
	all := diffAt(c.endpoints, z.service, "")
	if z.port != "" {
		all = c.port(c.all(z))
	}
	return slices.ContainsFunc(all, func(e diffFact) bool { return e.zone == z.zone })
}

// zonalAt returns the endpoints of a zonal name, once for each of their ports: those with a number
// or, if number is false, those without.
func (c *diffComparer) zonalAt(z diffZonalName, number bool) []diffFact {
	if z.zone == "" || z.unknown || z.port == "" && z.protocol != "" {
		return nil
	}
	all := c.at(c.all(z), number)
	if z.directive == "prefer" && !c.zoneHas(z) {
		return all
	}
	return slices.DeleteFunc(all, func(e diffFact) bool { return e.zone != z.zone })
}

// zonalReply returns the reply to a query for a zonal name.
func (c *diffComparer) zonalReply(name string, z diffZonalName, qtype uint16) *diffReply {
	missing := &diffReply{rcode: dns.RcodeNameError, aa: true, ns: []diffRR{diffSOA}}
	noData := &diffReply{aa: true, ns: missing.ns}
	switch {
	case len(diffAt(c.endpoints, z.service, ""))+len(diffAt(c.early, z.service, "")) == 0 || z.unknown:
		return missing
	case z.port != "" && len(c.port(c.all(z))) == 0:
		return missing
	case z.port == "" && z.protocol != "" && !c.nonTerminal(z.protocol+"."+c.fqdn(z.service)):
		return missing
	case z.port != "" && qtype != dns.TypeSRV:
		return noData
	}
	ready := c.zonalAt(z, true)
	r := &diffReply{aa: true}
	for _, e := range slices.Concat(ready, c.zonalAt(z, false)) {
		if e.addr.Is4() && qtype == dns.TypeA || e.addr.Is6() && qtype == dns.TypeAAAA {
			r.answer = append(r.answer, diffRR{name: name, rrtype: qtype, ttl: diffTTL, data: string(e.addr.AsSlice())})
		}
	}
	if qtype == dns.TypeSRV {
		r.answer, r.extra = c.zonalTargets(name, z, ready)
	}
	if len(r.answer) == 0 {
		return noData
	}
	for _, section := range []*[]diffRR{&r.answer, &r.extra} {
		slices.SortFunc(*section, diffRR.compare)
		*section = slices.Compact(*section)
	}
	return r
}

// zonalTargets returns the SRV records of endpoints, each given once for each of its ports, and the
// addresses of their targets.
func (c *diffComparer) zonalTargets(name string, z diffZonalName, endpoints []diffFact) (answer, extra []diffRR) {
	weight := uint16(max(1, 100/max(1, len(endpoints))))
	for _, e := range endpoints {
		target := e.host + "." + c.fqdn(e.service)
		for _, p := range e.ports {
			if p.Port != nil && (z.port == "" || z.port == "_"+*p.Name && z.protocol == "_"+strings.ToLower(string(*p.Protocol))) {
				answer = append(answer, diffRR{name: name, rrtype: dns.TypeSRV, ttl: diffTTL, data: target, port: uint16(*p.Port), weight: weight})
			}
		}
		for _, peer := range diffAt(c.endpoints, e.service, e.host) {
			rrtype := dns.TypeA
			if peer.addr.Is6() {
				rrtype = dns.TypeAAAA
			}
			extra = append(extra, diffRR{name: target, rrtype: rrtype, ttl: diffTTL, data: string(peer.addr.AsSlice())})
		}
	}
	return answer, extra
}

// checkZonal returns an error if the name is a zonal one and the reply another than that of
// zonalReply. The comparer checks that even if the replies agree: kubernetes replies the same to
// many names of which it does not know what they are.
func (c *diffComparer) checkZonal(name string, qtype uint16, ours *diffReply) error {
	z, ok := c.zonalOf(name)
	if !ok {
		return nil
	}
	as := qtype
	if qtype == dns.TypeANY && len(ours.answer) > 0 {
		as = ours.answer[0].rrtype
	}
	want := c.zonalReply(name, z, as)
	c.countZonal(z, want)
	if !ours.equal(want) {
		return fmt.Errorf("%s %s:\nheadless replies\n%v\nwant %s, answer %v, additional %v, authority %v", name, dns.TypeToString[qtype], ours.msg,
			dns.RcodeToString[want.rcode], want.answer, want.extra, want.ns)
	}
	return nil
}

// countZonal counts a query for a zonal name by its form and reply.
func (c *diffComparer) countZonal(z diffZonalName, want *diffReply) {
	switch {
	case want.rcode != dns.RcodeSuccess:
		c.counts[diffZonalNone]++
		return
	case z.zone == "" || z.port == "" && z.protocol != "":
		c.counts[diffZonalEmpty]++
		return
	}
	has, key := c.zoneHas(z), diffZonal+z.directive+diffZonalLacks
	if has {
		key = diffZonal + z.directive + diffZonalHas
	}
	if z.port != "" {
		key += diffZonalPort
	}
	c.counts[key]++
	if !has {
		return
	}
	for _, rr := range want.answer {
		other := func(e diffFact) bool { return e.service == z.service && e.zone != z.zone }
		switch {
		case slices.ContainsFunc(c.endpoints, func(e diffFact) bool { return other(e) && string(e.addr.AsSlice()) == rr.data }):
			c.counts[diffZonalTwice]++
		case slices.ContainsFunc(c.endpoints, func(e diffFact) bool { return other(e) && e.host+"."+c.fqdn(e.service) == rr.data }):
			c.counts[diffZonalHosts]++
		}
	}
}

// isOtherZone reports whether kubernetes's reply is that for a zone of no endpoint.
func (c *diffComparer) isOtherZone(q *diffQuestion, z diffZonalName) bool {
	other := diffZonalNoSuch + "." + z.directive + "._zone." + c.fqdn(z.service)
	r, err := c.ask(c.theirs, other, q.qtype)
	if err != nil {
		return false
	}
	for i := range r.answer {
		r.answer[i].name = q.name
	}
	return r.equal(q.theirs)
}

// zonalQuestions returns zonal names of a headless service, of all forms.
func (f *diffFacts) zonalQuestions(service string, ports []string) []string {
	if !f.options().zonal { // no such name exists
		return []string{"_zone." + f.fqdn(service), "us-a.pin._zone." + f.fqdn(service)}
	}
	// Of the forms left of "_zone".
	out := []string{"", "only.", "us-a.only.", "us-a.", "_tcp.", "pin.us-a.", "_zone.", "a.b.c.d.only."}
	zones := []string{"us-a", "eu-1", "corp.example.com", "pin", diffZonalNoSuch, "example.com", "us-a.pin", "prefer"}
	for i, directive := range []string{"pin", "prefer"} {
		add := func(left string) { out = append(out, left+directive+".") }
		add("")
		for _, zone := range zones {
			add(zone + ".")
		}
		for k, port := range ports[:min(8, len(ports))] {
			add(port + zones[(int(f.seed)+i+k)%5] + ".")
		}
		for k, odd := range []string{"_tcp.", "_udp.", "_http.", "_no-such._tcp.", "_._tcp.", "_tcp._tcp._tcp.", "a._tcp.", "_tcp.a._tcp."} {
			add(odd + zones[(int(f.seed)+i+k)%5] + ".")
		}
		add("_tcp.")
		add("_http._tcp.")
		add("us-a._tcp.")
	}
	for i := range out {
		out[i] += "_zone." + f.fqdn(service)
	}
	if len(diffAt(f.endpoints, service, "")) == 0 { // nearly all have the same reply
		i := int(f.seed % 5)
		return slices.DeleteFunc(out, func(string) bool { i++; return i%5 > 0 })
	}
	return out
}
