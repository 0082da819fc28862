package records

import (
	"net/netip"
	"strings"
)

// maxName is the longest name in presentation format that can be one of ours,
// in bytes: 255 on the wire (RFC 1035, section 2.3.4) are at most 254 here.
const maxName = 254

// maxLabel is the longest label in bytes (RFC 1035, section 2.3.4).
const maxLabel = 63

// Name is a query name in lower case, with the start of each label. It holds
// no pointer, so that a Name on the stack costs no allocation.
//
// Labels are counted from the right, as the trie is walked: in
// "web-0.nginx.default.svc.cluster.local." label 0 is "local".
type Name struct {
	text   [maxName]byte
	starts [maxName/2 + 1]uint8 // of each label in text, left to right
	length int
	labels int
}

// Fold sets n to qname, which is fully qualified and in presentation format.
//
// Escapes are left as they are: what the DNS library escapes can't stand in a
// name of Kubernetes, so it is enough that an escaped dot separates nothing.
// Of a name too long to be one of ours the labels that fit are kept, below an
// empty one that matches nothing.
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

// lower is an ASCII letter in lower case, or any other byte (RFC 4343).
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Len is the number of labels.
func (n *Name) Len() int { return n.labels }

// Label is the i-th label from the right.
func (n *Name) Label(i int) []byte {
	at := n.labels - 1 - i
	end := n.length - 1
	if i > 0 {
		end = int(n.starts[at+1]) - 1
	}
	return n.text[n.starts[at]:end]
}

// suffix is the name from its i-th label from the right on: suffix(0) is
// "local.". It has as many bytes as the end of the name that was folded.
func (n *Name) suffix(i int) []byte {
	return n.text[n.starts[n.labels-1-i]:n.length]
}

// Reverse returns the address that n is the reverse name of (RFC 1035, section
// 3.5, and RFC 3596, section 2.5), and whether it is one.
func (n *Name) Reverse() (netip.Addr, bool) {
	p, ok := n.ReversePrefix()
	return p.Addr(), ok && p.IsSingleIP()
}

// ReversePrefix returns the prefix whose addresses have their reverse names at or
// below n, and whether there is one.
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
