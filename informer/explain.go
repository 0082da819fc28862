package informer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/headless-dns/headless/informer/internal/object"
)

// Subject is the name that an explanation is about, in lower case: of a service, of a host or
// a port of it, or the reverse name of an address.
type Subject struct {
	Namespace, Service string
	Host               string // of a host
	Port, Protocol     string // of a port; Port is empty if the name is that of a protocol
	Zone               string // of a zonal name: the topology zone
	Prefer             bool   // a zonal name without endpoints in the zone has all of them
	Addr               netip.Addr
	External           bool // a name in an external zone
	// Clusterset: a name in a clusterset, where Cluster is the id of a cluster. Host is a host there
	// or, if it is empty, the name is that of the cluster.
	Clusterset bool
	Cluster    string
}

// MaxReasons is the most reasons of an explanation, and MaxReason the most bytes of one, which
// is that of a string of a TXT record (RFC 1035, section 3.3).
const (
	MaxReasons = 20
	MaxReason  = 255
)

// Explain returns why a name has the records that it has, or why it has none. Each reason is a
// sentence about one object, and says what would change it.
//
// It reads the objects as they are now, which may be newer than what the trie has. It holds no
// lock for longer than it takes to copy the references to the objects of one namespace.
func (i *Informer) Explain(s Subject) []string {
	e := explanation{informer: i, naming: naming{podNames: i.joiner.naming.podNames, zonal: i.joiner.naming.zonal}}
	select {
	case <-i.synced:
	default:
		e.add("the server is not ready: it has not listed every kind of object yet; its log says why")
		return e.reasons
	}
	switch {
	case s.Addr.IsValid():
		e.address(s.Addr)
	case s.Clusterset:
		e.multiCluster(s)
	default:
		e.name(s)
	}
	if i.restored.Load() {
		e.add("the server has reached no API server since its start, so all this is from its snapshot")
	}
	return e.reasons
}

// explanation collects reasons.
type explanation struct {
	informer *Informer
	naming   naming
	reasons  []string
	states   int // pairs of a service and a pod that were explained; a test has a budget for them
}

// full reports whether there are enough reasons. What costs the product of two sizes asks first.
func (e *explanation) full() bool { return len(e.reasons) == MaxReasons }

// add adds a reason, unless there are enough. Names in objects are printable: the API server
// and the manifests admit no others.
func (e *explanation) add(format string, args ...any) {
	if e.full() {
		return
	}
	reason := fmt.Sprintf(format, args...)
	if len(reason) > MaxReason {
		const dots = "..."
		reason = reason[:MaxReason-len(dots)] + dots
	}
	e.reasons = append(e.reasons, reason)
}

// view is the objects of a namespace at one time.
type view struct {
	served   bool
	services map[string]*joinedService
	pods     []*object.Pod // in no order
	slices   []*object.EndpointSlice
	selected map[*joinedService][]*object.Pod // by explanation.selected
}

// view returns the objects of a namespace. It is safe for concurrent use.
func (j *joiner) view(namespace string) view {
	j.mu.RLock()
	v := view{served: j.served(namespace), selected: make(map[*joinedService][]*object.Pod)}
	if m := j.namespaces[namespace]; m != nil {
		v.services = maps.Clone(m.services)
		v.pods = make([]*object.Pod, 0, len(m.pods))
		for _, p := range m.pods {
			v.pods = append(v.pods, p)
		}
		v.slices = make([]*object.EndpointSlice, 0, len(m.slices)+len(m.leftovers))
		for s := range m.allSlices {
			v.slices = append(v.slices, s)
		}
	}
	j.mu.RUnlock()
	return v
}

// name explains the name of a service, or of a host or a port of it.
func (e *explanation) name(s Subject) {
	v := e.informer.joiner.view(s.Namespace)
	service := v.services[s.Service]
	switch {
	case s.External && (!v.served || service == nil || !service.Headless || !service.External):
		// Nobody learns from an external zone what else the cluster has.
		e.add("%s/%s: no headless service with annotation %s: \"true\" that this server watches", s.Namespace, s.Service, object.ExternalAnnotation)
		return
	case !v.served:
		e.add("%s/%s: the server does not serve namespace %s: %s", s.Namespace, s.Service, s.Namespace, e.narrowed("services"))
		return
	case service == nil:
		e.add("%s/%s: no headless service that this server watches; create it with clusterIP: None, or correct the name%s",
			s.Namespace, s.Service, e.narrowing("services"))
	case !service.Headless:
		e.add("service %s: it is not headless, so its pods have no names; only clusterIP: None makes it headless", s.Service)
	}
	if service == nil || !service.Headless {
		e.elsewhere(&v, s)
		return
	}
	switch {
	case s.Host != "":
		e.host(&v, service, s.Host)
	case s.Protocol != "":
		e.port(&v, service, s.Port, s.Protocol)
	default:
		e.service(&v, service)
	}
	if s.Zone != "" {
		e.zonal(&v, service, s)
	}
	if service.Hosts == object.HostsUnknown {
		e.add(`service %s: its annotation %s is neither "ready" nor "addressed", so the option hosts counts`, service.Name, object.HostsAnnotation)
	}
}

// narrowing returns what hides services or ServiceImports from the server, as the end of a reason.
func (e *explanation) narrowing(objects string) string {
	if n := e.narrowed(objects); n != "" {
		return "; " + n
	}
	return ""
}

// narrowed returns which options narrow what the server watches of services or ServiceImports.
func (e *explanation) narrowed(objects string) string {
	var out []string
	c := &e.informer.config
	if len(c.Namespaces) > 0 {
		out = append(out, "it watches only namespaces "+strings.Join(c.Namespaces, " ")+" (option namespaces)")
	}
	if c.NamespaceLabels != "" {
		out = append(out, "it serves only namespaces whose labels match "+c.NamespaceLabels+" (option namespace_labels)")
	}
	if c.Labels != "" {
		out = append(out, "it watches only "+objects+" whose labels match "+c.Labels+" (option labels)")
	}
	return strings.Join(out, ", and ")
}

// elsewhere explains where the pod of a name is that is not below its service.
func (e *explanation) elsewhere(v *view, s Subject) {
	waiting := 0
	var named []*object.Pod
	for _, p := range v.pods {
		if p.Hostname() != "" && p.Template.Value().Subdomain == s.Service {
			waiting++
		} else if s.Host != "" && (p.Hostname() == s.Host || p.Name() == s.Host) {
			named = append(named, p)
		}
	}
	for _, p := range firstPods(named) {
		subdomain := p.Template.Value().Subdomain
		if other := v.services[subdomain]; other != nil && other.Headless {
			e.add("pod %s: its subdomain is %q, so its name is %s.%s", p.Name(), subdomain, p.Hostname(), subdomain)
		} else {
			e.add("pod %s: its subdomain is %q, which is no headless service that this server watches", p.Name(), subdomain)
		}
	}
	switch {
	case waiting == 1:
		e.add("1 pod has subdomain %q and would have a name below such a service, if it selects the pod", s.Service)
	case waiting > 1:
		e.add("%d pods have subdomain %q and would have names below such a service, if it selects them", waiting, s.Service)
	}
}

// address explains the reverse name of an address.
func (e *explanation) address(a netip.Addr) {
	found := false
	for _, namespace := range e.informer.joiner.withAddress(a) {
		if e.full() {
			return
		}
		v := e.informer.joiner.view(namespace)
		for _, p := range v.pods {
			if hasAddr(p, a) && !e.full() {
				found = true
				e.podAt(&v, p, a)
			}
		}
		for _, s := range v.slices {
			for _, endpoint := range s.Endpoints {
				service := v.services[s.Service]
				if endpoint.Addr == a && service != nil && service.Headless && e.informer.joiner.counts(service, s) {
					found = true
					e.sliceEndpoint(service, s, endpoint)
				}
			}
		}
	}
	if !found {
		e.add("%s: no pod that this server watches has this address%s", a, e.narrowing("services"))
	}
}

// podAt explains the names of a pod that has an address.
func (e *explanation) podAt(v *view, p *object.Pod, a netip.Addr) {
	namespace := p.ID().Namespace
	selected := false
	if p.Finished() {
		e.finished(p)
		return
	}
	if v.served {
		for _, name := range slices.Sorted(maps.Keys(v.services)) {
			if s := v.services[name]; !e.full() && s.Headless && s.selects(p) {
				selected = true
				e.state(s, p)
			}
		}
	}
	if !selected {
		e.add("pod %s/%s has the address %s, but no headless service that this server serves selects it", namespace, p.Name(), a)
	}
}

// withAddress returns the namespaces with a pod or an endpoint that has the address, sorted.
func (j *joiner) withAddress(a netip.Addr) []string {
	j.mu.RLock()
	namespaces := slices.Sorted(maps.Keys(j.namespaces))
	j.mu.RUnlock()
	return slices.DeleteFunc(namespaces, func(namespace string) bool {
		j.mu.RLock() // once for each namespace, so that the writer waits for one at most
		defer j.mu.RUnlock()
		m := j.namespaces[namespace]
		if m == nil {
			return true
		}
		for _, p := range m.pods {
			if hasAddr(p, a) {
				return false
			}
		}
		for s := range m.allSlices {
			if slices.ContainsFunc(s.Endpoints, func(e object.Endpoint) bool { return e.Addr == a }) {
				return false
			}
		}
		return true
	})
}

func hasAddr(p *object.Pod, a netip.Addr) bool {
	for b := range p.Addrs {
		if a == b {
			return true
		}
	}
	return false
}
