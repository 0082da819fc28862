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

// joinedService is a service with what is computed of it. The ports of endpoints are
// shared.
type joinedService struct {
	*object.Service
	key      records.ServiceKey
	targets  []object.TargetPort                                    // container ports that give numbers to ports, sorted
	fixed    *records.PortList                                      // the ports if there are no targets
	resolved map[unique.Handle[object.NamedPorts]]*records.PortList // the ports if there are, by those of pods; until forget
	sorted   []object.ServicePort                                   // the ports, if there are targets and many ports,
	digest   [sha256.Size]byte                                      // and what they are known by
	read     int                                                    // lines of namedPorts, of which tests have budgets
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
	if records.IsLong(len(s.Ports)) {
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

// portsOf returns the service's ports as the pods of a template have them. A port
// whose name no container has is left out.
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

// resolve returns the ports of the pods with some named ports. Each pod of a service with
// many ports may have its own list. So a long one costs little until the trie asks for it,
// however many ports both have. Its id has those named ports that the service looks for.
// It has all of them if they are more than comparedPorts: lists may then differ only in
// their ids.
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

// resolve returns ports with the numbers that the named ports of a pod give them, and how
// many lines of these it read.
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
