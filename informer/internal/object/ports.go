package object

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// NamedPorts are the named ports of the containers of a pod. They are held once for all
// templates that have the same.
type NamedPorts struct {
	lines  string // "name/protocol/number\n" for each, sorted by name and protocol
	Digest string // of lines, if there are more than comparedPorts
}

// ComparedPorts is how many named ports a pod may have for a service with a long list to
// look for each of them: more would cost too much with each endpoint.
const ComparedPorts = 64

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

// namePorts returns the named ports as namedPorts has them; of several with one name and
// protocol the first counts. Kubernetes takes no name or protocol with a separator.
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

// appendPorts appends the lines of namedPorts.
func appendPorts(b []byte, ports []containerPort) []byte {
	for _, p := range ports {
		b = append(append(b, p.name...), '/')
		b = append(append(b, p.protocol...), '/')
		b = append(strconv.AppendInt(b, int64(p.number), 10), '\n')
	}
	return b
}

// protocolName is a protocol as it stands in names. None is TCP, as the API server
// has it.
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

// ServicePort is a port of a Service. Its number is the pod's to say where
// target is a name.
type ServicePort struct {
	Name, Protocol string
	Target         string
	Number         uint16
}

// TargetPort is the name of a container's port, with its protocol.
type TargetPort struct{ Name, Protocol string }

func (t TargetPort) Compare(u TargetPort) int {
	return cmp.Or(strings.Compare(t.Name, u.Name), strings.Compare(t.Protocol, u.Protocol))
}

func (p ServicePort) TargetPort() TargetPort { return TargetPort{p.Target, p.Protocol} }
