package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
)

const (
	diffTTL = 5 // of every record, by default
	// diffDenialTTL is the TTL of denials with the option of that name.
	diffDenialTTL = 2
)

// What known returns.
const (
	diffHost    = "a host that " // followed by the reason
	diffNoPod   = "no pod has yet"
	diffService = "a service without a ready endpoint"
	diffPort    = "a port of a service without a ready endpoint"
	diffInZone  = "a zonal name of a service without a ready endpoint"
)

// The counts of queries that "bare" makes a difference to, or must not.
const (
	diffBare        = "with denial bare: no SOA for " // followed by what known returns
	diffBareUnknown = "with denial bare: SOA for a name that no pod is about to have"
	diffBareNoData  = "with denial bare: SOA for no data at a host or service that is not ready"
)

// diffSOA is the record in denials of names of services, without the option "denial".
var diffSOA = diffRR{
	name: "cluster.local.", rrtype: dns.TypeSOA, ttl: diffTTL, data: "ns.dns.cluster.local. hostmaster.cluster.local.",
	numbers: [...]uint32{7200, 1800, 86400, diffTTL},
}

// askOurs queries headless. If the server has the option "denial", askOurs checks the SOA record of
// a denial, or its absence, and returns the reply of a server without the option.
func (c *diffComparer) askOurs(name string, qtype uint16) (*diffReply, error) {
	r, err := c.ask(c.ours, name, qtype)
	if err != nil || !c.options().bare || len(r.answer) > 0 || r.passed() {
		return r, err
	}
	known := c.known(name)
	switch {
	case r.rcode == dns.RcodeNameError && known != "":
		c.counts[diffBare+known]++
		if len(r.ns) > 0 {
			return nil, fmt.Errorf("%s %s: the denial has an SOA record, want none for %s:\n%v", name, dns.TypeToString[qtype], known, r.msg)
		}
		r.ns = []diffRR{diffSOA}
		return r, nil
	case r.rcode == dns.RcodeNameError:
		c.counts[diffBareUnknown]++
	case known != "":
		c.counts[diffBareNoData]++
	}
	if len(r.ns) != 1 || r.ns[0].rrtype != dns.TypeSOA || r.ns[0].ttl != diffDenialTTL || r.ns[0].numbers[3] != diffDenialTTL {
		return nil, fmt.Errorf("%s %s: the authority section is not an SOA record with TTL and minimum %d:\n%v",
			name, dns.TypeToString[qtype], diffDenialTTL, r.msg)
	}
	r.ns[0].ttl, r.ns[0].numbers[3] = diffTTL, diffTTL
	return r, nil
}

// known returns what a name without a ready endpoint is, if a pod may be about to have it: a host, a
// headless service, one of its ports, or a zonal name of any form. Otherwise it returns "".
func (f *diffFacts) known(name string) string {
	if z, ok := f.zonalOf(name); ok {
		if z.unknown || len(diffAt(f.endpoints, z.service, "")) > 0 {
			return ""
		}
		return diffInZone
	}
	p, ok := f.placeOf(name)
	if !ok || !f.headless[p.service] || len(diffAt(f.endpoints, p.service, p.host)) > 0 {
		return ""
	}
	switch {
	case p.port:
		return diffPort
	case p.host == "":
		return diffService
	}
	if withheld := diffAt(f.withheld, p.service, p.host); len(withheld) > 0 {
		return diffHost + withheld[0].reason
	}
	if f.mistaken(p) {
		return ""
	}
	return diffHost + diffNoPod
}

// mistaken reports whether a pod of the service would have the host, but for its subdomain or its
// address family. Slices do not tell.
func (f *diffFacts) mistaken(p diffPlace) bool {
	return !f.options().slices && slices.ContainsFunc(f.services, func(svc *corev1.Service) bool {
		return svc.Name == p.service && slices.ContainsFunc(f.selected(svc), func(pod *corev1.Pod) bool { return pod.Spec.Hostname == p.host })
	})
}

// diffPlace is the place of a name at or below a headless service.
type diffPlace struct {
	service, host string // host is empty unless the name has the form of one
	port          bool   // the name has the form of that of a port or a protocol
}

// placeOf returns the place of a name, unless it has another form.
func (f *diffFacts) placeOf(name string) (diffPlace, bool) {
	if !strings.HasSuffix(name, f.fqdn("")) {
		return diffPlace{}, false
	}
	underscored := func(label string) bool { return len(label) > 1 && label[0] == '_' }
	switch labels := f.below(name); {
	case len(labels) == 1:
		return diffPlace{service: labels[0]}, true
	case len(labels) == 2 && underscored(labels[0]):
		return diffPlace{service: labels[1], port: true}, true
	case len(labels) == 2:
		return diffPlace{service: labels[1], host: labels[0]}, true
	case len(labels) == 3 && underscored(labels[0]) && underscored(labels[1]):
		return diffPlace{service: labels[2], port: true}, true
	}
	return diffPlace{}, false
}
