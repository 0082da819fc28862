package object

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
)

// Pod is what is kept of a Pod. It takes 48 bytes and the bytes of its name:
// there are a hundred thousand of them.
type Pod struct {
	Template unique.Handle[PodTemplate]
	text     string // the name, and the hostname if it is neither the name nor empty
	v6       *[16]byte
	nameLen  uint32
	v4       [4]byte
	state    podState
}

// PodTemplate is what the pods of one template have in common. It is held once
// for all of them.
type PodTemplate struct {
	namespace, Subdomain string
	Ports                unique.Handle[NamedPorts] // zero without any
	labels               string                    // see appendLabels
}

// NamedPorts are the named ports of the containers of a pod. They are held once for all
// templates that have the same.
type NamedPorts struct {
	lines  string // "name/protocol/number\n" for each, sorted by name and protocol
	Digest string // of lines, if there are more than comparedPorts
}

// ComparedPorts is how many named ports a pod may have for a service with a long list to
// look for each of them: more would cost too much with each endpoint.
const ComparedPorts = 64

// NamedPorts returns the named ports of the pods.
func (t *PodTemplate) NamedPorts() NamedPorts {
	if t.Ports == (unique.Handle[NamedPorts]{}) {
		return NamedPorts{}
	}
	return t.Ports.Value()
}

type podState uint8

const (
	podReady       podState = 1 << iota
	podTerminating          // it is being deleted
	podFinished             // it runs no more and won't again
	podNamed                // its hostname is its name
	podV4                   // it has the address v4
)

func (p *Pod) ID() Key { return Key{p.Template.Value().namespace, p.Name()} }

func (p *Pod) Name() string { return p.text[:p.nameLen] }

func (p *Pod) Hostname() string {
	if p.is(podNamed) {
		return p.Name()
	}
	return p.text[p.nameLen:]
}

func (p *Pod) is(s podState) bool { return p.state&s != 0 }

func (p *Pod) Ready() bool       { return p.is(podReady) }
func (p *Pod) Terminating() bool { return p.is(podTerminating) }
func (p *Pod) Finished() bool    { return p.is(podFinished) }

// Addrs yields the addresses of the pod.
func (p *Pod) Addrs(yield func(netip.Addr) bool) {
	if p.is(podV4) && !yield(netip.AddrFrom4(p.v4)) {
		return
	}
	if p.v6 != nil {
		yield(netip.AddrFrom16(*p.v6))
	}
}

func (p *Pod) Equal(q *Pod) bool {
	return p == q || p.Template == q.Template && p.text == q.text && p.nameLen == q.nameLen &&
		p.state == q.state && p.v4 == q.v4 && (p.v6 == q.v6 || p.v6 != nil && q.v6 != nil && *p.v6 == *q.v6)
}

// SameLabels reports whether two pods with one key have the same labels, whatever else
// differs.
func (p *Pod) SameLabels(q *Pod) bool { return p.Template == q.Template && p.text == q.text }

// parsePort returns the port of a line of namedPorts.
func parsePort(line string) (_ TargetPort, number string) {
	name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "/")
	protocol, number, _ := strings.Cut(rest, "/")
	return TargetPort{name, protocol}, number
}

// portNumber returns the number of a port, or 0 if it is none that a port has.
func portNumber(number string) uint16 {
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// All yields the ports, each with its number, or 0 if that is none that a port has.
func (p NamedPorts) All(yield func(TargetPort, uint16) bool) {
	for line := range strings.Lines(p.lines) {
		if port, number := parsePort(line); !yield(port, portNumber(number)) {
			return
		}
	}
}

// Find returns the number of a port, or 0, and how many lines it read. It reads the lines
// in place: each service looks for few ports, and a pod may have thousands.
func (p NamedPorts) Find(port TargetPort) (number uint16, read int) {
	rest := p.lines
	for rest != "" {
		start := strings.LastIndexByte(rest[:len(rest)/2], '\n') + 1
		end := start + strings.IndexByte(rest[start:], '\n') + 1
		read++
		switch here, number := parsePort(rest[start:end]); here.Compare(port) {
		case 0:
			return portNumber(number), read
		case -1:
			rest = rest[end:]
		default:
			rest = rest[:start]
		}
	}
	return 0, read
}

// podFields are the fields of a Pod that are read, however it was encoded. Their
// strings may be borrowed.
type podFields struct {
	metadata
	hostname, subdomain string
	ports               []containerPort // of containers
	sidecarPorts        []containerPort // of init containers that go on to run
	phase               string
	ready               bool
	ip                  string
	ips                 []string

	buffer []byte // of pod
}

type containerPort struct {
	name, protocol string
	number         int32
}

func (p containerPort) targetPort() TargetPort { return TargetPort{p.name, p.protocol} }

// NewPod returns what is kept of a pod.
func NewPod(p *corev1.Pod) *Pod {
	f := podFields{
		metadata:  newMetadata(&p.ObjectMeta),
		hostname:  p.Spec.Hostname,
		subdomain: p.Spec.Subdomain,
		phase:     string(p.Status.Phase),
		ip:        p.Status.PodIP,
	}
	for i := range p.Spec.Containers {
		f.ports = appendContainerPorts(f.ports, &p.Spec.Containers[i])
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			f.sidecarPorts = appendContainerPorts(f.sidecarPorts, c)
		}
	}
	for _, c := range p.Status.Conditions {
		f.ready = f.ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}
	for _, ip := range p.Status.PodIPs {
		f.ips = append(f.ips, ip.IP)
	}
	return f.pod()
}

func appendContainerPorts(ports []containerPort, c *corev1.Container) []containerPort {
	for _, p := range c.Ports {
		ports = append(ports, containerPort{p.Name, string(p.Protocol), p.ContainerPort})
	}
	return ports
}

// pod makes the pod of the fields. It keeps none of their strings.
func (f *podFields) pod() *Pod {
	hostname := strings.ToLower(f.hostname)
	p := &Pod{nameLen: uint32(len(f.name))}
	b := append(f.buffer[:0], f.name...)
	if hostname == f.name {
		p.state |= podNamed
	} else {
		b = append(b, hostname...)
	}
	p.text = string(b)
	t := PodTemplate{namespace: f.namespace, Subdomain: strings.ToLower(f.subdomain)}
	f.ports = namePorts(append(f.ports, f.sidecarPorts...))
	if b = appendPorts(b[:0], f.ports); len(b) > 0 {
		named := NamedPorts{lines: borrow(b)}
		if len(f.ports) > ComparedPorts {
			digest := sha256.Sum256(b)
			named.Digest = string(digest[:])
		}
		t.Ports = unique.Make(named) // copies the strings of a new one, as the next does
	}
	b = appendLabels(b[:0], f.labels, f.name, hostname)
	t.labels = borrow(b)
	p.Template = unique.Make(t)
	f.buffer = b
	for _, s := range []struct {
		is bool
		podState
	}{
		{f.ready, podReady},
		{f.terminating, podTerminating},
		{f.phase == string(corev1.PodSucceeded) || f.phase == string(corev1.PodFailed), podFinished},
	} {
		if s.is {
			p.state |= s.podState
		}
	}
	for _, ip := range f.ips {
		p.setAddr(ip)
	}
	if len(f.ips) == 0 { // only in manifests
		p.setAddr(f.ip)
	}
	return p
}

// setAddr gives the pod an address, if it has none of its family yet.
func (p *Pod) setAddr(ip string) {
	a, ok := ParseAddr(ip)
	switch {
	case !ok:
	case a.Is4() && !p.is(podV4):
		p.v4 = a.As4()
		p.state |= podV4
	case a.Is6() && p.v6 == nil:
		v6 := a.As16()
		p.v6 = &v6
	}
}

// namePorts returns the named ports as namedPorts has them; of several with one name and
// protocol the first counts. Kubernetes takes no name or protocol with a separator.
func namePorts(ports []containerPort) []containerPort {
	const separators = "/\n"
	ports = slices.DeleteFunc(ports, func(p containerPort) bool {
		return p.name == "" || strings.ContainsAny(p.name, separators) || strings.ContainsAny(p.protocol, separators)
	})
	for i := range ports {
		ports[i].protocol = protocol(ports[i].protocol)
	}
	compare := func(p, q containerPort) int { return p.targetPort().Compare(q.targetPort()) }
	slices.SortStableFunc(ports, compare)
	return slices.CompactFunc(ports, func(p, q containerPort) bool { return compare(p, q) == 0 })
}

// appendPorts appends the lines of namedPorts.
func appendPorts(b []byte, ports []containerPort) []byte {
	for _, p := range ports {
		b = append(append(b, p.name...), '/')
		b = append(append(b, p.protocol...), '/')
		b = append(strconv.AppendInt(b, int64(p.number), 10), '\n')
	}
	return b
}

// protocol is a protocol as it stands in names. None is TCP, as the API server
// has it.
func protocol(p string) string {
	switch p {
	case "", string(corev1.ProtocolTCP):
		return "tcp"
	case string(corev1.ProtocolUDP):
		return "udp"
	case string(corev1.ProtocolSCTP):
		return "sctp"
	}
	return intern(strings.ToLower(p))
}

// reset empties the fields, so that nothing is borrowed any more. What they hold
// of memory is kept for the next pod.
func (f *podFields) reset() {
	clear(f.labels[:cap(f.labels)])
	clear(f.ports[:cap(f.ports)])
	clear(f.sidecarPorts[:cap(f.sidecarPorts)])
	clear(f.ips[:cap(f.ips)])
	*f = podFields{
		metadata: metadata{labels: f.labels[:0]},
		ports:    f.ports[:0], sidecarPorts: f.sidecarPorts[:0], ips: f.ips[:0],
		buffer: f.buffer[:0],
	}
}

// decodePod reads a Pod from protobuf, by way of f, which is empty before and
// afterwards. The field numbers are those of k8s.io/api/core/v1/generated.proto.
func decodePod(b []byte, f *podFields) (*Pod, metadata, error) {
	defer f.reset()
	m := newMessage("pod", b)
	for m.next() {
		switch m.number {
		case 1:
			f.decode(&m)
		case 2:
			f.decodeSpec(&m)
		case 3:
			f.decodeStatus(&m)
		}
	}
	if m.err != nil {
		return nil, metadata{}, m.err
	}
	p := f.pod()
	meta := f.metadata
	meta.labels = nil
	return p, meta, nil
}

func (f *podFields) decodeSpec(outer *message) {
	m := newMessage("spec", outer.embedded())
	for m.next() {
		switch m.number {
		case 2:
			f.ports, _ = decodeContainer(&m, f.ports)
		case 20:
			before := len(f.sidecarPorts)
			var restart string
			if f.sidecarPorts, restart = decodeContainer(&m, f.sidecarPorts); restart != string(corev1.ContainerRestartPolicyAlways) {
				f.sidecarPorts = f.sidecarPorts[:before]
			}
		case 16:
			f.hostname = m.string()
		case 17:
			f.subdomain = m.string()
		}
	}
	outer.ended(&m)
}

// decodeContainer appends the ports of a container and returns its restart
// policy, too.
func decodeContainer(outer *message, ports []containerPort) (_ []containerPort, restart string) {
	m := newMessage("container", outer.embedded())
	for m.next() {
		switch m.number {
		case 6:
			ports = append(ports, decodeContainerPort(&m))
		case 24:
			restart = m.string()
		}
	}
	outer.ended(&m)
	return ports, restart
}

func decodeContainerPort(outer *message) containerPort {
	var p containerPort
	m := newMessage("container port", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			p.name = m.string()
		case 3:
			p.number = m.number32()
		case 4:
			p.protocol = m.string()
		}
	}
	outer.ended(&m)
	return p
}

func (f *podFields) decodeStatus(outer *message) {
	m := newMessage("status", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			f.phase = m.string()
		case 2:
			ready := decodeReady(&m)
			f.ready = f.ready || ready
		case 6:
			f.ip = m.string()
		case 12:
			f.ips = append(f.ips, decodePodIP(&m))
		}
	}
	outer.ended(&m)
}

// decodeReady tells whether a condition says that the pod is ready.
func decodeReady(outer *message) bool {
	var kind, status string
	m := newMessage("condition", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			kind = m.string()
		case 2:
			status = m.string()
		}
	}
	outer.ended(&m)
	return kind == string(corev1.PodReady) && status == string(corev1.ConditionTrue)
}

func decodePodIP(outer *message) string {
	var ip string
	m := newMessage("pod IP", outer.embedded())
	for m.next() {
		if m.number == 1 {
			ip = m.string()
		}
	}
	outer.ended(&m)
	return ip
}
