package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// diffDeviationSet is a set of deviations in names of clustersets and beside them.
type diffDeviationSet uint32

// The deviations. Without one, headless answers as kubernetes does.
const (
	diffLikeDeep diffDeviationSet = 1 << iota
	diffLikeClusters
	diffLikeNoCluster
	diffLikeImported
	diffLikeProtocols
	diffLikePortAddresses
	diffLikeUnderscore
	diffLikeNumberless
	diffLikeGlue
	diffLikeANY
	diffLikeSOA
	diffLikeReverse
	diffLikePointers
	diffLikeKubernetes = iota // all
)

// diffImportDeviations are their names, which include the rule.
var diffImportDeviations = [diffLikeKubernetes]string{
	"a host of a cluster with a dotted id has its name (KEP-1645, section 2.4.1 of the specification)",
	"the name of a cluster is an empty non-terminal (RFC 4592, section 2.2.2)",
	"a slice that names no cluster has no host (KEP-1645, section 2.1 of the specification; KEP-2149)",
	"a slice of an import is of no service (KEP-1645)",
	"the name of a protocol is an empty non-terminal (RFC 4592, section 2.2.2)",
	"the name of a port has SRV records alone (KEP-1645, section 2.4.2 of the specification)",
	"port and protocol begin with an underscore (RFC 2782)",
	"a port without a number has no name and no share in weights (KEP-1645, section 2.4.2 of the specification)",
	"glue is the whole set of the target's addresses (RFC 2181, section 5)",
	"ANY gives one set (RFC 8482, section 4.1)",
	"SOA of a missing name is NXDOMAIN (RFC 1034, section 4.3.2)",
	"another type than PTR at a reverse name is no data (RFC 2308, section 2.2)",
	"PTR gives names of headless services, hostnames before others (Kubernetes DNS specification, section 2.4.3)",
}

func (s diffDeviationSet) has(d diffDeviationSet) bool { return s&d != 0 }

// diffLikeAnySlice is the deviation that keeps a slice out of a service of its zone.
func diffLikeAnySlice(service string) diffDeviationSet {
	if strings.HasSuffix(service, diffClustersetZone) {
		return diffLikeNoCluster
	}
	return diffLikeImported
}

const diffAllDeviations diffDeviationSet = 1<<diffLikeKubernetes - 1

// diffImportServers are the servers under test.
type diffImportServers struct {
	kubernetes *diffServer
	headless   []*diffServer // with different options that make no difference
	primary    *diffServer   // headless with the option "authoritative"
	fast       string        // address of headless with the fast path
}

func (s *diffImportServers) all() []*diffServer {
	return append(slices.Clone(s.headless), s.primary, s.kubernetes)
}

// diffImportComparer compares both plugins with the model of a clusterset.
type diffImportComparer struct {
	*diffClusterset
	model    *diffModelFacts
	servers  *diffImportServers
	transfer diffTransfer
	counts   diffCounts
}

// The forms of the names that the test asks for.
const (
	diffFormService  = "a service"
	diffFormHost     = "a host"
	diffFormDeep     = "a host of a cluster with a dotted id"
	diffFormCluster  = "a cluster"
	diffFormProtocol = "a protocol"
	diffFormPort     = "a port"
	diffFormOther    = "of another form"
	diffFormReverse  = "an address"
)

// names returns the names that the clusterset has, had or might have, with their forms.
func (c *diffImportComparer) names() map[string]string {
	below := map[string]string{
		"": diffFormService, "no-such-host.": diffFormOther, "_.": diffFormOther, "_._tcp.": diffFormOther, "_web._.": diffFormOther,
		"no-such-host.c1.": diffFormHost, "db-0.c9.": diffFormHost, "c9.": diffFormCluster, "_no-such-port._tcp.": diffFormPort,
		"_web.c1.": diffFormOther, "db-0._c1.": diffFormOther, "_web._tcp.c1.": diffFormOther, "_web._tcp.db-0.c1.": diffFormOther,
		"below.db-0.c1.": diffFormDeep, "below.db-0.eu.c1.": diffFormDeep, "x.y.z.w.v.": diffFormDeep,
	}
	for _, protocol := range []string{"_tcp.", "_udp.", "_sctp.", "_no-such-protocol."} {
		below[protocol] = diffFormProtocol
	}
	out := make(map[string]string)
	addAddress := func(text string) {
		name, err := dns.ReverseAddr(text)
		if err != nil {
			panic(err)
		}
		out[name] = diffFormReverse
	}
	addAddress(c.addr(true, 99)) // of no endpoint
	for i, s := range c.manual {
		cluster := strings.ToLower(s.Labels[diffClusterLabel])
		for at, id := 0, cluster; id != ""; {
			below[id+"."] = diffFormCluster
			if at = strings.IndexByte(id, '.'); at < 0 {
				break
			}
			id = id[at+1:]
		}
		for _, e := range s.Endpoints {
			for _, a := range e.Addresses {
				addAddress(a)
				host := diffDashed(netip.MustParseAddr(a)) + "."
				if e.Hostname != nil {
					host = *e.Hostname + "."
				}
				if below[host] == "" {
					below[host] = diffFormHost
				}
				for _, id := range []string{cluster, strings.ToLower(diffClusterIDs[i%len(diffClusterIDs)])} {
					switch dots := strings.Count(id, "."); {
					case id == "":
					case dots > 0:
						below[host+id+"."] = diffFormDeep
					default:
						below[host+id+"."] = diffFormHost
					}
				}
			}
		}
		for _, p := range s.Ports {
			port, protocol := *p.Name+".", strings.ToLower(string(*p.Protocol))+"."
			if *p.Name == "" {
				continue
			}
			below["_"+port+"_"+protocol] = diffFormPort
			if i == 0 { // there are no ports without their underscores
				below["_"+port+protocol], below[port+"_"+protocol], below[port+protocol] = diffFormOther, diffFormOther, diffFormOther
			}
		}
	}
	for _, zone := range []string{diffClustersetZone, "cluster.local."} {
		for _, service := range diffImportNames {
			fqdn := c.model.fqdn(service, zone)
			if !c.model.headless[fqdn] { // headless passes these on; a few names are enough
				out[fqdn], out["db-0."+fqdn], out["db-0.c1."+fqdn] = diffFormService, diffFormHost, diffFormHost
				continue
			}
			for labels, form := range below {
				out[labels+fqdn] = form
			}
		}
	}
	return out
}

// compareAll asks for all names and types.
func (c *diffImportComparer) compareAll() error {
	names := c.names()
	sorted := slices.Sorted(maps.Keys(names))
	for i, name := range sorted {
		types := append(diffTypes, append(diffOtherTypes, dns.TypeHTTPS)[(uint64(i)+c.seed)%uint64(len(diffOtherTypes)+1)])
		if names[name] == diffFormReverse {
			types = append(diffTypes, diffOtherTypes...)
		}
		for _, qtype := range types {
			if err := c.compareOne(name, names[name], qtype); err != nil {
				return fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
			}
		}
	}
	if err := c.compareTransfer(names); err != nil {
		return err
	}
	return c.compareNamespace()
}

func (c *diffImportComparer) compareOne(name, form string, qtype uint16) error {
	var ours *diffReply
	for i, s := range c.servers.headless {
		asked := name
		if i == 1 {
			asked = diffMixed(name)
		}
		r, err := diffAsk(s.direct).reply(asked, qtype)
		if err != nil {
			return err
		}
		if i > 0 && !r.equal(ours) {
			return fmt.Errorf("headless replies\n%v\nand, with other options,\n%v", ours.msg, r.msg)
		}
		ours = r
	}
	form += " in " + diffZoneOf(name)
	exact := diffModel{c.model, 0}
	primary, err := diffAsk(c.servers.primary.direct).reply(name, qtype)
	if err != nil {
		return err
	}
	if !exact.owns(name) {
		c.counts["passed on: "+form]++
		if !ours.passed() {
			return fmt.Errorf("headless answers, want the query passed on:\n%v", ours.msg)
		}
		if !primary.negative(dns.RcodeNameError) || primary.ns[0] != diffSOAOf(name) {
			return fmt.Errorf("with authoritative, headless replies, want NXDOMAIN:\n%v", primary.msg)
		}
		return nil
	}
	if !exact.accepts(ours, name, qtype) {
		return fmt.Errorf("headless replies\n%v\nwant %+v", ours.msg, exact.replies(name, qtype)[0])
	}
	if !primary.equal(ours) {
		return fmt.Errorf("headless replies\n%v\nand, with authoritative,\n%v", ours.msg, primary.msg)
	}
	c.counts[diffOutcome(ours)+": "+form]++
	theirs, err := diffAsk(c.servers.kubernetes.direct).reply(name, qtype)
	if err != nil {
		return err
	}
	if all := (diffModel{c.model, diffAllDeviations}); !all.accepts(theirs, name, qtype) {
		return fmt.Errorf("kubernetes replies\n%v\nwant %+v by the deviations\nheadless replies\n%v", theirs.msg, all.replies(name, qtype)[0], ours.msg)
	}
	if ours.equal(theirs) {
		c.counts["agreed"]++
		return nil
	}
	return c.countDeviations(name, qtype, ours, theirs)
}

// countDeviations counts the deviations that make a difference: with it alone, headless would answer
// otherwise, or without it alone, kubernetes would.
func (c *diffImportComparer) countDeviations(name string, qtype uint16, ours, theirs *diffReply) error {
	found := false
	for i, deviation := range diffImportDeviations {
		d := diffDeviationSet(1) << i
		if !(diffModel{c.model, d}).accepts(ours, name, qtype) || !(diffModel{c.model, diffAllDeviations &^ d}).accepts(theirs, name, qtype) {
			c.counts["with deviation: "+deviation]++
			found = true
		}
	}
	if !found {
		return fmt.Errorf("no deviation makes the difference: headless replies\n%v\nkubernetes replies\n%v", ours.msg, theirs.msg)
	}
	c.counts["deviated"]++
	return nil
}

// diffOutcome returns the kind of a reply.
func diffOutcome(r *diffReply) string {
	switch {
	case r.rcode == dns.RcodeNameError:
		return "NXDOMAIN"
	case len(r.answer) == 0:
		return "no data"
	}
	return "answer"
}
