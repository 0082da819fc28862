package informer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
)

// The part of the model, and of the objects and questions of histories, that is about
// multi-cluster services (KEP-1645).

const importSuffix = " (import)"

// importStateKey returns the key that a ServiceImport has in a state.
func importStateKey(k object.Key) object.Key {
	return object.Key{Namespace: k.Namespace, Name: k.Name + importSuffix}
}

func isImport(k object.Key) bool { return strings.HasSuffix(k.Name, importSuffix) }

// importBase returns the name of an import by its key in a state.
func importBase(k object.Key) string {
	return fmt.Sprintf("%s.%s.svc.clusterset.local.", strings.TrimSuffix(k.Name, importSuffix), k.Namespace)
}

func buildImport(meta metav1.ObjectMeta, rng *rand.Rand) kruntime.Object {
	i := &mcsv1beta1.ServiceImport{ObjectMeta: meta, Spec: mcsv1beta1.ServiceImportSpec{Type: "Headless"}}
	i.APIVersion, i.Kind = []string{"multicluster.x-k8s.io/v1alpha1", "multicluster.x-k8s.io/v1beta1"}[rng.IntN(2)], "ServiceImport"
	if rng.IntN(4) == 0 {
		i.Spec.Type = "ClusterSetIP"
	}
	i.Spec.Ports = []mcsv1beta1.ServicePort{{Name: "other", Port: 9}} // those of the slices count
	return i
}

// clusterLabels are values of the label of the cluster, some of which name none.
var clusterLabels = []string{"c1", "c1", "eu.c1", "EU.C1", "c2", "c2", "a_b", "c1-"}

func buildImported(meta metav1.ObjectMeta, rng *rand.Rand) kruntime.Object {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4}
	service := services[rng.IntN(len(services))]
	s.Labels = map[string]string{
		"multicluster.kubernetes.io/service-name":   service,
		"multicluster.kubernetes.io/source-cluster": clusterLabels[rng.IntN(len(clusterLabels))],
		discoveryv1.LabelServiceName:                services[rng.IntN(len(services))],
	}
	switch rng.IntN(12) {
	case 0:
		delete(s.Labels, "multicluster.kubernetes.io/source-cluster")
	case 1:
		s.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
	}
	s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(80 + rng.Int32N(2)), Protocol: ptr.To(corev1.ProtocolTCP)}}
	if rng.IntN(8) == 0 {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: ptr.To("peer"), Port: ptr.To[int32](7000), Protocol: ptr.To(corev1.ProtocolUDP)})
	}
	if rng.IntN(8) == 0 {
		for i := range int32(17) {
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: ptr.To(fmt.Sprint("p", i)), Port: ptr.To(7000 + i), Protocol: ptr.To(corev1.ProtocolTCP)})
		}
	}
	for range rng.IntN(4) {
		e := discoveryv1.Endpoint{
			Addresses:  []string{address4(rng.IntN(addresses4))},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(rng.IntN(3) > 0), Terminating: ptr.To(rng.IntN(6) == 0)},
		}
		if rng.IntN(3) > 0 {
			e.Hostname = ptr.To(hostnames[rng.IntN(2)])
		} else {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: podsOf[3+rng.IntN(2)]}
		}
		if rng.IntN(2) == 0 {
			e.Zone = ptr.To(zones[0]) // of no meaning
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// clusterID matches the ID of a cluster: an RFC 1123 subdomain.
var clusterID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// addImports adds the headless imports to a state.
func (m *model) addImports(s state) {
	for k, o := range m.objects[object.ServiceImports] {
		if _, ok := m.objects[object.Namespaces][object.Key{Name: k.Namespace}]; m.selective && !ok || o.(*mcsv1beta1.ServiceImport).Spec.Type != "Headless" {
			continue
		}
		s[importStateKey(k)] = withoutLate(m.ofImport(k))
	}
}

// ofImport returns the endpoints of an import, whose hosts are HOST.CLUSTER.
func (m *model) ofImport(k object.Key) []modelEndpoint {
	var out []modelEndpoint
	for _, o := range m.objects[object.ImportedSlices] {
		slice := o.(*discoveryv1.EndpointSlice)
		cluster := strings.ToLower(slice.Labels["multicluster.kubernetes.io/source-cluster"])
		if slice.Namespace != k.Namespace || slice.Labels["multicluster.kubernetes.io/service-name"] != k.Name || !clusterID.MatchString(cluster) {
			continue
		}
		var ports []string
		for _, p := range slice.Ports {
			ports = append(ports, fmt.Sprintf("%s %s %d", strings.ToLower(string(*p.Protocol)), *p.Name, *p.Port))
		}
		for _, e := range slice.Endpoints {
			host := dashes.Replace(e.Addresses[0])
			if e.Hostname != nil {
				host = *e.Hostname
			} else if m.podNames {
				host = e.TargetRef.Name
			}
			found := modelEndpoint{host: host + "." + cluster, hostname: e.Hostname != nil, addr: netip.MustParseAddr(e.Addresses[0]), zone: cluster}
			switch {
			case *e.Conditions.Ready:
				found.ports = strings.Join(ports, ",")
			case m.addressed && !*e.Conditions.Terminating:
				found.early = true
			default:
				continue
			}
			out = append(out, found)
		}
	}
	return out
}

// answerCluster answers the name of a cluster. It has no records, and exists if there is a host below.
func (q *question) answerCluster(endpoints []modelEndpoint) string {
	if slices.ContainsFunc(endpoints, func(e modelEndpoint) bool { return strings.HasSuffix(e.host, "."+q.cluster) }) {
		return ""
	}
	return "missing"
}

// importQuestions are all names and types of an import that can have records, and the names of
// clusters.
func importQuestions(k object.Key) []question {
	k = importStateKey(k)
	base := importBase(k)
	hosts := append(slices.Clone(hostnames[:2]), podsOf[3:]...)
	for i := range addresses4 {
		hosts = append(hosts, dashes.Replace(address4(i)))
	}
	below := []string{""}
	for _, cluster := range clusters {
		for _, host := range hosts {
			below = append(below, host+"."+cluster)
		}
	}
	var out []question
	for _, host := range append(below, hosts[0]) { // which is no name without a cluster
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			out = append(out, question{name: strings.TrimPrefix(host+"."+base, "."), service: k, host: host, qtype: qtype, imported: true})
		}
	}
	for _, cluster := range clusters {
		out = append(out, question{name: cluster + "." + base, service: k, cluster: cluster, qtype: dns.TypeA, imported: true})
	}
	for _, port := range []string{"web tcp", "peer udp", "other tcp"} {
		name, protocol, _ := strings.Cut(port, " ")
		out = append(out, question{name: fmt.Sprintf("_%s._%s.%s", name, protocol, base), service: k, port: name, protocol: protocol, qtype: dns.TypeSRV, imported: true})
	}
	return out
}
