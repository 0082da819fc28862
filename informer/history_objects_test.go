package informer

import (
	"fmt"
	"math/rand/v2"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
)

// The clusters are small, so that objects affect each other.
var (
	namespacesOf = []string{"default", "prod"}
	services     = []string{"nginx", "db", "web"}
	podsOf       = []string{"web-0", "web-1", "web-2", "web-3", "web-4"}
	hostnames    = []string{"web-0", "web-1", "web-2", ""}
	addresses4   = 6
	addresses6   = 3
	nodes        = []string{"node-0", "node-1", "node-2"}
	zones        = []string{"eu-1a", "eu-1b"}
	clusters     = []string{"c1", "eu.c1", "c2"}
)

// objectNames is the number of names for objects of each kind.
var objectNames = [object.Kinds]int{
	object.Services:       len(namespacesOf) * len(services),
	object.Pods:           len(namespacesOf) * len(podsOf),
	object.EndpointSlices: len(namespacesOf) * 3,
	object.Namespaces:     len(namespacesOf),
	object.Nodes:          len(nodes),
	object.ServiceImports: len(namespacesOf) * len(services),
	object.ImportedSlices: len(namespacesOf) * 4,
}

func keyOf(kind object.Kind, name int) object.Key {
	if kind == object.Nodes {
		return object.Key{Name: nodes[name]}
	}
	ns := namespacesOf[name%len(namespacesOf)]
	n := name / len(namespacesOf)
	switch kind {
	case object.Services, object.ServiceImports:
		return object.Key{Namespace: ns, Name: services[n]}
	case object.Pods:
		return object.Key{Namespace: ns, Name: podsOf[n]}
	case object.EndpointSlices:
		return object.Key{Namespace: ns, Name: fmt.Sprint("slice-", n)}
	case object.ImportedSlices:
		return object.Key{Namespace: ns, Name: fmt.Sprint("imported-", n)}
	default:
		return object.Key{Name: ns}
	}
}

// build makes an object. The same arguments make the same object.
func build(kind object.Kind, name int, seed uint64) kruntime.Object {
	rng := rand.New(rand.NewPCG(seed, uint64(kind)))
	k := keyOf(kind, name)
	meta := metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID(fmt.Sprint(seed)), ResourceVersion: "1"}
	pick := func(from []string) string { return from[rng.IntN(len(from))] }
	rarely := func() bool { return rng.IntN(8) == 0 }
	switch kind {
	case object.Services:
		s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			ClusterIP:  corev1.ClusterIPNone,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Selector:   map[string]string{"app": pick(services)},
			Ports:      []corev1.ServicePort{{Name: "web", Port: 80, Protocol: corev1.ProtocolTCP}},
		}}
		switch rng.IntN(13) {
		case 0:
			s.Spec.Selector = nil
		case 9:
			s.Spec.Selector = map[string]string{"host": pick(hostnames)}
		case 1:
			s.Spec.Selector["tier"] = "front"
		case 2:
			s.Spec.ClusterIP = "10.96.0.1"
		case 3:
			s.Spec.PublishNotReadyAddresses = true
		case 4:
			s.Spec.Ports[0].TargetPort = intstr.FromString("http")
		case 5:
			s.Spec.IPFamilies[0] = corev1.IPv6Protocol
		case 6:
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, corev1.IPv6Protocol)
		case 7:
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "peer", Port: 7000, Protocol: corev1.ProtocolUDP})
		case 8:
			s.Spec.Ports = nil
		case 10, 11: // as many as pods share
			for i := range int32(17) {
				s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", i), Port: 7000 + i, Protocol: corev1.ProtocolTCP})
			}
			s.Spec.Ports[5].TargetPort = intstr.FromString([]string{"http", "none"}[rng.IntN(2)])
		}
		if rng.IntN(3) == 0 {
			s.Annotations = map[string]string{"headless-dns.github.io/hosts": []string{"addressed", "addressed", "ready", "Addressed"}[rng.IntN(4)]}
		}
		if rng.IntN(3) == 0 {
			if s.Annotations == nil {
				s.Annotations = map[string]string{}
			}
			s.Annotations["headless-dns.github.io/external"] = []string{"true", "true", "True"}[rng.IntN(3)]
		}
		return s
	case object.Pods:
		p := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
			Hostname: pick(hostnames), Subdomain: pick(services),
			Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
				{Name: "http", ContainerPort: 8080 + rng.Int32N(2), Protocol: corev1.ProtocolTCP},
			}}},
		}, Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}}
		p.Labels = map[string]string{"app": pick(services), "tier": pick([]string{"front", "back"}), "host": p.Spec.Hostname}
		p.Spec.NodeName = pick(append(nodes, "", "node-7"))
		if rarely() {
			p.Labels[corev1.LabelTopologyZone] = pick(zoneLabels)
		}
		if !rarely() {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: address4(rng.IntN(addresses4))})
			if rng.IntN(2) == 0 {
				p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: address6(rng.IntN(addresses6))})
			}
		}
		if rng.IntN(4) == 0 {
			fixture.NotReady(p)
		}
		if rarely() {
			fixture.Terminating(p)
		}
		if rarely() {
			p.Status.Phase = corev1.PodSucceeded
		}
		p.Spec.HostNetwork = rarely()
		return p
	case object.ServiceImports:
		return buildImport(meta, rng)
	case object.ImportedSlices:
		return buildImported(meta, rng)
	case object.EndpointSlices:
		s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4}
		s.Labels = map[string]string{discoveryv1.LabelServiceName: pick(services)}
		if rng.IntN(3) == 0 {
			s.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
		}
		if rarely() { // as for Cilium's global services
			s.Labels["multicluster.kubernetes.io/source-cluster"] = pick(clusters)
		}
		s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(80 + rng.Int32N(2)), Protocol: ptr.To(corev1.ProtocolTCP)}}
		if rarely() {
			for i := range int32(17) {
				s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: ptr.To(fmt.Sprint("p", i)), Port: ptr.To(7000 + i), Protocol: ptr.To(corev1.ProtocolTCP)})
			}
		}
		for range rng.IntN(4) {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
				Addresses:  []string{address4(rng.IntN(addresses4))},
				Hostname:   ptr.To(hostnames[rng.IntN(2)]),
				Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(rng.IntN(3) > 0)},
			})
			if rng.IntN(2) == 0 {
				s.Endpoints[len(s.Endpoints)-1].Zone = ptr.To(pick(zoneLabels))
			}
		}
		return s
	case object.Nodes:
		n := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: k.Name, ResourceVersion: fmt.Sprint(1 + seed)}}
		if !rarely() {
			n.Labels = map[string]string{"other": fmt.Sprint(seed), corev1.LabelTopologyZone: pick(zoneLabels)}
		}
		return n
	default:
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: k.Name, ResourceVersion: "1"}}
	}
}

// zoneLabels are values of zone labels, some of which name no zone.
var zoneLabels = append(zones, "EU-1A", "", strings.Repeat("z", 64))

func address4(n int) string { return fmt.Sprint("10.244.0.", 1+n) }
func address6(n int) string { return fmt.Sprint("fd00::", 1+n) }

// sketch formats an object on one line.
func sketch(o kruntime.Object) string {
	switch o := o.(type) {
	case *corev1.Service:
		return fmt.Sprintf("%s/%s clusterIP %s selector %v families %v ports %d publish %t %v", o.Namespace, o.Name,
			o.Spec.ClusterIP, o.Spec.Selector, o.Spec.IPFamilies, len(o.Spec.Ports), o.Spec.PublishNotReadyAddresses, o.Annotations)
	case *corev1.Pod:
		return fmt.Sprintf("%s/%s on %s labels %v host %s.%s IPs %v on host %t ready %s terminating %t %s", o.Namespace, o.Name, o.Spec.NodeName, o.Labels, o.Spec.Hostname,
			o.Spec.Subdomain, o.Status.PodIPs, o.Spec.HostNetwork, o.Status.Conditions[0].Status, o.DeletionTimestamp != nil, o.Status.Phase)
	case *discoveryv1.EndpointSlice:
		return fmt.Sprintf("%s/%s of %v with %d endpoints", o.Namespace, o.Name, o.Labels, len(o.Endpoints))
	case *corev1.Namespace:
		return o.Name
	case *mcsv1beta1.ServiceImport:
		return fmt.Sprintf("%s/%s of type %s", o.Namespace, o.Name, o.Spec.Type)
	case *metav1.PartialObjectMetadata:
		return fmt.Sprint(o.Name, o.Labels)
	}
	return ""
}
