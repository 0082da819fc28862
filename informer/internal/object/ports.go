package object

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NamedPorts are the named ports of a pod's containers. They are stored once for all
// templates with equal ones.
type NamedPorts struct {
	lines  string // "name/protocol/number\n" for each, sorted by name and protocol
	Digest string // the hash of lines, if there are more than ComparedPorts
}

// ComparedPorts is the most named ports of a pod that a service with a long port list looks
// for one by one. More would cost too much for each endpoint.
const ComparedPorts = 64

// parsePort parses a line of NamedPorts.
func parsePort(line string) (_ TargetPort, number string) {
	name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "/")
	protocol, number, _ := strings.Cut(rest, "/")
	return TargetPort{name, protocol}, number
}

// portNumber returns the number of a port, or 0 if it is out of range.
func portNumber(number string) uint16 {
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// All yields the ports with their numbers, or 0 for a number out of range.
func (p NamedPorts) All(yield func(TargetPort, uint16) bool) {
	for line := range strings.Lines(p.lines) {
		if port, number := parsePort(line); !yield(port, portNumber(number)) {
			return
		}
	}
}

// Find returns the number of a port, or 0 if there is none, and how many lines it read. It
// searches the lines in place: each service looks for few ports, and a pod may have
// thousands.
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

type containerPort struct {
	name, protocol string
	number         int32
}

func (p containerPort) targetPort() TargetPort { return TargetPort{p.name, p.protocol} }

func appendContainerPorts(ports []containerPort, c *corev1.Container) []containerPort {
	for _, p := range c.Ports {
		ports = append(ports, containerPort{p.Name, string(p.Protocol), p.ContainerPort})
	}
	return ports
}

// namePorts returns the ports that have a name, in the order of NamedPorts. Of several with
// the same name and protocol, the first counts. Kubernetes permits no separator in a name
// or protocol.
func namePorts(ports []containerPort) []containerPort {
	const separators = "/\n"
	ports = slices.DeleteFunc(ports, func(p containerPort) bool {
		return p.name == "" || strings.ContainsAny(p.name, separators) || strings.ContainsAny(p.protocol, separators)
	})
	for i := range ports {
		ports[i].protocol = protocolName(ports[i].protocol)
	}
	compare := func(p, q containerPort) int { return p.targetPort().Compare(q.targetPort()) }
	slices.SortStableFunc(ports, compare)
	return slices.CompactFunc(ports, func(p, q containerPort) bool { return compare(p, q) == 0 })
}

// appendPorts appends the lines of NamedPorts.
func appendPorts(b []byte, ports []containerPort) []byte {
	for _, p := range ports {
		b = append(append(b, p.name...), '/')
		b = append(append(b, p.protocol...), '/')
		b = append(strconv.AppendInt(b, int64(p.number), 10), '\n')
	}
	return b
}

// protocolName returns a protocol as DNS names spell it. An empty one is TCP, as in the
// API.
func protocolName(p string) string {
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

// ServicePort is a port of a Service. If Target is set, the number is that of the pod's
// container port of that name.
type ServicePort struct {
	Name, Protocol string
	Target         string
	Number         uint16
}

// TargetPort identifies a named container port.
type TargetPort struct{ Name, Protocol string }

// Compare orders ports by name and protocol.
func (t TargetPort) Compare(u TargetPort) int {
	return cmp.Or(strings.Compare(t.Name, u.Name), strings.Compare(t.Protocol, u.Protocol))
}

// TargetPort returns the container port whose number the service port has.
func (p ServicePort) TargetPort() TargetPort { return TargetPort{p.Target, p.Protocol} }
