package main

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"
)

// diffModel tells what a plugin must answer about a clusterset, by the specification of KEP-1645,
// the documentation of the option "multicluster" and, in the cluster's own zone, the Kubernetes DNS
// specification. It is computed from the objects alone.
//
// In the deviations of a set, the model answers as kubernetes does instead. With all of them, it
// must be what kubernetes answers: then there is no other difference.
type diffModel struct {
	*diffModelFacts
	like diffDeviationSet
}

// diffModelFacts are the facts about a state of a clusterset.
type diffModelFacts struct {
	namespace string
	headless  map[string]bool         // the imports and services without an address of their own, by name
	endpoints map[string][]diffPlaced // those that are ready, by service
	addressed map[string][]diffPlaced // those in the cluster's own zone, by the name of the address
}

// diffPlaced is an address of an endpoint in a zone.
type diffPlaced struct {
	service  string // fully qualified, or without a first label
	host     string // labels
	cluster  string // in lower case, or ""
	hostname bool
	counts   bool // for headless: the slice is of the service, and of a cluster
	addr     netip.Addr
	ports    []discoveryv1.EndpointPort
}

// diffClusterID matches the id of a cluster: one or more DNS labels.
var diffClusterID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

const diffClustersetZone = "clusterset.local."

func (f *diffModelFacts) fqdn(service, zone string) string {
	return service + "." + f.namespace + ".svc." + zone
}

func (c *diffClusterset) model() *diffModelFacts {
	f := &diffModelFacts{namespace: c.namespace, headless: make(map[string]bool), endpoints: make(map[string][]diffPlaced), addressed: make(map[string][]diffPlaced)}
	for _, i := range c.imports {
		if i.Spec.Type == mcsv1beta1.Headless && !strings.Contains(i.Name, ".") {
			f.headless[f.fqdn(i.Name, diffClustersetZone)] = true
		}
	}
	for _, s := range c.services {
		if s.Spec.ClusterIP == corev1.ClusterIPNone {
			f.headless[f.fqdn(s.Name, "cluster.local.")] = true
		}
	}
	for _, s := range c.manual {
		service, imported := s.Labels[diffImportLabel]
		if imported {
			cluster := strings.ToLower(s.Labels[diffClusterLabel])
			f.place(s, diffPlaced{service: f.fqdn(service, diffClustersetZone), cluster: cluster, counts: diffClusterID.MatchString(cluster)})
		}
		f.place(s, diffPlaced{service: f.fqdn(s.Labels[discoveryv1.LabelServiceName], "cluster.local."), counts: !imported})
	}
	return f
}

// place adds the ready endpoints of a slice at a service.
func (f *diffModelFacts) place(s *discoveryv1.EndpointSlice, at diffPlaced) {
	for _, e := range s.Endpoints {
		if !ptr.Deref(e.Conditions.Ready, true) {
			continue
		}
		for _, text := range e.Addresses {
			p := at
			p.addr, p.ports = netip.MustParseAddr(text), s.Ports
			p.host = diffDashed(p.addr)
			if p.hostname = e.Hostname != nil; p.hostname {
				p.host = *e.Hostname
			}
			if strings.HasSuffix(p.service, diffClustersetZone) {
				p.host += "." + p.cluster
			} else if reverse, err := dns.ReverseAddr(text); err == nil {
				f.addressed[reverse] = append(f.addressed[reverse], p)
			}
			f.endpoints[p.service] = append(f.endpoints[p.service], p)
		}
	}
}

// serviceOf returns the headless import or service that a name is at or below, and the labels below
// it. The service is "" if there is none.
func (f *diffModelFacts) serviceOf(name string) (service string, below []string) {
	for service = range f.headless {
		if below, ok := strings.CutSuffix(name, service); ok && below == "" {
			return service, nil
		} else if ok && strings.HasSuffix(below, ".") {
			return service, strings.Split(strings.TrimSuffix(below, "."), ".")
		}
	}
	return "", nil
}

// owns reports whether headless answers for a name without the option "authoritative".
func (m diffModel) owns(name string) bool {
	service, _ := m.serviceOf(name)
	return service != "" || strings.HasSuffix(name, ".arpa.") && len((diffModel{m.diffModelFacts, 0}).pointers(name)) > 0
}

// replies returns the replies of which the plugin must give one.
func (m diffModel) replies(name string, qtype uint16) []*diffReply {
	if qtype != dns.TypeANY || m.like.has(diffLikeANY) {
		return []*diffReply{m.reply(name, qtype)}
	}
	var out []*diffReply
	for _, each := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR} {
		if r := m.reply(name, each); len(r.answer) > 0 {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		out = append(out, m.reply(name, qtype))
	}
	return out
}

// accepts reports whether a reply is what the plugin must give.
func (m diffModel) accepts(r *diffReply, name string, qtype uint16) bool {
	return slices.ContainsFunc(m.replies(name, qtype), r.equal)
}

// reply returns the reply about a name that headless owns. That to ANY has no answers.
func (m diffModel) reply(name string, qtype uint16) *diffReply {
	var r diffReply
	exists := false
	if strings.HasSuffix(name, ".arpa.") {
		exists = qtype == dns.TypePTR || !m.like.has(diffLikeReverse)
		if qtype == dns.TypePTR {
			r.answer = m.pointers(name)
		}
	} else {
		r, exists = m.positive(name, qtype)
	}
	r.aa = true
	if !exists && (qtype != dns.TypeSOA || !m.like.has(diffLikeSOA)) {
		r.rcode = dns.RcodeNameError
	}
	if len(r.answer) == 0 {
		r.ns = []diffRR{diffSOAOf(name)}
	}
	return &r
}

// diffSOAOf returns the SOA record of the zone of a name.
func diffSOAOf(name string) diffRR {
	zone := diffZoneOf(name)
	return diffRR{name: zone, rrtype: dns.TypeSOA, ttl: diffTTL, data: "ns.dns." + zone + " hostmaster." + zone, numbers: diffSOA.numbers}
}

// diffZoneOf returns the zone of a name.
func diffZoneOf(name string) string {
	for _, zone := range []string{diffClustersetZone, "cluster.local.", "in-addr.arpa."} {
		if strings.HasSuffix(name, zone) {
			return zone
		}
	}
	return "ip6.arpa."
}

// positive returns the records at or below a service, and whether the name exists.
func (m diffModel) positive(name string, qtype uint16) (r diffReply, exists bool) {
	service, below := m.serviceOf(name)
	here, port := m.at(service, below)
	exists = len(here) > 0 || m.nonTerminal(service, strings.Join(below, "."))
	switch qtype {
	case dns.TypeA, dns.TypeAAAA:
		if !port || m.like.has(diffLikePortAddresses) {
			r.answer = diffAddresses(here, qtype, func(diffPlaced) string { return name })
		}
	case dns.TypeSRV:
		r.answer, r.extra = m.targets(name, service, here)
	}
	return r, exists
}

// at returns the endpoints at a name below a service, each with the ports there, and whether the
// name has the form of that of a port.
func (m diffModel) at(service string, below []string) (out []diffPlaced, port bool) {
	if len(below) > 2 && m.like.has(diffLikeDeep) {
		return nil, false
	}
	name, protocol, port := m.portOf(service, below)
	for _, e := range m.endpoints[service] {
		host := strings.TrimSuffix(e.host, ".") // kubernetes has hosts without a cluster
		if !e.counts && !m.like.has(diffLikeAnySlice(service)) || !port && len(below) > 0 && host != strings.Join(below, ".") {
			continue
		}
		ports := e.ports
		if len(ports) == 0 && m.like.has(diffLikeNumberless) { // one without a number stands for none
			ports = []discoveryv1.EndpointPort{{Name: ptr.To(""), Protocol: ptr.To(corev1.Protocol(""))}}
		}
		e.ports = nil
		for _, p := range ports {
			if (p.Port != nil || m.like.has(diffLikeNumberless)) &&
				(!port || (name == "" || name == *p.Name) && (protocol == "" || strings.EqualFold(protocol, string(*p.Protocol)))) {
				e.ports = append(e.ports, p)
			}
		}
		if !port || len(e.ports) > 0 {
			out = append(out, e)
		}
	}
	return out, port
}

// portOf returns the port and the protocol of a name that has the form of that of a port.
func (m diffModel) portOf(service string, below []string) (port, protocol string, ok bool) {
	if len(below) != 2 {
		return "", "", false
	}
	port, protocol = strings.TrimPrefix(below[0], "_"), strings.TrimPrefix(below[1], "_")
	underscores := len(below[0]) - len(port) + len(below[1]) - len(protocol)
	if m.like.has(diffLikeUnderscore) {
		return port, protocol, underscores > 0 || !strings.HasSuffix(service, diffClustersetZone)
	}
	return port, protocol, underscores == 2 && port != "" && protocol != ""
}

// nonTerminal reports whether a name exists only as there are names below it: that of a cluster, or
// that of a protocol.
func (m diffModel) nonTerminal(service, below string) bool {
	if below == "" {
		return false
	}
	here, _ := m.at(service, nil)
	below = "." + below
	return slices.ContainsFunc(here, func(e diffPlaced) bool {
		return !m.like.has(diffLikeClusters) && strings.HasSuffix(service, diffClustersetZone) && strings.HasSuffix("."+e.cluster, below) ||
			!m.like.has(diffLikeProtocols) && slices.ContainsFunc(e.ports, func(p discoveryv1.EndpointPort) bool {
				return *p.Name != "" && below == "._"+strings.ToLower(string(*p.Protocol))
			})
	})
}
