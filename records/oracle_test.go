package records

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// oracle is a slow but simple trie: a list of the endpoints of each service, which it
// searches for every answer.
type oracle map[ServiceKey][]Endpoint

func (o oracle) remove(key ServiceKey, e Endpoint) {
	i := slices.IndexFunc(o[key], func(x Endpoint) bool {
		same := x.Ports.Equal(e.Ports)
		x.Ports = e.Ports
		return same && x == e
	})
	o[key] = slices.Delete(o[key], i, i+1)
}

func (o oracle) ready(key ServiceKey) []Endpoint {
	return slices.DeleteFunc(slices.Clone(o[key]), func(e Endpoint) bool { return e.Withheld != Ready })
}

// named returns the endpoints whose addresses hosts have: the ready ones, and the addressed ones
// of hosts without a ready one.
func (o oracle) named(key ServiceKey) []Endpoint {
	ready := o.ready(key)
	return append(ready, slices.DeleteFunc(slices.Clone(o[key]), func(e Endpoint) bool {
		return e.Withheld != NotReady || !e.Addressed || slices.ContainsFunc(ready, func(r Endpoint) bool { return r.Host == e.Host })
	})...)
}

// portsOf returns a function that returns the ports of an endpoint that have SRV records.
// Of the long lists of the service, the first 8 by digest are served.
func (o oracle) portsOf(key ServiceKey) func(Endpoint) []Port {
	var served []string
	for _, e := range o.ready(key) {
		if e.Ports != nil && e.Ports.digest != "" {
			served = append(served, e.Ports.digest)
		}
	}
	slices.Sort(served)
	served = slices.Compact(served)
	served = served[:min(len(served), 8)]
	return func(e Endpoint) []Port {
		if e.Withheld != Ready {
			return nil
		}
		if e.Ports != nil && e.Ports.digest != "" && !slices.Contains(served, e.Ports.digest) {
			return nil
		}
		return e.Ports.Ports()
	}
}

// ofClusterset returns the oracle with hosts named HOST.CLUSTER.
func (o oracle) ofClusterset() oracle {
	out := oracle{}
	for key, endpoints := range o {
		out[key] = slices.Clone(endpoints)
		for i, e := range endpoints {
			out[key][i].Host = e.Host + "." + e.Zone
		}
	}
	return out
}

// find returns the result of a lookup in the zone cluster.local or clusterset.local, and the data
// of the records in presentation format, sorted.
func (o oracle) find(name string, rrtype uint16) (Result, []string) {
	name = foldASCII(name)
	labels := dns.SplitDomainName(name)
	slices.Reverse(labels)
	if len(labels) > 0 && labels[0] == "arpa" {
		return o.findAddr(name, rrtype)
	}
	if len(labels) < 5 || labels[0] != "local" || labels[1] != "cluster" && labels[1] != "clusterset" || labels[2] != "svc" {
		return Outside, nil
	}
	zone := labels[1] + ".local."
	labels = labels[3:]
	key := ServiceKey{labels[0], labels[1]}
	if _, ok := o[key]; !ok {
		return Outside, nil
	}
	base := key.Name + "." + key.Namespace + ".svc." + zone
	host := strings.TrimSuffix(strings.TrimSuffix(name, base), ".")
	var answer []string
	var targets []string
	exists := false
	ports := o.portsOf(key)
	for _, e := range o.named(key) {
		address := func() {
			exists = true
			if e.Withheld != Ready && len(labels) == 2 {
				return
			}
			if e.Addr.Is4() == (rrtype == dns.TypeA) && (rrtype == dns.TypeA || rrtype == dns.TypeAAAA) {
				answer = append(answer, e.Addr.String())
			}
		}
		target := func(p Port) {
			exists = true
			if rrtype == dns.TypeSRV {
				targets = append(targets, fmt.Sprintf("%d %s.%s", p.Number, e.Host, base))
			}
		}
		switch {
		case len(labels) == 2, host == e.Host:
			address()
			for _, p := range ports(e) {
				target(p)
			}
		case strings.HasSuffix(e.Host, "."+host): // in a clusterset, the cluster or the end of its id
			exists = true
		case len(labels) == 3:
			for _, p := range ports(e) {
				exists = exists || p.Name != "" && len(p.Name) < 63 && labels[2] == "_"+p.Protocol
			}
		case len(labels) == 4:
			for _, p := range ports(e) {
				if p.Name != "" && labels[2] == "_"+p.Protocol && labels[3] == "_"+p.Name {
					target(p)
				}
			}
		}
	}
	if !exists {
		return Missing, nil
	}
	for _, t := range targets {
		answer = append(answer, fmt.Sprintf("0 %d %s", max(1, 100/len(targets)), t))
	}
	slices.Sort(answer)
	return Found, slices.Compact(answer)
}

// findIn is find, or findZonal if the trie has zonal names. The oracle of a clusterset must be that
// of ofClusterset.
func (o oracle) findIn(trie *Trie, name string, rrtype uint16) (Result, []string) {
	if trie.clusterset && strings.HasSuffix(foldASCII(name), "arpa.") {
		return Outside, nil
	}
	result, data := o.find(name, rrtype)
	if trie.zonal && result != Outside {
		if result, data, ok := o.findZonal(name, rrtype); ok {
			return result, data
		}
	}
	return result, data
}

// findZonal is find for a name with the label _zone below a service that exists. It reports
// whether the name is one.
func (o oracle) findZonal(name string, rrtype uint16) (_ Result, _ []string, ok bool) {
	labels := dns.SplitDomainName(foldASCII(name))
	n := len(labels) - 5 // labels left of the service
	if n < 1 || labels[n-1] != "_zone" {
		return Missing, nil, false
	}
	key := ServiceKey{labels[n+1], labels[n]}
	base := key.Name + "." + key.Namespace + ".svc.cluster.local."
	own, _ := o.find(base, dns.TypeMX)
	if own != Found {
		return own, nil, true
	}
	if n == 1 {
		return Found, nil, true
	}
	directive := labels[n-2]
	if directive != "pin" && directive != "prefer" {
		return Missing, nil, true
	}
	if n == 2 {
		return Found, nil, true
	}
	rest := labels[:n-2]
	var port, protocol string
	if strings.HasPrefix(rest[0], "_") {
		if len(rest) > 1 && strings.HasPrefix(rest[1], "_") {
			port, protocol, rest = rest[0], rest[1], rest[2:]
		} else {
			protocol, rest = rest[0], rest[1:]
		}
	}
	if len(rest) == 0 || strings.HasPrefix(rest[0], "_") {
		return Missing, nil, true
	}
	if protocol != "" {
		if below, _ := o.find(strings.TrimPrefix(port+"."+protocol+"."+base, "."), rrtype); below != Found || port == "" {
			return below, nil, true
		}
	}
	// The records are those at the name without the zone, if the service had the endpoints of the zone alone.
	in := oracle{key: slices.DeleteFunc(o.ready(key), func(e Endpoint) bool { return e.Zone != strings.Join(rest, ".") })}
	at := base
	if port != "" {
		at = port + "." + protocol + "." + base
	}
	if found, _ := in.withListsOf(o, key).find(at, rrtype); found != Found {
		if directive == "pin" {
			return Found, nil, true
		}
		in = oracle{key: o.ready(key)}
	}
	_, data := in.withListsOf(o, key).find(at, rrtype)
	return Found, data, true
}

// withListsOf returns the oracle without the long lists that the same service does not serve in
// another one, which has more endpoints.
func (o oracle) withListsOf(all oracle, key ServiceKey) oracle {
	served := all.portsOf(key)
	out := slices.Clone(o[key])
	for i, e := range out {
		if len(served(e)) == 0 {
			out[i].Ports = nil
		}
	}
	return oracle{key: out}
}

// foldASCII returns a name with ASCII letters in lower case (RFC 4343).
func foldASCII(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

func (o oracle) findAddr(reverse string, rrtype uint16) (Result, []string) {
	var hostnames, generated []string
	for key := range o {
		for _, e := range o.named(key) {
			if name, _ := dns.ReverseAddr(e.Addr.String()); name != foldASCII(reverse) {
				continue
			}
			name := fmt.Sprintf("%s.%s.%s.svc.cluster.local.", e.Host, key.Name, key.Namespace)
			if e.Hostname {
				hostnames = append(hostnames, name)
			} else {
				generated = append(generated, name)
			}
		}
	}
	if len(hostnames) == 0 {
		hostnames = generated
	}
	if len(hostnames) == 0 {
		return Outside, nil
	}
	if rrtype != dns.TypePTR {
		return Found, nil
	}
	slices.Sort(hostnames)
	return Found, slices.Compact(hostnames)
}

// stats returns the statistics that a trie should have.
func (o oracle) stats() Stats {
	s := Stats{Services: len(o)}
	addrs := map[netip.Addr]bool{}
	for key, endpoints := range o {
		ports := o.portsOf(key)
		hosts, names := map[string]bool{}, map[string]bool{}
		shared, first := map[string]bool{}, map[string]netip.Addr{} // by host; and family
		for _, e := range endpoints {
			s.Endpoints[e.Withheld]++
		}
		for _, e := range o.named(key) {
			hosts[e.Host], addrs[e.Addr] = true, true
			family := fmt.Sprint(e.Host, e.Addr.Is4())
			if addr, ok := first[family]; ok && addr != e.Addr {
				shared[e.Host] = true
			}
			first[family] = e.Addr
			for _, p := range ports(e) {
				if p.Name != "" && len(p.Name) < 63 {
					names[p.Protocol+" "+p.Name] = true
				}
			}
		}
		s.Hosts += len(hosts)
		s.Shared += len(shared)
		s.Ports += len(names)
	}
	s.Addresses = len(addrs)
	return s
}
