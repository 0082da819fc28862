package records

import (
	"net/netip"
	"strings"
)

// maxName is the most bytes of a name without escapes in presentation format: 255 bytes
// on the wire (RFC 1035, section 2.3.4).
const maxName = 254

// maxLabel is the most bytes of a label (RFC 1035, section 2.3.4).
const maxLabel = 63

// Name is the name of a query in lower case. [Name.Fold] sets it. A Name has no
// pointer, so it may stay on the stack.
//
// Labels are numbered from the right, as the trie is walked: in
// "web-0.nginx.default.svc.cluster.local." label 0 is "local".
type Name struct {
	text   [maxName]byte
	starts [maxName/2 + 1]uint8 // the start of each label in text, left to right
	length int                  // bytes of text in use
	labels int
}

// Fold sets n to qname, which must be fully qualified and in presentation format.
//
// Escapes are not decoded: Kubernetes names never contain the characters that the DNS
// library escapes. An escaped dot separates no labels.
//
// Of a name that is longer than maxName, Fold keeps the labels nearest to the root,
// below an empty label that matches nothing.
func (n *Name) Fold(qname string) {
	n.length, n.labels = 0, 0
	if cut := len(qname) - maxName; cut > 0 {
		for cut < len(qname)-1 && !startsLabel(qname, cut+1) {
			cut++
		}
		qname = qname[cut:]
	}
	text, start := n.text[:len(qname)], 0
	for i := 0; i < len(text); i++ {
		c := qname[i]
		text[i] = lower(c)
		switch c {
		case '.':
			if len(text) > 1 { // the root has no labels
				n.starts[n.labels] = uint8(start)
				n.labels++
			}
			start = i + 1
		case '\\':
			if i++; i < len(text) {
				text[i] = lower(qname[i])
			}
		}
	}
	n.length = len(qname)
}

// plain maps each byte that may be in a name of Kubernetes to its lower case, and every other
// byte to 0. The DNS library escapes some of the others.
var plain = func() (t [256]byte) {
	for i := range t {
		switch c := lower(byte(i)); {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			t[i] = c
		}
	}
	return t
}()

// FoldWire sets n to the name at the start of a part of a message (RFC 1035, section 3.1), as
// [Name.Fold] would to its presentation. It returns the size of the name on the wire. The size is
// 0 if FoldWire does not take the name: it is that of the root, is cut short, too long or
// compressed, or has a byte that no name of Kubernetes has.
func (n *Name) FoldWire(wire []byte) int {
	at, labels := 0, 0
	for at < len(wire) {
		size := int(wire[at])
		if size == 0 {
			n.length, n.labels = at, labels
			if at == 0 {
				return 0
			}
			return at + 1
		}
		end := at + 1 + size
		if size > maxLabel || end > maxName || end >= len(wire) {
			return 0
		}
		n.starts[labels] = uint8(at)
		text := n.text[at:end]
		for i, c := range wire[at+1 : end] {
			c = plain[c]
			if c == 0 {
				return 0
			}
			text[i] = c
		}
		text[size] = '.'
		at, labels = end, labels+1
	}
	return 0
}

// lower returns a byte with ASCII letters in lower case (RFC 4343).
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Len returns the number of labels.
func (n *Name) Len() int { return n.labels }

// Label returns the i-th label from the right. It shares the memory of n.
func (n *Name) Label(i int) []byte {
	at := n.labels - 1 - i
	end := n.length - 1
	if i > 0 {
		end = int(n.starts[at+1]) - 1
	}
	return n.text[n.starts[at]:end]
}

// labelsBetween returns the labels from the i-th from the right to the j-th, which is at or left
// of it, with the dots between them.
func (n *Name) labelsBetween(i, j int) []byte {
	end := n.length - 1
	if i > 0 {
		end = int(n.starts[n.labels-i]) - 1
	}
	return n.text[n.starts[n.labels-1-j]:end]
}

// suffix returns the end of the name from the i-th label from the right on: suffix(0)
// is "local.". It has as many bytes as in the name that was folded.
func (n *Name) suffix(i int) []byte {
	return n.text[n.starts[n.labels-1-i]:n.length]
}

// Reverse returns the address whose reverse name n is (RFC 1035, section 3.5, and RFC
// 3596, section 2.5), and whether n is a reverse name.
func (n *Name) Reverse() (netip.Addr, bool) {
	p, ok := n.ReversePrefix()
	return p.Addr(), ok && p.IsSingleIP()
}

// ReversePrefix returns the prefix of the addresses whose reverse names are at or below
// n, and whether there is such a prefix.
func (n *Name) ReversePrefix() (netip.Prefix, bool) {
	if n.labels < 2 || string(n.Label(0)) != "arpa" {
		return netip.Prefix{}, false
	}
	switch string(n.Label(1)) {
	case "in-addr":
		return n.reverse4()
	case "ip6":
		return n.reverse6()
	}
	return netip.Prefix{}, false
}

func (n *Name) reverse4() (netip.Prefix, bool) {
	var a [4]byte
	octets := n.labels - 2
	if octets > len(a) {
		return netip.Prefix{}, false
	}
	for i := range octets {
		label, octet := n.Label(2+i), 0
		if len(label) == 0 || len(label) > 3 || len(label) > 1 && label[0] == '0' {
			return netip.Prefix{}, false
		}
		for _, c := range label {
			if c < '0' || c > '9' {
				return netip.Prefix{}, false
			}
			octet = 10*octet + int(c-'0')
		}
		if octet > 255 {
			return netip.Prefix{}, false
		}
		a[i] = byte(octet)
	}
	return netip.PrefixFrom(netip.AddrFrom4(a), 8*octets), true
}

func (n *Name) reverse6() (netip.Prefix, bool) {
	var a [16]byte
	nibbles := n.labels - 2
	if nibbles > 2*len(a) {
		return netip.Prefix{}, false
	}
	for i := range nibbles {
		label := n.Label(2 + i)
		if len(label) != 1 {
			return netip.Prefix{}, false
		}
		nibble := strings.IndexByte("0123456789abcdef", label[0])
		if nibble < 0 {
			return netip.Prefix{}, false
		}
		a[i/2] |= byte(nibble) << (4 * (1 - i%2))
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), 4*nibbles), true
}

// joinLabels returns labels and names as one name. The last must be fully qualified.
func joinLabels(labels ...string) string {
	if labels[len(labels)-1] == "." {
		labels[len(labels)-1] = ""
	}
	return strings.Join(labels, ".")
}
