package records

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// maxShortPorts is the most ports of a short list.
const maxShortPorts = 16

// PortList is the ports of an endpoint. It is immutable, and endpoints share it.
// The nil list has no ports.
//
// A list of more than 16 ports is long. A service stores a host once for each port
// of a short list, but once for a long list. So an endpoint that comes or goes costs
// the same, however long its list is.
//
// A service has SRV records for at most 8 different long lists. Which ones depends
// only on the lists of its ready endpoints. An endpoint with another long list keeps
// its addresses, and gets SRV records when fewer lists are in use.
type PortList struct {
	ports   []Port        // sorted if the list is long; nil if resolve is set
	resolve func() []Port // computes the ports of a lazy list; nil otherwise
	digest  string        // 32 bytes, equal for equal long lists; empty if the list is short
}

// NewPortList returns the list of the ports, in any order, or nil if there are none.
// The caller must not change the ports afterwards.
func NewPortList(ports []Port) *PortList {
	switch {
	case len(ports) == 0:
		return nil
	case len(ports) <= maxShortPorts:
		return &PortList{ports: ports}
	}
	ports = slices.Clone(ports)
	sortPorts(ports)
	content := []byte("ports")
	for _, p := range ports {
		for _, s := range []string{p.Protocol, p.Name} {
			content = append(binary.AppendUvarint(content, uint64(len(s))), s...)
		}
		content = binary.BigEndian.AppendUint16(content, p.Number)
	}
	return &PortList{ports: ports, digest: digestOf(content)}
}

// NewLazyPortList returns a long list that keeps no ports: it calls resolve when a
// service begins to have SRV records for it. For lists with equal ids, resolve must
// return equal ports.
func NewLazyPortList(id []byte, resolve func() []Port) *PortList {
	return &PortList{resolve: resolve, digest: digestOf(append([]byte("lazy"), id...))}
}

func sortPorts(ports []Port) {
	slices.SortFunc(ports, func(a, b Port) int {
		if c := (portName{a.Protocol, a.Name}).compare(portName{b.Protocol, b.Name}); c != 0 {
			return c
		}
		return cmp.Compare(a.Number, b.Number)
	})
}

func digestOf(content []byte) string {
	digest := sha256.Sum256(content)
	return string(digest[:])
}

// IsLongPortList reports whether a list of n ports is long.
func IsLongPortList(n int) bool { return n > maxShortPorts }

// Ports returns the ports, which the caller must not change.
func (l *PortList) Ports() []Port {
	switch {
	case l == nil:
		return nil
	case l.resolve != nil:
		return l.resolve()
	}
	return l.ports
}

// Equal reports whether the lists are equal. The order of the ports matters in short
// lists only.
func (l *PortList) Equal(m *PortList) bool {
	if l == m || l == nil || m == nil {
		return l == m
	}
	return l.digest == m.digest && (l.long() || slices.Equal(l.ports, m.ports))
}

func (l *PortList) long() bool { return l.digest != "" }

// compare sorts long lists by digest.
func (l *PortList) compare(m *PortList) int {
	if l == m {
		return 0
	}
	return strings.Compare(l.digest, m.digest)
}
