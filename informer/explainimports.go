package informer

import (
	"maps"
	"slices"
	"strings"

	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// importView is a ServiceImport and its slices at one time.
type importView struct {
	served   bool // the namespace is
	imported *object.ServiceImport
	slices   []*object.EndpointSlice // sorted by name
}

// importView returns the ServiceImport with a name and its slices. It is safe for concurrent use.
func (j *joiner) importView(namespace, name string) importView {
	j.mu.RLock()
	v := importView{served: j.served(namespace)}
	if m := j.imports.namespaces[namespace]; m != nil {
		v.imported = m.imports[name]
		v.slices = slices.Collect(maps.Values(m.byImport[name]))
	}
	j.mu.RUnlock()
	slices.SortFunc(v.slices, func(a, b *object.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	return v
}

// importedEndpoint is an endpoint of an imported slice, and what it gives the ServiceImport.
type importedEndpoint struct {
	slice *object.EndpointSlice
	given records.Endpoint
}

// importedEndpoints returns the endpoints of the slices that name a cluster.
func (e *explanation) importedEndpoints(v *importView) (out []importedEndpoint) {
	rules := sliceRules{addressed: e.informer.joiner.addressed}
	for _, slice := range v.slices {
		if slice.Cluster != "" {
			sliceEndpoints(rules, slice, slice.Endpoints, &e.naming, func(x records.Endpoint) { out = append(out, importedEndpoint{slice, x}) })
		}
	}
	return out
}

// multiCluster explains a name in a clusterset.
func (e *explanation) multiCluster(s Subject) {
	v := e.informer.joiner.importView(s.Namespace, s.Service)
	switch {
	case !v.served:
		e.add("%s/%s: the server does not serve namespace %s: %s", s.Namespace, s.Service, s.Namespace, e.narrowed("ServiceImports"))
		return
	case v.imported == nil:
		e.notImported(&v, s)
		return
	case !v.imported.Headless:
		e.add("ServiceImport %s: its type is not Headless, so its endpoints have no names; it is Headless while the exported services have clusterIP: None", s.Service)
		return
	}
	endpoints := e.importedEndpoints(&v)
	switch {
	case s.Protocol != "":
		e.importedPort(&v, s, endpoints)
	case s.Cluster != "":
		if e.inCluster(s, endpoints) {
			return
		}
	}
	e.imports(&v, s.Service, endpoints)
}

// notImported explains the name of a ServiceImport that does not exist.
func (e *explanation) notImported(v *importView, s Subject) {
	if w := e.informer.importWatches; w != nil && w.none.Load() {
		e.add("the API server has no ServiceImports, so there are no multi-cluster services; install their CustomResourceDefinition, of %s", mcsv1beta1.GroupName)
	} else {
		e.add("%s/%s: no ServiceImport that this server watches; there is one while a cluster exports the service and the implementation of the Multi-Cluster Services API works%s",
			s.Namespace, s.Service, e.narrowing("ServiceImports"))
	}
	if n := len(v.slices); n > 0 {
		e.add("%s/%s: the number of EndpointSlices that wait for the ServiceImport is %d", s.Namespace, s.Service, n)
	}
}

// imports explains the name of a headless ServiceImport.
func (e *explanation) imports(v *importView, name string, endpoints []importedEndpoint) {
	ready := readyImported(endpoints)
	if len(ready) == 0 {
		e.add("ServiceImport %s: 0 of %d endpoints ready, from %d EndpointSlices", name, len(endpoints), len(v.slices))
	} else {
		in := make(map[string]int) // by cluster
		for _, x := range ready {
			in[x.slice.Cluster]++
		}
		e.add("ServiceImport %s: %d of %d endpoints ready: %s", name, len(ready), len(endpoints), listCounts(in, "clusters"))
	}
	if len(v.slices) == 0 {
		e.add("ServiceImport %s: no EndpointSlice has the label %s: %s; the implementation of the Multi-Cluster Services API writes them",
			name, mcsv1beta1.LabelServiceName, name)
	}
	for _, slice := range v.slices {
		if slice.Cluster == "" && !e.full() {
			e.add("EndpointSlice %s: its label %s is missing or no id of a cluster, so its endpoints have no names", slice.Name, mcsv1beta1.LabelSourceCluster)
		}
	}
	for _, x := range endpoints {
		if x.given.Withheld != records.Ready && !e.full() {
			e.importedAt(name, x)
		}
	}
}

// readyImported returns the endpoints that are ready.
func readyImported(endpoints []importedEndpoint) (out []importedEndpoint) {
	for _, x := range endpoints {
		if x.given.Withheld == records.Ready {
			out = append(out, x)
		}
	}
	return out
}

// importedAt explains whether an endpoint of an imported slice answers.
func (e *explanation) importedAt(name string, x importedEndpoint) {
	e.states++
	e.add("endpoint %s of EndpointSlice %s: %s, with the name %s.%s.%s", x.given.Addr, x.slice.Name, stateText(&x.given), x.given.Host, x.slice.Cluster, name)
}

// inCluster explains the name of a cluster, or of a host in one. It reports whether it has found the
// host, so that there is no more to say.
func (e *explanation) inCluster(s Subject, endpoints []importedEndpoint) (found bool) {
	name := s.Cluster
	if s.Host != "" {
		name = s.Host + "." + s.Cluster
	}
	host, _, _ := strings.Cut(name, ".")
	parent := "." + name
	var others []string // clusters with the hostname
	below, ready := 0, 0
	for _, x := range endpoints {
		switch cluster := x.slice.Cluster; {
		case s.Host != "" && x.given.Host == s.Host && cluster == s.Cluster:
			found = true
			if !e.full() {
				e.importedAt(s.Service, x)
			}
		case cluster == name || strings.HasSuffix(cluster, parent):
			below++
			if x.given.Withheld == records.Ready {
				ready++
			}
		case x.given.Host == host && len(others) < maxListed && !slices.Contains(others, cluster):
			others = append(others, cluster)
		}
	}
	switch {
	case found:
		return true
	case below > 0:
		e.add("cluster %s: %d of %d endpoints of ServiceImport %s ready there; the cluster's name has no records, the names of the endpoints are below it", name, ready, below, s.Service)
		return false
	case s.Host == "":
		e.add("cluster %s: no endpoint of ServiceImport %s is there", name, s.Service)
	default:
		e.add("cluster %s: no endpoint of ServiceImport %s there has the hostname %s", s.Cluster, s.Service, s.Host)
	}
	if len(others) > 0 {
		e.add("hostname %s: it is in cluster %s, where its name is %s.%s.%s", host, strings.Join(others, " and "), host, others[0], s.Service)
	}
	return false
}

// importedPort explains the name of a port, or of a protocol if the port is "". Ports are those of
// the slices.
func (e *explanation) importedPort(v *importView, s Subject, endpoints []importedEndpoint) {
	having := make(map[*object.EndpointSlice]bool) // slices with the port
	all := make(map[records.Port]bool)
	for _, slice := range v.slices {
		if slice.Cluster == "" {
			continue
		}
		for _, p := range slice.Ports.Ports() {
			all[p] = true
			switch {
			case p.Protocol != s.Protocol || p.Name == "":
			case s.Port == "":
				e.add("ServiceImport %s: only names of ports, such as _%s._%s, are below _%s", s.Service, p.Name, p.Protocol, p.Protocol)
				return
			case p.Name == s.Port:
				having[slice] = true
			}
		}
	}
	if len(having) > 0 {
		ready, n := readyImported(endpoints), 0
		for _, x := range ready {
			if having[x.slice] {
				n++
			}
		}
		if n < len(ready) {
			e.add("ServiceImport %s: %d of %d ready endpoints have the %s port %s", s.Service, n, len(ready), s.Protocol, s.Port)
		}
		return
	}
	unnamed := false
	var texts []string
	for p := range all {
		texts = append(texts, importedPortText(p))
		unnamed = unnamed || p.Name == "" && p.Protocol == s.Protocol
	}
	slices.Sort(texts)
	e.add("ServiceImport %s: its EndpointSlices have no %s port %s; they have %s", s.Service, s.Protocol, namedText(s.Port), list(texts))
	if unnamed {
		e.add("ServiceImport %s: a %s port without a name has no DNS name; give it one in the exported services", s.Service, s.Protocol)
	}
}

func importedPortText(p records.Port) string {
	return portText(object.ServicePort{Name: p.Name, Protocol: p.Protocol, Number: p.Number})
}
