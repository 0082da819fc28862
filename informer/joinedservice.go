package informer

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"unique"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// joinedService is a Service with the data computed from it. Its endpoints share the port
// lists.
type joinedService struct {
	*object.Service
	key records.ServiceKey
	// addressed: pods that are not ready give their hosts their addresses. The joiner sets it.
	addressed bool
	targets   []object.TargetPort // named container ports that the ports refer to, sorted
	fixed     *records.PortList   // the port list, if there are no targets
	// With targets, resolved caches the port list for each set of named ports, for one batch.
	resolved map[unique.Handle[object.NamedPorts]]*records.PortList
	// With targets and a long port list, sorted is a copy of the ports for lazy lists, and
	// digest the hash of it.
	sorted []object.ServicePort
	digest [sha256.Size]byte
	read   int // lines of NamedPorts read so far; tests have budgets for them
}

func newJoinedService(s *object.Service) *joinedService {
	m := &joinedService{Service: s, key: records.ServiceKey{Namespace: s.Namespace, Name: s.Name}}
	for _, p := range s.Ports {
		if p.Target != "" {
			m.targets = append(m.targets, p.TargetPort())
		}
	}
	if len(m.targets) == 0 {
		ports, _ := resolve(s.Ports, object.NamedPorts{})
		m.fixed = records.NewPortList(ports)
		return m
	}
	slices.SortFunc(m.targets, object.TargetPort.Compare)
	m.targets = slices.Compact(m.targets)
	if records.IsLongPortList(len(s.Ports)) {
		m.sorted = slices.SortedStableFunc(slices.Values(s.Ports), func(p, q object.ServicePort) int {
			return cmp.Or(strings.Compare(p.Protocol, q.Protocol), strings.Compare(p.Name, q.Name))
		})
		var content []byte
		for _, p := range m.sorted {
			content = fmt.Appendf(content, "%q %q %q %d\n", p.Name, p.Protocol, p.Target, p.Number)
		}
		m.digest = sha256.Sum256(content)
	}
	return m
}

// portsOf returns the ports of the service for the pods of a template. It leaves out a port
// whose target name no container has.
func (s *joinedService) portsOf(t *object.PodTemplate) *records.PortList {
	if len(s.targets) == 0 {
		return s.fixed
	}
	ports, ok := s.resolved[t.Ports]
	if !ok {
		ports = s.resolve(t.NamedPorts())
		if s.resolved == nil {
			s.resolved = make(map[unique.Handle[object.NamedPorts]]*records.PortList)
		}
		s.resolved[t.Ports] = ports
	}
	return ports
}

// resolve returns the port list for pods with some named ports. A long list is computed
// only when the trie asks for it, because each pod may have another one. The id of such a
// list consists of the service's ports and the named ports that they refer to. Beyond
// object.ComparedPorts named ports the id has the digest of all of them instead, so equal
// lists may have different ids.
func (s *joinedService) resolve(named object.NamedPorts) *records.PortList {
	ports := s.sorted
	if ports == nil {
		resolved, read := resolve(s.Ports, named)
		s.read += read
		return records.NewPortList(resolved)
	}
	id := append(s.digest[:], named.Digest...)
	if named.Digest == "" {
		for target, number := range named.All {
			s.read++
			if _, ok := slices.BinarySearchFunc(s.targets, target, object.TargetPort.Compare); ok {
				id = fmt.Appendf(id, "%s/%s/%d\n", target.Name, target.Protocol, number)
			}
		}
	}
	return records.NewLazyPortList(id, func() []records.Port {
		resolved, _ := resolve(ports, named)
		return resolved
	})
}

// resolve returns ports with their numbers. If a port refers to a name, resolve looks it up
// among the named ports of a pod. It also returns how many lines it read.
func resolve(ports []object.ServicePort, named object.NamedPorts) (out []records.Port, read int) {
	out = make([]records.Port, 0, len(ports))
	for _, sp := range ports {
		number := sp.Number
		if sp.Target != "" {
			var n int
			number, n = named.Find(sp.TargetPort())
			if read += n; number == 0 {
				continue
			}
		}
		out = append(out, records.Port{Name: sp.Name, Protocol: sp.Protocol, Number: number})
	}
	return out, read
}
