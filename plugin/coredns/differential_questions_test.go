package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// diffTypes are queried at every name, and one of diffOtherTypes, of which only PTR has
// records, at reverse names.
var (
	diffTypes      = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeANY}
	diffOtherTypes = []uint16{dns.TypePTR, dns.TypeTXT, dns.TypeSOA}
)

// diffFacts are the facts about a cluster by which the test judges replies. They come
// from the EndpointSlices as the controller would write them, and not from a plugin. Only
// pods without an address are in no slice.
type diffFacts struct {
	*diffCluster
	headless  map[string]bool // by service
	endpoints []diffFact      // ready
	withheld  []diffFact      // not ready, terminating or, of pods, without an address
	early     []diffFact      // those of withheld whose addresses their hosts have
	hidden    []diffFact      // and those whose hosts would have them without a ready endpoint
	names     []string
}

// diffFact is an address of a headless service.
type diffFact struct {
	service, host string     // labels
	hostname      bool       // whether host is a hostname, not a dashed address
	addr          netip.Addr // zero if the pod has none
	ports         []discoveryv1.EndpointPort
	zone          string // in lower case
	reason        string // why it is withheld, or ""
}

func (c *diffCluster) fqdn(service string) string {
	return service + "." + c.namespace + ".svc.cluster.local."
}

func diffDashed(a netip.Addr) string {
	s := strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
	if strings.HasSuffix(s, "-") {
		s += "0"
	}
	return s
}

func (c *diffCluster) facts() *diffFacts {
	f := &diffFacts{diffCluster: c, headless: make(map[string]bool)}
	for _, s := range c.services {
		f.headless[s.Name] = s.Spec.ClusterIP == corev1.ClusterIPNone
	}
	for _, s := range c.slices() {
		service := s.Labels[discoveryv1.LabelServiceName]
		for _, e := range s.Endpoints {
			if !f.headless[service] {
				continue
			}
			for _, text := range e.Addresses {
				a := netip.MustParseAddr(text)
				fact := diffFact{service: service, host: diffDashed(a), addr: a, ports: s.Ports, zone: strings.ToLower(ptr.Deref(e.Zone, "")), reason: diffReason(e)}
				if e.Hostname != nil {
					fact.host, fact.hostname = *e.Hostname, true
				}
				if fact.reason == "" {
					f.endpoints = append(f.endpoints, fact)
				} else {
					f.withheld = append(f.withheld, fact)
				}
			}
		}
	}
	if !c.options().slices {
		f.withheld = append(f.withheld, f.withoutAddress()...)
	}
	f.giveEarly()
	f.names = f.questions()
	return f
}

// longLists returns the largest number of port lists longer than 16 that the endpoints of
// one service have.
func (f *diffFacts) longLists() int {
	lists := make(map[string]map[string]bool)
	most := 0
	for _, e := range f.endpoints {
		if len(e.ports) <= 16 {
			continue
		}
		var id strings.Builder
		for _, p := range e.ports {
			fmt.Fprintf(&id, "%s/%s/%d ", *p.Name, *p.Protocol, ptr.Deref(p.Port, 0))
		}
		if lists[e.service] == nil {
			lists[e.service] = make(map[string]bool)
		}
		lists[e.service][id.String()] = true
		most = max(most, len(lists[e.service]))
	}
	return most
}

// questions returns the names that the cluster has, had or might have.
func (f *diffFacts) questions() []string {
	hosts := []string{"", "no-such-host.", "_no-such-port._tcp.", "_tcp.", "_udp.", "_sctp.", "_no-such-protocol.", "_._tcp."}
	var ports []string
	seen := make(map[string]bool)
	addHost := func(host string) {
		if !seen[host] {
			seen[host] = true
			hosts = append(hosts, host+".")
		}
	}
	addrs := make(map[netip.Addr]bool)
	addAddr := func(text string) {
		a := netip.MustParseAddr(text)
		addrs[a] = true
		addHost(diffDashed(a))
	}
	addPort := func(name string, protocol corev1.Protocol) {
		if name != "" {
			port := "_" + name + "._" + strings.ToLower(string(protocol))
			if !seen[port] {
				ports = append(ports, port+".")
			}
			addHost(port)
		}
	}
	addAddr(f.addr(true, 99)) // of no endpoint
	addAddr(f.addr(false, 99))
	for _, p := range f.pods {
		addHost(p.Name)
		if p.Spec.Hostname != "" {
			addHost(p.Spec.Hostname)
		}
		for _, ip := range p.Status.PodIPs {
			addAddr(ip.IP)
		}
	}
	for _, s := range f.services {
		for _, p := range s.Spec.Ports {
			addPort(p.Name, p.Protocol)
		}
	}
	for _, s := range f.slices() {
		for _, p := range s.Ports {
			addPort(*p.Name, *p.Protocol)
		}
		for _, e := range s.Endpoints {
			if e.Hostname != nil {
				addHost(*e.Hostname)
			}
			for _, a := range e.Addresses {
				addAddr(a)
			}
		}
	}
	// There is nothing below a host, and no port without its underscores.
	last := hosts[len(hosts)-1]
	hosts = append(hosts, "below."+last, "far.below."+last, strings.ReplaceAll(last, "_", ""), "web.tcp.", "http._tcp.")

	var out []string
	for _, s := range f.services {
		if !f.headless[s.Name] { // headless passes these on; a few names are enough
			out = append(out, f.fqdn(s.Name), "us-a.pin._zone."+f.fqdn(s.Name), hosts[1]+f.fqdn(s.Name), last+f.fqdn(s.Name))
			continue
		}
		for _, host := range hosts {
			out = append(out, host+f.fqdn(s.Name))
		}
		out = append(out, f.zonalQuestions(s.Name, ports)...)
	}
	out = append(out, f.fqdn("no-such-service"), last+f.fqdn("ghost"))
	for a := range addrs {
		name, err := dns.ReverseAddr(a.String())
		if err != nil {
			panic(err)
		}
		out = append(out, name)
	}
	return out
}

// below returns the labels of a name to the left of the namespace.
func (f *diffFacts) below(name string) []string {
	return strings.Split(strings.TrimSuffix(name, f.fqdn("")), ".")
}

// ours reports whether headless owns a name: it is at or below a headless service, or the
// reverse name of one of its endpoints.
func (f *diffFacts) ours(name string) bool {
	if strings.HasSuffix(name, f.fqdn("")) {
		labels := f.below(name)
		return f.headless[labels[len(labels)-1]]
	}
	return len(f.pointers(name)) > 0
}

// pointers returns the targets of a reverse name by headless's rule: the hostnames of
// endpoints of headless services, else their dashed addresses. They resolve: an endpoint that
// is not ready has its host's name only while the host has the address.
func (f *diffFacts) pointers(reverse string) map[string]bool {
	hostnames, dashed := make(map[string]bool), make(map[string]bool)
	for _, e := range slices.Concat(f.endpoints, f.early) {
		if name, _ := dns.ReverseAddr(e.addr.String()); name != reverse {
			continue
		}
		if e.hostname {
			hostnames[e.host+"."+f.fqdn(e.service)] = true
		} else {
			dashed[e.host+"."+f.fqdn(e.service)] = true
		}
	}
	if len(hostnames) > 0 {
		return hostnames
	}
	return dashed
}
