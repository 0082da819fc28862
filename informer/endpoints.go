package informer

import (
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/headless-dns/headless/records"
)

// Endpoints are a function of a service and one pod or slice, and of nothing
// else: what a change takes away is computed from the old objects, what it
// brings from the new.

// podEndpoints returns the endpoints that a pod is of a service, which selects
// it. The rules are those of the EndpointSlice controller; where it leaves a pod
// out that may yet answer, the endpoint is withheld with the reason.
func podEndpoints(s *service, p *pod, podNames bool) []records.Endpoint {
	if p.finished {
		return nil
	}
	reason := records.Ready
	switch {
	case s.publishNotReady:
	case p.terminating:
		reason = records.Terminating
	case !p.ready:
		reason = records.NotReady
	}
	hostname := p.hostname != "" && p.subdomain == s.name
	host := ""
	switch {
	case hostname:
		host = p.hostname
	case podNames && isLabel(p.name):
		host = p.name
	}
	var ports []records.Port
	var out []records.Endpoint
	for _, a := range p.addrs {
		if a.Is4() && !s.v4 || !a.Is4() && !s.v6 {
			continue
		}
		if ports == nil {
			ports = podPorts(s, p)
		}
		out = append(out, newEndpoint(host, hostname, a, ports, reason))
	}
	if len(out) == 0 {
		if reason != records.Terminating {
			reason = records.NoAddress
			if len(p.addrs) > 0 {
				reason = records.WrongFamily
			}
		}
		return []records.Endpoint{{Host: host, Hostname: hostname, Withheld: reason}}
	}
	return out
}

// podPorts returns the service's ports as the pod has them. A port whose name no
// container has is left out.
func podPorts(s *service, p *pod) []records.Port {
	ports := make([]records.Port, 0, len(s.ports))
	for _, sp := range s.ports {
		number := sp.number
		if sp.target != "" {
			var ok bool
			if number, ok = p.port(sp.target, sp.protocol); !ok {
				continue
			}
		}
		ports = append(ports, records.Port{Name: sp.name, Protocol: sp.protocol, Number: number})
	}
	return ports
}

// sliceEndpoints returns the endpoints that a slice gives to its service.
func sliceEndpoints(s *endpointSlice, podNames bool) []records.Endpoint {
	ports := make([]records.Port, len(s.ports))
	for i, p := range s.ports {
		ports[i] = records.Port{Name: p.name, Protocol: p.protocol, Number: p.number}
	}
	out := make([]records.Endpoint, 0, len(s.endpoints))
	for _, e := range s.endpoints {
		reason := records.Ready
		switch {
		case e.ready:
		case e.terminating:
			reason = records.Terminating
		default:
			reason = records.NotReady
		}
		host := e.hostname
		if host == "" && podNames && isLabel(e.pod) {
			host = e.pod
		}
		out = append(out, newEndpoint(host, e.hostname != "", e.addr, ports, reason))
	}
	return out
}

func newEndpoint(host string, hostname bool, a netip.Addr, ports []records.Port, reason records.Reason) records.Endpoint {
	if host == "" {
		host = dashed(a)
	}
	return records.Endpoint{Host: host, Hostname: hostname, Addr: a, Ports: ports, Withheld: reason}
}

func isLabel(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// dashed writes an address as a label: 10-1-2-3 or 2001-db8--1. A label can't
// begin or end in a dash, so "::" at an end gets a zero, which is the same
// address.
func dashed(a netip.Addr) string {
	var s string
	if a.Is4() {
		return strings.ReplaceAll(a.String(), ".", "-")
	}
	s = strings.ReplaceAll(a.String(), ":", "-")
	if strings.HasPrefix(s, "-") {
		s = "0" + s
	}
	if strings.HasSuffix(s, "-") {
		s += "0"
	}
	return s
}
