package records

import (
	"strings"

	"github.com/miekg/dns"
)

// srv adds the SRV records of a node and the addresses of their targets to out, as many
// as fit.
func (b *builder) srv(n *Node, out *Answer) {
	suffix := b.query.Name[len(b.query.Name)-n.suffixLen:]
	var one [1]targetRange
	ranges, endpoints := n.targetRanges(one[:0])
	targets, truncated := b.window(n, ranges, len(suffix), nil)
	out.Truncated = truncated
	if len(targets) == 0 {
		return
	}
	weight := weightOf(endpoints)
	names := targetNames(targets, suffix)
	placeTargets(targets, headerSize+questionSize+wireLen(b.query.Name), len(suffix))
	out.Records = make([]dns.RR, len(targets))
	block := make([]dns.SRV, len(targets))
	for i := range targets {
		t := &targets[i]
		t.name, names = names[:len(t.label)+1+len(suffix)], names[len(t.label)+1+len(suffix):]
		block[i] = dns.SRV{Hdr: b.header(b.query.Name, dns.TypeSRV), Weight: weight, Port: t.port, Target: t.name}
		out.Records[i] = &block[i]
	}
	out.Glue, out.GlueTruncated = b.glue(targets)
}

// placeTargets sets where the names of targets are, and how long the owners of their glue, if
// the SRV records begin at an offset of the message.
func placeTargets(targets []resolvedTarget, offset, suffixLen int) {
	for i := range targets {
		t := &targets[i]
		offset += srvSize(t.label, suffixLen)
		t.at = offset - targetSize(t.label, suffixLen)
		if t.firstOfHost {
			t.ownerSize = compressedSize
			if t.at >= maxOffset {
				t.ownerSize += 1 + len(t.label) // no pointer reaches the whole name
			}
		}
	}
}

// weightOf returns the weight of each SRV record of a number of endpoints.
func weightOf(endpoints int) uint16 { return uint16(max(1, 100/max(1, endpoints))) }

// manyEndpoints is the least number of endpoints whose weight is 1.
const manyEndpoints = 51

// srvSize returns the size of an SRV record. Its target is not compressed (RFC 2782):
// the label below a name of suffixLen bytes.
func srvSize(label string, suffixLen int) int {
	return compressedSize + fixedSize + 6 + targetSize(label, suffixLen)
}

// targetSize returns the size of a name that is a label below a name of suffixLen bytes.
func targetSize(label string, suffixLen int) int { return len(label) + 1 + suffixLen + 1 }

// longestLabel is as long as a label may be (RFC 1035, section 2.3.4).
var longestLabel = strings.Repeat("-", maxLabel)

// longestTarget returns the most bytes of an SRV record of the node's service.
func (n *Node) longestTarget(suffixLen int) int {
	if n.clusters != nil { // the label of a host has those of its cluster
		return compressedSize + fixedSize + 6 + maxName + 1
	}
	return srvSize(longestLabel, suffixLen)
}

// nameFits reports whether the name of the host, below one of suffixLen bytes, is short
// enough for DNS (RFC 1035, section 2.3.4). In a long zone it may not be, and a client
// would refuse the whole message because of it.
func nameFits(h *host, suffixLen int) bool { return len(h.label)+1+suffixLen <= maxName }

// targetNames returns the names of the targets one after another, in one string.
func targetNames(targets []resolvedTarget, suffix string) string {
	size := 0
	for _, t := range targets {
		size += len(t.label) + 1 + len(suffix)
	}
	var b strings.Builder
	b.Grow(size)
	for _, t := range targets {
		b.WriteString(t.label)
		b.WriteByte('.')
		b.WriteString(suffix)
	}
	return b.String()
}

// glue returns the addresses of the targets, as many as fit.
func (b *builder) glue(targets []resolvedTarget) (rrs []dns.RR, truncated bool) {
	n4, n6, truncated := b.takeGlue(targets)
	rrs = make([]dns.RR, 0, n4+n6)
	b4, b6 := make([]blockA, n4), make([]blockAAAA, n6)
	for i := range targets {
		t := &targets[i]
		addrs := t.addrs()
		v4, v6 := addrs.v4.members(), addrs.v6.members()
		rrs, b4 = b.appendA(rrs, b4, &v4, t.v4, t.name)
		rrs, b6 = b.appendAAAA(rrs, b6, &v6, t.v6, t.name)
	}
	return rrs, truncated
}
