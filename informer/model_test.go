package informer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// model is a slow but simple plugin: the full objects of the events, and the rules. It has
// no trie, no batches and no earlier states.
type model struct {
	objects   [object.Kinds]map[object.Key]any // *corev1.Service and so on
	listed    [object.Kinds]bool               // the kind was listed; nothing is served until all kinds were
	podNames  bool
	selective bool // only namespaces with an object are served
	addressed bool // hosts have the addresses of pods that are not ready
	zonal     bool // endpoints have topology zones
	imports   bool // there are multi-cluster services
}

// newModel returns the model of a history.
func newModel(h *history) *model {
	m := &model{podNames: h.podNames, selective: h.selectNamespaces, addressed: h.addressed, zonal: h.zonal, imports: h.imports}
	for k := range m.objects {
		m.objects[k] = make(map[object.Key]any)
	}
	return m
}

// watched returns the kinds that must be listed.
func (m *model) watched() []object.Kind {
	kinds := []object.Kind{object.Services, object.Pods, object.EndpointSlices}
	if m.selective {
		kinds = append(kinds, object.Namespaces)
	}
	if m.zonal {
		kinds = append(kinds, object.Nodes)
	}
	if m.imports {
		kinds = append(kinds, object.ServiceImports, object.ImportedSlices)
	}
	return kinds
}

// state has the endpoints of each service that is served. A service with external names is there
// twice, with its key and with the external one.
type state map[object.Key][]modelEndpoint

const externalSuffix = " (external)"

func externalKey(k object.Key) object.Key {
	return object.Key{Namespace: k.Namespace, Name: k.Name + externalSuffix}
}

func isExternal(k object.Key) bool { return strings.HasSuffix(k.Name, externalSuffix) }

// plainKey returns the key of the service.
func plainKey(k object.Key) object.Key {
	return object.Key{Namespace: k.Namespace, Name: strings.TrimSuffix(k.Name, externalSuffix)}
}

// modelEndpoint is an address of a host, with its ports as "protocol name number".
type modelEndpoint struct {
	host     string
	hostname bool // the host is a pod's hostname
	addr     netip.Addr
	ports    string
	early    bool // the pod is not ready: only its host and its address have the endpoint
	zone     string
}

func (m *model) state() state {
	s := make(state)
	for _, k := range m.watched() {
		if !m.listed[k] {
			return s
		}
	}
	for k, o := range m.objects[object.Services] {
		service := o.(*corev1.Service)
		if _, ok := m.objects[object.Namespaces][object.Key{Name: k.Namespace}]; m.selective && !ok || service.Spec.ClusterIP != corev1.ClusterIPNone {
			continue
		}
		s[k] = withoutLate(append(m.ofPods(service), m.ofSlices(service)...))
		if service.Annotations["headless-dns.github.io/external"] == "true" {
			s[externalKey(k)] = s[k]
		}
	}
	m.addImports(s)
	return s
}

// withoutLate returns the endpoints without the early ones of hosts that have others.
func withoutLate(endpoints []modelEndpoint) []modelEndpoint {
	ready := make(map[string]bool)
	for _, e := range endpoints {
		ready[e.host] = ready[e.host] || !e.early
	}
	return slices.DeleteFunc(endpoints, func(e modelEndpoint) bool { return e.early && ready[e.host] })
}

// isAddressed reports whether the hosts of a service have the addresses of pods that are not ready.
func (m *model) isAddressed(service *corev1.Service) bool {
	switch service.Annotations["headless-dns.github.io/hosts"] {
	case "addressed":
		return true
	case "ready":
		return false
	}
	return m.addressed
}

func (m *model) ofPods(service *corev1.Service) []modelEndpoint {
	var out []modelEndpoint
	for _, pod := range m.selected(service) {
		answers := pod.DeletionTimestamp == nil && isReady(pod) || service.Spec.PublishNotReadyAddresses
		if !answers && (pod.DeletionTimestamp != nil || !m.isAddressed(service)) {
			continue
		}
		for _, addr := range podAddrs(service, pod) {
			e := modelEndpoint{m.label(service, pod, addr), isNamed(service, pod), addr, podPorts(service, pod), !answers, m.zoneOf(pod)}
			if e.early {
				e.ports, e.zone = "", ""
			}
			out = append(out, e)
		}
	}
	return out
}

// zoneOf returns the topology zone of a pod.
func (m *model) zoneOf(pod *corev1.Pod) string {
	if zone := m.zone(pod.Labels["topology.kubernetes.io/zone"]); zone != "" {
		return zone
	}
	node, ok := m.objects[object.Nodes][object.Key{Name: pod.Spec.NodeName}]
	if !ok {
		return ""
	}
	return m.zone(node.(*metav1.PartialObjectMetadata).Labels["topology.kubernetes.io/zone"])
}

// zone returns the zone that a label or a field names.
func (m *model) zone(value string) string {
	if !m.zonal || len(value) > 63 {
		return ""
	}
	return strings.ToLower(value)
}

// selected returns the pods that a service selects and that have not ended.
func (m *model) selected(service *corev1.Service) []*corev1.Pod {
	var out []*corev1.Pod
	if len(service.Spec.Selector) == 0 {
		return nil
	}
	for k, o := range m.objects[object.Pods] {
		pod := o.(*corev1.Pod)
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if k.Namespace == service.Namespace && !ended && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			out = append(out, pod)
		}
	}
	return out
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// isNamed reports whether the hostname of a pod is a name of the service.
func isNamed(service *corev1.Service, pod *corev1.Pod) bool {
	return pod.Spec.Hostname != "" && pod.Spec.Subdomain == service.Name
}

// podAddrs returns the addresses of a pod in the families of a service.
func podAddrs(service *corev1.Service, pod *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		addr := netip.MustParseAddr(ip.IP)
		family := corev1.IPv4Protocol
		if addr.Is6() {
			family = corev1.IPv6Protocol
		}
		if slices.Contains(service.Spec.IPFamilies, family) {
			out = append(out, addr)
		}
	}
	return out
}

// label returns the label that a pod has below a service at an address. Without an address, which
// is the zero Addr, it is "" if the label would be made of one.
func (m *model) label(service *corev1.Service, pod *corev1.Pod, addr netip.Addr) string {
	switch {
	case isNamed(service, pod):
		return pod.Spec.Hostname
	case m.podNames:
		return pod.Name
	case addr.IsValid():
		return dashes.Replace(addr.String())
	}
	return ""
}

// dashes makes a label of those addresses that the test uses.
var dashes = strings.NewReplacer(".", "-", ":", "-")

func podPorts(service *corev1.Service, pod *corev1.Pod) string {
	var out []string
	for _, p := range service.Spec.Ports {
		number := p.TargetPort.IntVal
		if p.TargetPort.Type == intstr.String {
			number = 0
			for _, c := range pod.Spec.Containers[0].Ports {
				if c.Name == p.TargetPort.StrVal && c.Protocol == p.Protocol {
					number = c.ContainerPort
				}
			}
		} else if number == 0 {
			number = p.Port
		}
		if number != 0 {
			out = append(out, fmt.Sprintf("%s %s %d", strings.ToLower(string(p.Protocol)), p.Name, number))
		}
	}
	return strings.Join(out, ",")
}

func (m *model) ofSlices(service *corev1.Service) []modelEndpoint {
	var out []modelEndpoint
	for k, o := range m.objects[object.EndpointSlices] {
		slice := o.(*discoveryv1.EndpointSlice)
		if k.Namespace != service.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name {
			continue
		}
		// The controller writes the same endpoints as the pods give, later. It does not touch
		// the slices of a service that lost its selector.
		if slice.Labels[discoveryv1.LabelManagedBy] == "endpointslice-controller.k8s.io" && len(service.Spec.Selector) > 0 {
			continue
		}
		var ports []string
		for _, p := range slice.Ports {
			ports = append(ports, fmt.Sprintf("%s %s %d", strings.ToLower(string(*p.Protocol)), *p.Name, *p.Port))
		}
		for _, e := range slice.Endpoints {
			addr := netip.MustParseAddr(e.Addresses[0])
			terminates := e.Conditions.Terminating != nil && *e.Conditions.Terminating
			switch {
			case e.Conditions.Ready == nil || *e.Conditions.Ready || service.Spec.PublishNotReadyAddresses:
				zone := ""
				if e.Zone != nil {
					zone = m.zone(*e.Zone)
				}
				out = append(out, modelEndpoint{*e.Hostname, true, addr, strings.Join(ports, ","), false, zone})
			case m.isAddressed(service) && !terminates:
				out = append(out, modelEndpoint{*e.Hostname, true, addr, "", true, ""})
			}
		}
	}
	return out
}

// question is a name, in the parts that the model knows, and a type.
type question struct {
	name           string
	service        object.Key
	host           string // of a host
	port, protocol string // of a port
	addr           netip.Addr
	qtype          uint16
	zone           string // of a zonal name, or empty
	prefer         bool   // all endpoints, if the zone has none with such a name
	imported       bool   // of a multi-cluster service; host has the cluster at its end
	cluster        string // of the name of a cluster alone
}

// answer returns the sorted records of a name, or why there are none.
func (s state) answer(q *question) string {
	if q.addr.IsValid() {
		return s.pointers(q)
	}
	endpoints, ok := s[q.service]
	if !ok {
		return "outside"
	}
	if q.zone != "" {
		return q.answerInZone(endpoints)
	}
	if q.cluster != "" {
		return q.answerCluster(endpoints)
	}
	var data []string
	exists := false
	targets := 0
	for _, e := range endpoints {
		if q.host != "" && q.host != e.host {
			continue
		}
		if q.port == "" {
			exists = true
			if e.early && q.host == "" {
				continue
			}
			if q.qtype == dns.TypeA && e.addr.Is4() || q.qtype == dns.TypeAAAA && e.addr.Is6() {
				data = append(data, e.addr.String())
			}
		}
		for _, p := range strings.Split(e.ports, ",") {
			protocol, rest, _ := strings.Cut(p, " ")
			name, number, _ := strings.Cut(rest, " ")
			if p == "" || q.port != "" && (q.port != name || q.protocol != protocol) {
				continue
			}
			exists = true
			if q.qtype == dns.TypeSRV {
				targets++
				data = append(data, fmt.Sprintf("%s %s", number, e.host))
			}
		}
	}
	if !exists {
		return "missing"
	}
	if targets > 0 {
		data = append(data, fmt.Sprint("weight ", max(1, 100/targets)))
	}
	return canonical(data)
}

// answerInZone answers a zonal name from the endpoints of a service.
func (q *question) answerInZone(endpoints []modelEndpoint) string {
	plain := *q
	plain.zone = ""
	all := state{q.service: endpoints}.answer(&plain)
	var within []modelEndpoint
	for _, e := range endpoints {
		if e.zone == q.zone && (q.port == "" || slices.ContainsFunc(strings.Split(e.ports, ","), func(p string) bool {
			return strings.HasPrefix(p, q.protocol+" "+q.port+" ")
		})) {
			within = append(within, e)
		}
	}
	switch {
	case all == "missing" || len(within) == 0 && q.prefer:
		return all
	case len(within) == 0:
		return ""
	}
	return state{q.service: within}.answer(&plain)
}

func (s state) pointers(q *question) string {
	var hostnames, others []string
	for k, endpoints := range s {
		for _, e := range endpoints {
			name := fmt.Sprintf("%s.%s.%s.svc.cluster.local.", e.host, k.Name, k.Namespace)
			switch {
			case e.addr != q.addr || isExternal(k) || isImport(k):
			case e.hostname:
				hostnames = append(hostnames, name)
			default:
				others = append(others, name)
			}
		}
	}
	if len(hostnames) == 0 {
		hostnames = others
	}
	if len(hostnames) == 0 {
		return "outside"
	}
	return canonical(hostnames)
}

// long reports whether the endpoint has a long port list.
func (e modelEndpoint) long() bool { return strings.Count(e.ports, ",") >= 16 }

func canonical(data []string) string {
	slices.Sort(data)
	return strings.Join(slices.Compact(data), ", ")
}

// interim returns the common part of two states of a service: the interim snapshot, if
// services exchange addresses. A host whose label was made from its address may keep the
// label when it becomes a hostname, and does so if the service is created again.
func (s state) interim(t state, k object.Key, recreated bool) state {
	var both []modelEndpoint
	rest := slices.Clone(t[plainKey(k)]) // it loses what it removes before it leaves the external zone
	for _, e := range s[k] {
		i := slices.Index(rest, e)
		if i < 0 {
			i = slices.IndexFunc(rest, func(f modelEndpoint) bool {
				return e.host == f.host && e.addr == f.addr && (recreated || e.hostname == f.hostname)
			})
		}
		if i < 0 {
			continue
		}
		e.early = e.early || rest[i].early
		var ports []string
		for p := range strings.SplitSeq(e.ports, ",") {
			if slices.Contains(strings.Split(rest[i].ports, ","), p) {
				ports = append(ports, p)
			}
		}
		switch both := strings.Join(ports, ","); {
		case e.ports == rest[i].ports || !e.long() && !rest[i].long():
			e.ports = both
		case recreated: // of a long list, all ports change or none
			e.ports = ""
		}
		both, rest = append(both, e), slices.Delete(rest, i, i+1)
	}
	return state{k: both}
}

// ask queries the trie and returns the answer in the model's form.
func ask(trie *records.Trie, q *question) string {
	node, result := find(trie, q.name)
	switch result {
	case records.Outside:
		return "outside"
	case records.Missing:
		return "missing"
	case records.Found:
	}
	reply := node.Answer(&records.Query{Name: q.name, Type: q.qtype, Zone: "cluster.local.", Size: dns.MaxMsgSize})
	var data []string
	for _, rr := range reply.Records {
		switch rr := rr.(type) {
		case *dns.A:
			data = append(data, rr.A.String())
		case *dns.AAAA:
			data = append(data, rr.AAAA.String())
		case *dns.SRV:
			host, _, _ := strings.Cut(rr.Target, ".")
			if q.imported {
				host = strings.TrimSuffix(rr.Target, "."+importBase(q.service))
			}
			data = append(data, fmt.Sprintf("%d %s", rr.Port, host), fmt.Sprint("weight ", rr.Weight))
		case *dns.PTR:
			data = append(data, rr.Ptr)
		}
	}
	return canonical(data)
}

// clone copies the model. The objects are immutable.
func (m *model) clone() *model {
	out := *m
	for k := range m.objects {
		out.objects[k] = maps.Clone(m.objects[k])
	}
	return &out
}
