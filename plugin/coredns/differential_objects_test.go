package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// The objects are like those of an API server: valid, and with defaults set.

func (c *diffCluster) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: c.namespace, Name: name}
}

func (c *diffCluster) newService(name string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: c.meta(name)}
	c.annotate(s)
	s.Spec.Type = corev1.ServiceTypeClusterIP
	s.Spec.ClusterIP = corev1.ClusterIPNone
	s.Spec.PublishNotReadyAddresses = c.chance(20)
	s.Spec.IPFamilies = diffPick(c,
		[]corev1.IPFamily{corev1.IPv4Protocol},
		[]corev1.IPFamily{corev1.IPv6Protocol},
		[]corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
		[]corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol})
	if c.chance(75) {
		s.Spec.Selector = diffPick(c,
			map[string]string{"app": "a"}, map[string]string{"app": "b"}, map[string]string{"tier": "y"},
			map[string]string{"app": "a", "tier": "x"}, map[string]string{"app": "none"})
	}
	s.Spec.Ports = c.servicePorts()
	wide := 6
	if c.options().zonal { // hosts with many ports are in several zones
		wide = 20
	}
	if c.chance(wide) {
		s.Spec.Ports = c.widePorts()
	}
	switch dice := c.rand.IntN(100); {
	case dice < 4:
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}
	case dice < 16:
		s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
		s.Spec.ClusterIP = c.addr(s.Spec.IPFamilies[0] == corev1.IPv4Protocol, 200+slices.Index(diffServiceNames, name))
		if len(s.Spec.Ports) == 0 { // only a headless service may have no ports
			s.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(80)}}
		}
	}
	if s.Spec.ClusterIP != "" {
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
	return s
}

// annotate gives some services the annotation that overrides the option "hosts". Only the exact
// values have a meaning.
func (c *diffCluster) annotate(s *corev1.Service) {
	s.Annotations = nil
	if c.chance(40) {
		s.Annotations = map[string]string{diffHostsAnnotation: diffPick(c, "addressed", "ready", "Addressed")}
	}
}

// changedService returns another service of the name, or the same one with another annotation.
func (c *diffCluster) changedService(old *corev1.Service) *corev1.Service {
	if c.chance(70) {
		return c.newService(old.Name)
	}
	s := old.DeepCopy()
	c.annotate(s)
	return s
}

func (c *diffCluster) servicePorts() []corev1.ServicePort {
	names := c.rand.Perm(len(diffPortNames))[:diffPick(c, 0, 1, 1, 1, 2, 3)]
	var out []corev1.ServicePort
	for i, n := range names {
		p := corev1.ServicePort{Name: diffPortNames[n], Port: int32(80 + i), Protocol: diffPick(c, diffProtocols...)}
		if len(names) == 1 && c.chance(30) { // a single port needs no name
			p.Name = ""
		}
		switch c.rand.IntN(3) {
		case 0:
			p.TargetPort = intstr.FromInt32(p.Port)
		case 1:
			p.TargetPort = intstr.FromInt32(int32(8080 + c.rand.IntN(2)))
		default:
			p.TargetPort = intstr.FromString(diffPick(c, diffTargets...))
		}
		out = append(out, p)
	}
	return out
}

// diffWide is the named target port of a service with many ports. Pods give it at most
// three numbers, so that the pods of a service have at most four port lists. The up to
// four manual slices have others. Of more than 8 lists headless serves 8.
const diffWide = "wide"

// widePorts returns 17 to 40 ports.
func (c *diffCluster) widePorts() []corev1.ServicePort {
	var out []corev1.ServicePort
	for i, name := range diffWideNames[:17+c.rand.IntN(len(diffWideNames)-16)] {
		p := corev1.ServicePort{Name: name, Port: int32(80 + i), Protocol: diffPick(c, diffProtocols...), TargetPort: intstr.FromInt(2000 + i)}
		if i == 0 {
			p.Protocol, p.TargetPort = corev1.ProtocolTCP, intstr.FromString(diffWide)
		}
		out = append(out, p)
	}
	return out
}

// addr returns the n-th address of a family. Some IPv6 addresses have runs of zeros,
// which their text abbreviates.
func (c *diffCluster) addr(v4 bool, n int) string {
	if v4 {
		return netip.AddrFrom4([4]byte{10, c.subnet[0], c.subnet[1], byte(n)}).String()
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, c.subnet[0], c.subnet[1]}
	switch n % 3 {
	case 0:
		a[15] = byte(n)
	case 1:
		a[7] = byte(n)
	default:
		a[7], a[9], a[12], a[15] = byte(n), 1, 0xab, 0xcd
	}
	return netip.AddrFrom16(a).String()
}

func (c *diffCluster) newPod(name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: c.meta(name)}
	p.Labels = map[string]string{"app": diffPick(c, "a", "a", "b"), "tier": diffPick(c, "x", "y")}
	p.Status.Phase = corev1.PodRunning
	p.Spec.Containers = []corev1.Container{{Name: "main", Ports: c.containerPorts()}, {Name: "other", Ports: c.containerPorts()}}
	if c.chance(75) {
		main := &p.Spec.Containers[0]
		main.Ports = append(main.Ports, corev1.ContainerPort{Name: diffWide, ContainerPort: int32(2000 + 100*c.rand.IntN(3)), Protocol: corev1.ProtocolTCP})
	}
	if c.chance(20) {
		init := corev1.Container{Name: "init", Ports: c.containerPorts()}
		if c.chance(50) {
			init.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, init)
	}
	c.giveHostname(p)
	c.giveNode(p)
	c.giveAddresses(p)
	c.giveState(p)
	return p
}

// changedPod returns another pod of the name, or the same one in another state.
func (c *diffCluster) changedPod(old *corev1.Pod) *corev1.Pod {
	if c.chance(50) {
		return c.newPod(old.Name)
	}
	p := old.DeepCopy()
	p.DeletionTimestamp = nil
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: old.Status.PodIP, PodIPs: old.Status.PodIPs}
	if len(p.Status.PodIPs) == 0 {
		c.giveAddresses(p)
	}
	c.giveState(p)
	return p
}

func (c *diffCluster) containerPorts() []corev1.ContainerPort {
	var out []corev1.ContainerPort
	for i := range c.rand.IntN(3) {
		out = append(out, corev1.ContainerPort{
			Name:          diffPick(c, append(diffTargets, "")...),
			ContainerPort: int32(9000 + 10*i + c.rand.IntN(3)),
			Protocol:      diffPick(c, diffProtocols...),
		})
	}
	return out
}

func (c *diffCluster) giveHostname(p *corev1.Pod) {
	// A host may have several long port lists, whose ports are combined.
	for _, s := range c.services {
		if c.isWide(s.Name) && c.chance(40) {
			p.Spec.Hostname, p.Spec.Subdomain = "peer", s.Name
			return
		}
	}
	hostname := p.Name
	switch dice := c.rand.IntN(100); {
	case dice < 15 || c.starting && dice < 60:
		hostname = "peer" // shared
	case dice < 20: // the dashed address of a pod
		hostname = strings.ReplaceAll(c.addr(true, 10+c.rand.IntN(len(diffPodNames))), ".", "-")
	case dice < 25:
		hostname = diffLong
	case dice < 30:
		hostname = "0"
	}
	switch dice := c.rand.IntN(100); {
	case dice < 10:
		p.Spec.Hostname = hostname
	case dice < 20:
		p.Spec.Subdomain = c.services[0].Name
	case dice < 30:
		p.Spec.Hostname, p.Spec.Subdomain = hostname, "elsewhere"
	case dice < 85:
		p.Spec.Hostname, p.Spec.Subdomain = hostname, diffPick(c, c.services...).Name
	}
}

func (c *diffCluster) giveAddresses(p *corev1.Pod) {
	n := 10 + slices.Index(diffPodNames, p.Name)
	if c.chance(20) { // the address of one of two nodes, shared
		p.Spec.HostNetwork = true
		n = 1 + c.rand.IntN(2)
		if i := c.nodeOf(p); i >= 0 {
			n = 1 + i
		}
	}
	for _, v4 := range diffPick(c, []bool{true}, []bool{false}, []bool{true, false}, []bool{true, false}, []bool{false, true}) {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: c.addr(v4, n)})
	}
	p.Status.PodIP = p.Status.PodIPs[0].IP
}

func (c *diffCluster) giveState(p *corev1.Pod) {
	ready := corev1.ConditionTrue
	if c.starting && c.chance(65) {
		ready = corev1.ConditionFalse
	}
	switch dice := c.rand.IntN(100); {
	case dice < 15:
		ready = diffPick(c, corev1.ConditionFalse, corev1.ConditionUnknown)
	case dice < 25:
		now := metav1.Unix(1e9, 0)
		p.DeletionTimestamp = &now
		ready = diffPick(c, corev1.ConditionTrue, corev1.ConditionFalse)
	case dice < 31:
		p.Status.Phase = diffPick(c, corev1.PodSucceeded, corev1.PodFailed)
	case dice < 37 || c.starting && dice > 85:
		p.Status = corev1.PodStatus{Phase: corev1.PodPending}
		return
	case dice < 39:
		p.Status.Phase = corev1.PodUnknown
	}
	p.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: ready},
	}
}

// newSlice returns a slice that Kubernetes's own controller does not manage. Its service
// may have a selector, too, or not exist.
func (c *diffCluster) newSlice(name string) *discoveryv1.EndpointSlice {
	v4 := name[len(name)-1]%2 == 0 // the family of a slice is immutable
	s := &discoveryv1.EndpointSlice{ObjectMeta: c.meta(name), AddressType: discoveryv1.AddressTypeIPv6}
	if v4 {
		s.AddressType = discoveryv1.AddressTypeIPv4
	}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: "ghost"}
	if len(c.services) > 0 && c.chance(90) {
		s.Labels[discoveryv1.LabelServiceName] = diffPick(c, c.services...).Name
	}
	numbers := []int{1, 10, 11, 100, 101, 102, 103}
	if c.options().zonal { // several slices of a service have one address
		numbers = []int{10, 11, 100}
		if len(c.services) > 0 && c.chance(60) {
			s.Labels[discoveryv1.LabelServiceName] = c.services[0].Name
		}
	}
	if by := diffPick(c, "", "me", "endpointslicemirroring-controller.k8s.io"); by != "" {
		s.Labels[discoveryv1.LabelManagedBy] = by
	}
	for i, n := range c.rand.Perm(len(diffPortNames))[:diffPick(c, 0, 1, 1, 2)] {
		port := discoveryv1.EndpointPort{Name: ptr.To(diffPortNames[n]), Protocol: ptr.To(diffPick(c, diffProtocols...)), Port: ptr.To(int32(70 + i))}
		if i == 0 && c.chance(15) { // port names are unique
			port.Name = ptr.To("")
		}
		if c.chance(8) { // a port without a number
			port.Port = nil
		}
		s.Ports = append(s.Ports, port)
	}
	if c.isWide(s.Labels[discoveryv1.LabelServiceName]) && c.chance(60) || c.chance(3) {
		s.Ports = nil
		number := diffPick(c, 2000, 3000) // the ports of the service, or others
		for i, name := range diffWideNames[:17+c.rand.IntN(len(diffWideNames)-16)] {
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{
				Name: ptr.To(name), Protocol: ptr.To(diffPick(c, diffProtocols...)), Port: ptr.To(int32(number + i)),
			})
		}
		if c.chance(20) {
			s.Ports[c.rand.IntN(len(s.Ports))].Port = nil
		}
	}
	zones := make(map[string]*string)
	for range c.rand.IntN(4) {
		e := discoveryv1.Endpoint{Addresses: []string{c.addr(v4, diffPick(c, numbers...))}}
		if c.chance(15) {
			e.Addresses = append(e.Addresses, c.addr(v4, 110+c.rand.IntN(3)))
		}
		if c.chance(50) {
			e.Hostname = ptr.To(diffPick(c, "db-0", "peer", "ext", "0", fmt.Sprint("h", c.rand.IntN(3))))
		}
		switch c.rand.IntN(5) {
		case 0:
		case 1:
			e.Conditions.Ready = ptr.To(false)
			if c.chance(30) {
				e.Conditions.Terminating = ptr.To(true)
			}
		default:
			e.Conditions.Ready = ptr.To(true)
		}
		c.giveZone(&e, zones)
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (c *diffCluster) isWide(service string) bool {
	return slices.ContainsFunc(c.services, func(s *corev1.Service) bool { return s.Name == service && len(s.Spec.Ports) > 16 })
}
