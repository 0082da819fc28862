package informer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unique"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// Endpoints are a function of a service and one pod or slice, and of nothing
// else: what a change takes away is computed from the old objects, what it
// brings from the new.

// podEndpoints yields the endpoints that a pod is of a service, which selects
// it. The rules are those of the EndpointSlice controller; where it leaves a pod
// out that may yet answer, the endpoint is withheld with the reason.
func podEndpoints(s *member, p *object.Pod, n *naming, yield func(records.Endpoint)) {
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

// portsOf returns the service's ports as the pods of a template have them. A port
// whose name no container has is left out.
func (s *member) portsOf(t *object.PodTemplate) *records.PortList {
	if len(s.targets) == 0 {
		return s.fixed
	}
	ports, ok := s.resolved[t.Ports]
	if !ok {
		ports = s.resolve(t.NamedPorts())
		if s.resolved == nil {
			s.resolved = make(map[unique.Handle[object.NamedPorts]]*records.PortList)
		}
		s.resolved[t.Ports] = ports
	}
	return ports
}

// resolve returns the ports of the pods with some named ports. Each pod of a service with
// many ports may have its own list. So a long one costs little until the trie asks for it,
// however many ports both have. Its id has those named ports that the service looks for.
// It has all of them if they are more than comparedPorts: lists may then differ only in
// their ids.
func (s *member) resolve(named object.NamedPorts) *records.PortList {
	ports := s.sorted
	if ports == nil {
		resolved, read := resolve(s.Ports, named)
		s.read += read
		return records.NewPortList(resolved)
	}
	id := append(s.digest[:], named.Digest...)
	if named.Digest == "" {
		for target, number := range named.All {
			s.read++
			if _, ok := slices.BinarySearchFunc(s.targets, target, object.TargetPort.Compare); ok {
				id = fmt.Appendf(id, "%s/%s/%d\n", target.Name, target.Protocol, number)
			}
		}
	}
	return records.NewLazyPortList(id, func() []records.Port {
		resolved, _ := resolve(ports, named)
		return resolved
	})
}

// resolve returns ports with the numbers that the named ports of a pod give them, and how
// many lines of these it read.
func resolve(ports []object.ServicePort, named object.NamedPorts) (out []records.Port, read int) {
	out = make([]records.Port, 0, len(ports))
	for _, sp := range ports {
		number := sp.Number
		if sp.Target != "" {
			var n int
			number, n = named.Find(sp.TargetPort())
			if read += n; number == 0 {
				continue
			}
		}
		out = append(out, records.Port{Name: sp.Name, Protocol: sp.Protocol, Number: number})
	}
	return out, read
}

// sliceEndpoints yields what some endpoints of a slice are of a service. If the service
// has publishNotReadyAddresses, they are ready whatever the slice says: the controllers
// write it so, but a slice made by hand may not.
func sliceEndpoints(s *member, slice *object.EndpointSlice, endpoints []object.Endpoint, n *naming, yield func(records.Endpoint)) {
	for _, e := range endpoints {
		reason := records.Ready
		switch {
		case e.Ready || s.PublishNotReady:
		case e.Terminating:
			reason = records.Terminating
		default:
			reason = records.NotReady
		}
		host := e.Hostname
		if host == "" {
			host = n.pod(e.Pod)
		}
		yield(n.at(records.Endpoint{Host: host, Hostname: e.Hostname != "", Ports: slice.Ports, Withheld: reason}, e.Addr))
	}
}

// naming gives endpoints that have no hostname their labels. It remembers the last
// ones, as thousands of services may select one pod.
type naming struct {
	podNames bool
	v4, v6   dashedAddr
	name     string // of a pod
	valid    bool   // name is a label
}

// pod returns the label that a pod's name makes, or "".
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

// at returns the endpoint with an address. One that has no other name gets it
// from there.
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

// dashedAddr is an address with its label.
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
