package informer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// maxListed is the most pods or ports that one reason lists.
const maxListed = 5

// service explains the name of a headless service.
func (e *explanation) service(v *view, s *joinedService) {
	ready, total := 0, 0
	var withheld []*object.Pod
	for _, p := range e.selected(v, s) {
		total++
		if e.reason(s, p) == records.Ready {
			ready++
		} else {
			withheld = append(withheld, p)
		}
	}
	own := e.slicesOf(v, s)
	for _, slice := range own {
		for _, x := range slice.Endpoints {
			total++
			if e.givenBySlice(s, x).Withheld == records.Ready {
				ready++
			}
		}
	}
	e.add("service %s: %d of %d endpoints ready, from %s", s.Name, ready, total, e.source(s))
	if total == 0 {
		e.nothing(v, s)
	}
	for _, p := range firstPods(withheld) {
		e.state(s, p)
	}
	for _, slice := range own {
		for _, x := range slice.Endpoints {
			if e.givenBySlice(s, x).Withheld != records.Ready {
				e.sliceEndpoint(s, slice, x)
			}
		}
	}
}

// firstPods returns the pods that an explanation has room for, sorted by name. It sorts no more
// than these: there may be ten thousand.
func firstPods(pods []*object.Pod) []*object.Pod {
	compare := func(p, q *object.Pod) int { return strings.Compare(p.Name(), q.Name()) }
	var first []*object.Pod
	for _, p := range pods {
		at, _ := slices.BinarySearchFunc(first, p, compare)
		if at < MaxReasons {
			first = slices.Insert(first[:min(len(first), MaxReasons-1)], at, p)
		}
	}
	return first
}

// source returns what the endpoints of a service are made of.
func (e *explanation) source(s *joinedService) string {
	of, origin := "pods", "the API server"
	if len(e.informer.config.Manifests) > 0 {
		origin = "manifests"
	}
	if e.informer.joiner.fromSlices(s) {
		of = "EndpointSlices"
	}
	return of + " of " + origin
}

// nothing explains that a service has no endpoints.
func (e *explanation) nothing(v *view, s *joinedService) {
	switch {
	case len(s.Selector) == 0:
		e.add("service %s: it has no selector, so its endpoints are those of EndpointSlices that someone writes; there are none", s.Name)
		return
	case e.informer.joiner.slicesOnly:
		e.add("service %s: no EndpointSlice has an endpoint of it: its selector %s matches no pod with an address", s.Name, selectorText(s.Selector))
		return
	}
	e.add("service %s: its selector %s matches no pod in namespace %s; correct the selector, or the labels of the pods", s.Name, selectorText(s.Selector), s.Namespace)
	pods := slices.DeleteFunc(slices.Clone(v.pods), func(p *object.Pod) bool { return p.Template.Value().Subdomain != s.Name })
	for _, p := range firstPods(pods) {
		if p.Finished() {
			e.finished(p)
		} else {
			e.unselected(s, p)
		}
	}
}

// host explains a name below a service.
func (e *explanation) host(v *view, s *joinedService, label string) {
	found := false
	if !e.informer.joiner.slicesOnly {
		var named []*object.Pod
		a := undashed(label)
		for _, p := range v.pods {
			if p.Hostname() == label || p.Name() == label || hasAddr(p, a) && s.selects(p) && e.label(s, p) == label {
				named = append(named, p)
			}
		}
		for _, p := range firstPods(named) {
			found = true
			e.pod(s, p, label)
		}
	}
	for _, slice := range e.slicesOf(v, s) {
		for _, endpoint := range slice.Endpoints {
			if e.givenBySlice(s, endpoint).Host == label {
				found = true
				e.sliceEndpoint(s, slice, endpoint)
			}
		}
	}
	if found {
		return
	}
	if e.informer.joiner.fromSlices(s) {
		e.add("no endpoint with hostname %s in the EndpointSlices of service %s", label, s.Name)
	} else {
		e.add("no pod with hostname %s in namespace %s", label, s.Namespace)
	}
	e.service(v, s)
	if example := e.selected(v, s); len(example) > 0 {
		first := firstPods(example)[0]
		e.add("service %s: it selects %d pods; the name of pod %s is %s.%s", s.Name, len(example), first.Name(), e.label(s, first), s.Name)
	}
}

// pod explains what a pod with a hostname, a name or a generated label does for a service.
func (e *explanation) pod(s *joinedService, p *object.Pod, label string) {
	subdomain := p.Template.Value().Subdomain
	switch own := e.label(s, p); {
	case p.Finished():
		e.finished(p)
	case !s.selects(p):
		e.unselected(s, p)
	case own == label:
		e.state(s, p)
	case p.Hostname() == "":
		e.add("pod %s: it has no hostname, so its name is %s.%s; set hostname, and subdomain to %s, as a StatefulSet does", p.Name(), own, s.Name, s.Name)
	case subdomain != s.Name:
		e.add("pod %s: its subdomain is %q, not %q, so its name is %s.%s; set its subdomain, which is the serviceName of a StatefulSet, to %s",
			p.Name(), subdomain, s.Name, own, s.Name, s.Name)
	default:
		e.add("pod %s: its hostname is %q, so its name is %s.%s", p.Name(), p.Hostname(), own, s.Name)
	}
}

func (e *explanation) finished(p *object.Pod) {
	e.add("pod %s: it has ended, so it has no name", p.Name())
}

// unselected explains why a service does not select a pod, which it does not.
func (e *explanation) unselected(s *joinedService, p *object.Pod) {
	if len(s.Selector) == 0 {
		e.add("pod %s: service %s has no selector, so it selects no pod", p.Name(), s.Name)
		return
	}
	want := mismatch(s.Selector, p)
	has := "it has no label " + want.Key
	for l := range p.Labels {
		if l.Key == want.Key {
			has = fmt.Sprintf("its label %s is %q", l.Key, l.Value)
		}
	}
	e.add("pod %s: service %s does not select it: %s, but the selector wants %q", p.Name(), s.Name, has, want.Value)
}

// state explains whether a pod that a service selects answers.
func (e *explanation) state(s *joinedService, p *object.Pod) {
	e.states++
	name, scheduled, replaced := p.Name(), "scheduled, started and ready", "is ready"
	if s.addressed {
		scheduled, replaced = "scheduled and started", "has an address"
	}
	switch e.reason(s, p) {
	case records.Ready:
		e.add("pod %s: %s.%s has %s%s%s, from %s", name, e.label(s, p), s.Name, addrsText(s, p), sinceText(p), e.zoneText(e.zone(p)), e.source(s))
	case records.Terminating:
		e.add("pod %s: terminating; the pod that replaces it gets the name when it %s", name, replaced)
	case records.NoAddress:
		e.add("pod %s: no address yet; it gets the name when it is %s", name, scheduled)
	case records.WrongFamily:
		e.add("pod %s: no address in a family of service %s, whose ipFamilies are %s", name, s.Name, familiesText(s))
	case records.NotReady:
		if s.addressed {
			e.add("pod %s: not ready; %s.%s has %s all the same while no ready pod has that name (hosts addressed); %s and SRV records have the pod when it is ready",
				name, e.label(s, p), s.Name, addrsText(s, p), s.Name)
			break
		}
		e.add("pod %s: not ready; it gets the name when its readiness probe succeeds, or at once with annotation %s: addressed", name, object.HostsAnnotation)
	}
}

// givenByPod returns one of the endpoints that a pod gives a service, without ports. They all have
// one reason and, unless it is generated from the address, one label. It returns the zero Endpoint
// for a pod that has ended.
func (e *explanation) givenByPod(s *joinedService, p *object.Pod) (out records.Endpoint) {
	podEndpoints(&joinedService{Service: s.Service, addressed: s.addressed}, p, "", &e.naming, func(x records.Endpoint) { out = x })
	return out
}

func (e *explanation) reason(s *joinedService, p *object.Pod) records.Reason {
	return e.givenByPod(s, p).Withheld
}

// label returns the label of a pod below a service that selects it.
func (e *explanation) label(s *joinedService, p *object.Pod) string { return e.givenByPod(s, p).Host }

// undashed returns the address that a label is generated from, or the zero Addr.
func undashed(label string) netip.Addr {
	for _, separator := range []string{".", ":"} {
		if a, err := netip.ParseAddr(strings.ReplaceAll(label, "-", separator)); err == nil {
			return a
		}
	}
	return netip.Addr{}
}

// port explains the name of a port, or of a protocol if the port is "".
func (e *explanation) port(v *view, s *joinedService, port, protocol string) {
	var others []string
	for _, sp := range s.Ports {
		others = append(others, portText(sp))
		if sp.Protocol != protocol {
			continue
		}
		switch {
		case sp.Name == "":
			e.add("service %s: port %s has no name; give it one in the Service", s.Name, portText(sp))
		case port == "":
			e.add("service %s: only names of ports, such as _%s._%s, are below _%s", s.Name, sp.Name, protocol, protocol)
			return
		case sp.Name == port:
			if sp.Target != "" {
				e.targets(v, s, sp)
			}
			e.service(v, s)
			return
		}
	}
	if len(e.reasons) == 0 {
		e.add("service %s: no %s port %s; it has %s", s.Name, protocol, namedText(port), list(others))
	}
}

// namedText returns what a port is asked for by: its name or, for the name of a protocol, that it has one.
func namedText(port string) string {
	if port == "" {
		return "with a name"
	}
	return "named " + port
}

// targets explains a port whose number is that of a named port of the pods.
func (e *explanation) targets(v *view, s *joinedService, sp object.ServicePort) {
	lack := 0
	pods := e.selected(v, s)
	for _, p := range pods {
		t := p.Template.Value()
		named := t.NamedPorts()
		if number, _ := named.Find(sp.TargetPort()); number == 0 {
			lack++
		}
	}
	if lack > 0 {
		e.add("service %s: targetPort %q of port %s is no %s port of the containers of %d of %d pods", s.Name, sp.Target, sp.Name, sp.Protocol, lack, len(pods))
	}
}

// selected returns the pods that a service selects.
func (e *explanation) selected(v *view, s *joinedService) []*object.Pod {
	if out, ok := v.selected[s]; ok {
		return out
	}
	var out []*object.Pod
	for _, p := range v.pods {
		if !p.Finished() && s.selects(p) {
			out = append(out, p)
		}
	}
	v.selected[s] = out
	return out
}

// selects reports whether the service selects a pod.
func (s *joinedService) selects(p *object.Pod) bool {
	return len(s.Selector) > 0 && mismatch(s.Selector, p) == nil
}

// mismatch returns the first label of a selector that a pod does not have, or nil.
func mismatch(selector object.Selector, p *object.Pod) *object.Label {
	i := 0
	for l := range p.Labels { // both are sorted by key
		switch {
		case i == len(selector) || l.Key < selector[i].Key:
		case l != selector[i]:
			return &selector[i]
		default:
			i++
		}
	}
	if i < len(selector) {
		return &selector[i]
	}
	return nil
}

// slicesOf returns the slices whose endpoints a service has.
func (e *explanation) slicesOf(v *view, s *joinedService) []*object.EndpointSlice {
	return slices.DeleteFunc(slices.Clone(v.slices), func(slice *object.EndpointSlice) bool {
		return slice.Service != s.Name || !e.informer.joiner.counts(s, slice)
	})
}

// sliceEndpoint explains whether an endpoint of a slice answers.
func (e *explanation) sliceEndpoint(s *joinedService, slice *object.EndpointSlice, x object.Endpoint) {
	given := e.givenBySlice(s, x)
	state := stateText(&given)
	if given.Withheld == records.Ready {
		state += e.zoneText(given.Zone)
	}
	e.add("endpoint %s of EndpointSlice %s: %s, with the name %s.%s", x.Addr, slice.Name, state, given.Host, s.Name)
}

// stateText returns the state of the endpoint of a slice.
func stateText(given *records.Endpoint) string {
	switch {
	case given.Withheld == records.Terminating:
		return "terminating"
	case given.Addressed:
		return "not ready (hosts addressed)"
	case given.Withheld == records.NotReady:
		return "not ready"
	}
	return "ready"
}

// givenBySlice returns the endpoint that one of a slice gives a service, without ports.
func (e *explanation) givenBySlice(s *joinedService, x object.Endpoint) (out records.Endpoint) {
	sliceEndpoints(s.sliceRules(), new(object.EndpointSlice), []object.Endpoint{x}, &e.naming, func(x records.Endpoint) { out = x })
	return out
}

func selectorText(s object.Selector) string {
	var out []string
	for _, l := range s {
		out = append(out, l.Key+"="+l.Value)
	}
	return strings.Join(out, ",")
}

func addrsText(s *joinedService, p *object.Pod) string {
	var out []string
	for a := range p.Addrs {
		if a.Is4() && s.V4 || a.Is6() && s.V6 {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, " and ")
}

// sinceText returns since when a pod is ready. A pod that answers need not be ready.
func sinceText(p *object.Pod) string {
	switch since := p.ReadySince(); {
	case !since.IsZero():
		return ", ready since " + since.UTC().Format(time.RFC3339)
	case p.Ready():
		return ", ready"
	}
	return ", not ready, but the service has publishNotReadyAddresses"
}

// zone returns the topology zone of a pod, or "".
func (e *explanation) zone(p *object.Pod) string {
	j := e.informer.joiner
	return e.naming.podZone(p, func(name string) string {
		j.mu.RLock()
		defer j.mu.RUnlock()
		return j.zoneOfNode(name)
	})
}

// zoneText returns the zone of a ready endpoint, if zones have names.
func (e *explanation) zoneText(zone string) string {
	switch {
	case !e.naming.zonal:
		return ""
	case zone == "":
		return ", in no zone"
	}
	return ", in zone " + zone
}

func familiesText(s *joinedService) string {
	switch {
	case s.V4 && s.V6:
		return "IPv4 and IPv6"
	case s.V6:
		return "IPv6"
	}
	return "IPv4"
}

func portText(p object.ServicePort) string {
	number := p.Target
	if number == "" {
		number = fmt.Sprint(p.Number)
	}
	if p.Name == "" {
		return number + "/" + p.Protocol
	}
	return p.Name + " (" + number + "/" + p.Protocol + ")"
}

// list joins names, of which it shows the first few.
func list(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > maxListed:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), n-maxListed)
	}
	return strings.Join(names, ", ")
}
