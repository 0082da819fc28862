package informer

import (
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// Each endpoint of a service is a function of the service and one pod or slice, and of
// nothing else but the zone of the pod. So the endpoints that a change removes are computed from
// the old objects, and those that it adds from the new ones.

// podEndpoints yields the endpoints that a pod in a topology zone gives a service, which selects
// it. The rules are those of the EndpointSlice controller. Where the controller leaves out a pod
// that may become ready, the endpoint is withheld with the reason.
func podEndpoints(s *joinedService, p *object.Pod, zone string, n *naming, yield func(records.Endpoint)) {
	if p.Finished() {
		return
	}
	e := records.Endpoint{Withheld: records.Ready}
	switch {
	case s.PublishNotReady:
	case p.Terminating():
		e.Withheld = records.Terminating
	case !p.Ready():
		e.Withheld = records.NotReady
	}
	t := p.Template.Value()
	e.Host = p.Hostname()
	e.Hostname = e.Host != "" && t.Subdomain == s.Name
	if !e.Hostname {
		e.Host = n.pod(p.Name())
	}
	addressed, fits := false, false
	for a := range p.Addrs {
		addressed = true
		if a.Is4() && s.V4 || a.Is6() && s.V6 {
			fits = true
			e := e
			e.Ports = s.portsOf(&t)
			if e.Withheld == records.Ready {
				e.Zone = zone
			}
			e.Addressed = e.Withheld == records.NotReady && s.addressed
			yield(n.at(e, a))
		}
	}
	if fits {
		return
	}
	if e.Withheld != records.Terminating {
		e.Withheld = records.NoAddress
		if addressed {
			e.Withheld = records.WrongFamily
		}
	}
	yield(e)
}

// strayHostname returns the hostname of a pod, and true, if that is no name of the service,
// which selects the pod: the pod's subdomain is another.
func strayHostname(s *joinedService, p *object.Pod, n *naming) (records.Stray, bool) {
	hostname, subdomain := p.Hostname(), p.Template.Value().Subdomain
	if hostname == "" || subdomain == s.Name || p.Finished() || n.pod(p.Name()) == hostname {
		return records.Stray{}, false
	}
	return records.Stray{Hostname: hostname, Subdomain: subdomain}, true
}

// sliceRules are the properties of a service on which the endpoints of its slices depend.
type sliceRules struct {
	publishNotReady bool
	addressed       bool // endpoints that are not ready give their hosts their addresses
}

func (s *joinedService) sliceRules() sliceRules { return sliceRules{s.PublishNotReady, s.addressed} }

// sliceEndpoints yields the endpoints that some endpoints of a slice give a service. With
// publishNotReadyAddresses all are ready: the controllers write them as ready, but other
// writers may not. The zone of an endpoint of an imported slice is its cluster.
func sliceEndpoints(r sliceRules, slice *object.EndpointSlice, endpoints []object.Endpoint, n *naming, yield func(records.Endpoint)) {
	for _, e := range endpoints {
		reason := records.Ready
		switch {
		case e.Ready || r.publishNotReady:
		case e.Terminating:
			reason = records.Terminating
		default:
			reason = records.NotReady
		}
		host, zone := e.Name, slice.Cluster
		if !e.Hostname {
			host = n.pod(e.Name)
		}
		if n.zonal && !slice.Imported && reason == records.Ready {
			zone = e.Zone()
		}
		yield(n.at(records.Endpoint{
			Host: host, Hostname: e.Hostname, Ports: slice.Ports, Zone: zone,
			Withheld: reason, Addressed: reason == records.NotReady && r.addressed,
		}, e.Addr))
	}
}

// naming names endpoints without a hostname, and their zones. It caches the last ones, because
// thousands of services may select one pod.
type naming struct {
	podNames bool
	zonal    bool // Config.Zonal
	v4, v6   dashedAddr
	name     string // of the pod
	valid    bool   // whether name is a DNS label
	labelled *object.Pod
	zone     string // that labelled is labelled with
	read     int    // labels of zones so far; tests have budgets for them
}

// pod returns the name of a pod if that is its host label, else "".
func (n *naming) pod(name string) string {
	if !n.podNames {
		return ""
	}
	if n.name != name {
		n.name, n.valid = name, isLabel(name)
	}
	if !n.valid {
		return ""
	}
	return name
}

// at returns the endpoint with the address. If it has no host label, at derives one from
// the address.
func (n *naming) at(e records.Endpoint, a netip.Addr) records.Endpoint {
	e.Addr = a
	switch {
	case e.Host != "":
	case a.Is4():
		e.Host = n.v4.of(a)
	default:
		e.Host = n.v6.of(a)
	}
	return e
}

// dashedAddr caches the label of an address.
type dashedAddr struct {
	addr  netip.Addr
	label string
}

func (d *dashedAddr) of(a netip.Addr) string {
	if d.addr != a {
		d.addr, d.label = a, dashed(a)
	}
	return d.label
}

func isLabel(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// dashed returns an address as a label: 10-1-2-3 or 2001-db8--1. A label must not begin or
// end with a dash, so "::" at an end gets a zero, which leaves the address the same.
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
