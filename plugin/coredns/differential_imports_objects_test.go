package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/internal/apiserver"
)

// The labels of an imported slice (KEP-1645).
const (
	diffImportLabel  = "multicluster.kubernetes.io/service-name"
	diffClusterLabel = "multicluster.kubernetes.io/source-cluster"
)

// diffClusterset is a random cluster of a clusterset: a namespace with a few ServiceImports, with
// services beside them, and with EndpointSlices of both. It has no pods.
type diffClusterset struct {
	*diffCluster
	imports []*mcsv1beta1.ServiceImport
	changed diffCounts // kinds of changes
}

// The names are few, so that they collide: imports and services of the same name, a hostname that
// several clusters have, and a label that is a hostname, a cluster and the beginning of the id of
// another one.
var (
	diffImportNames = []string{"db", "web", "eu", "0a", diffLong}
	// diffClusterIDs are values of the label of the cluster. The last ones name none.
	diffClusterIDs     = []string{"c1", "c1", "c2", "c2", "eu-c1", "EU", "eu.c1", "eu.c1", "us.eu.c1", "a.B.c.d", "a_b", "c1-.c2", ""}
	diffClusterPorts   = []string{"web", "tcp", "db", "p1"}
	diffClusterHosts   = []string{"db-0", "db-0", "db-0", "db-1", "eu", "c1", "0", diffLong}
	diffClusterAddress = []int{1, 2, 3, 4, 100, 101}
)

func diffNewClusterset(seed uint64) *diffClusterset {
	c := &diffClusterset{
		diffCluster: &diffCluster{
			seed: seed, rand: rand.New(rand.NewPCG(seed, 1)),
			namespace: fmt.Sprint("set-", seed), subnet: [2]byte{byte(seed >> 8), byte(seed)},
		},
		changed: make(diffCounts),
	}
	for range 1 + c.rand.IntN(3) {
		c.addImport()
	}
	for range c.rand.IntN(3) {
		c.addBeside()
	}
	for i := range 3 + c.rand.IntN(7) {
		c.manual = append(c.manual, c.newImported(fmt.Sprint("slice-", i)))
	}
	return c
}

func (c *diffClusterset) addImport() {
	name := diffPick(c.diffCluster, diffImportNames...)
	if c.chance(3) { // no label, so no name of the zone has it
		name = "db.web"
	}
	if !slices.ContainsFunc(c.imports, func(i *mcsv1beta1.ServiceImport) bool { return i.Name == name }) {
		c.imports = append(c.imports, c.newImport(name))
	}
}

// newImport returns an import. Its ports count only if it has an address of its own.
func (c *diffClusterset) newImport(name string) *mcsv1beta1.ServiceImport {
	out := &mcsv1beta1.ServiceImport{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: mcsv1beta1.ServiceImportSpec{
			Type:  mcsv1beta1.Headless,
			Ports: []mcsv1beta1.ServicePort{{Name: "web", Port: 8000, Protocol: corev1.ProtocolTCP}},
		},
	}
	if c.chance(15) {
		out.Spec.Type, out.Spec.IPs = mcsv1beta1.ClusterSetIP, []string{c.addr(true, 250)}
	}
	return out
}

// addBeside adds a service without a selector, which may have the name of an import.
func (c *diffClusterset) addBeside() {
	name := diffPick(c.diffCluster, diffImportNames...)
	if !slices.ContainsFunc(c.services, func(s *corev1.Service) bool { return s.Name == name }) {
		c.services = append(c.services, c.newBeside(name))
	}
}

func (c *diffClusterset) newBeside(name string) *corev1.Service {
	out := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, ClusterIPs: []string{corev1.ClusterIPNone},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
			Ports:      []corev1.ServicePort{{Name: "web", Port: 8000, Protocol: corev1.ProtocolTCP}},
		},
	}
	if c.chance(15) {
		ip := c.addr(true, 200+slices.Index(diffImportNames, name))
		out.Spec.ClusterIP, out.Spec.ClusterIPs, out.Spec.IPFamilies = ip, []string{ip}, out.Spec.IPFamilies[:1]
	}
	return out
}

// newImported returns an EndpointSlice of an import, of a service, of both or of neither.
func (c *diffClusterset) newImported(name string) *discoveryv1.EndpointSlice {
	v4 := c.chance(65)
	s := &discoveryv1.EndpointSlice{
		// The name has the family, as that of a slice is immutable.
		ObjectMeta:  metav1.ObjectMeta{Namespace: c.namespace, Name: fmt.Sprintf("%.8s-%v", name, v4), Labels: make(map[string]string)},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if !v4 {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	c.giveOwner(s)
	c.givePorts(s)
	for range c.rand.IntN(4) {
		s.Endpoints = append(s.Endpoints, c.newEndpoint(v4))
	}
	return s
}

// giveOwner sets the labels of a slice.
func (c *diffClusterset) giveOwner(s *discoveryv1.EndpointSlice) {
	imported, beside, cluster := true, c.chance(20), true
	switch dice := c.rand.IntN(100); {
	case dice < 12: // an ordinary slice
		imported, beside, cluster = false, true, false
	case dice < 18: // a slice of a service that tells where it is from, such as Cilium's global ones
		imported, beside = false, true
	case dice < 23:
		cluster = false
	}
	pick := func() string {
		if c.chance(70) && len(c.imports) > 0 {
			return diffPick(c.diffCluster, c.imports...).Name
		}
		return diffPick(c.diffCluster, append(diffImportNames, "", "no-import")...)
	}
	if imported {
		s.Labels[diffImportLabel] = pick()
	}
	if beside {
		s.Labels[discoveryv1.LabelServiceName] = pick()
	}
	if cluster {
		s.Labels[diffClusterLabel] = diffPick(c.diffCluster, diffClusterIDs...)
	}
	if imported && c.chance(10) { // as if of the controller, which does not import
		s.Labels[discoveryv1.LabelManagedBy] = diffController
	}
}

// givePorts sets the ports of a slice. A long list of them is seldom, as headless serves 8 of them.
func (c *diffClusterset) givePorts(s *discoveryv1.EndpointSlice) {
	if c.chance(4) {
		for i, name := range diffWideNames[:17] {
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: ptr.To(name), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(int32(2000 + i))})
		}
	}
	for i, n := range c.rand.Perm(len(diffClusterPorts))[:diffPick(c.diffCluster, 0, 1, 1, 2, 3)] {
		p := discoveryv1.EndpointPort{
			Name: ptr.To(diffClusterPorts[n]), Protocol: ptr.To(diffPick(c.diffCluster, diffProtocols...)),
			Port: ptr.To(int32(80 + diffPick(c.diffCluster, n, 0))),
		}
		if i == 0 && c.chance(20) { // port names are unique
			p.Name = ptr.To("")
		}
		if c.chance(10) {
			p.Port = nil
		}
		s.Ports = append(s.Ports, p)
	}
}

func (c *diffClusterset) newEndpoint(v4 bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{c.addr(v4, diffPick(c.diffCluster, diffClusterAddress...))}}
	if c.chance(15) {
		e.Addresses = append(e.Addresses, c.addr(v4, 110+c.rand.IntN(3)))
	}
	if c.chance(60) {
		e.Hostname = ptr.To(diffPick(c.diffCluster, diffClusterHosts...))
	}
	switch c.rand.IntN(6) {
	case 0:
		e.Conditions.Ready = ptr.To(false)
		if c.chance(30) {
			e.Conditions.Terminating = ptr.To(true)
		}
	case 1: // as the controller writes those of a service with publishNotReadyAddresses
		e.Conditions.Ready, e.Conditions.Serving = ptr.To(true), ptr.To(false)
	case 2, 3:
		e.Conditions.Ready = ptr.To(true)
	}
	return e
}

func (c *diffClusterset) objects() []apiserver.Object {
	out := c.diffCluster.objects()
	for _, i := range c.imports {
		out = append(out, i)
	}
	return out
}
