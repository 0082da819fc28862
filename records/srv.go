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
	targets, truncated := b.window(n, ranges, len(suffix))
	out.Truncated = truncated
	if len(targets) == 0 {
		return
	}
	weight := weightOf(endpoints)
	names := targetNames(targets, suffix)
	offset := headerSize + questionSize + wireLen(b.query.Name)
	out.Records = make([]dns.RR, len(targets))
	block := make([]dns.SRV, len(targets))
	for i := range targets {
		t := &targets[i]
		t.name, names = names[:len(t.label)+1+len(suffix)], names[len(t.label)+1+len(suffix):]
		block[i] = dns.SRV{Hdr: b.header(b.query.Name, dns.TypeSRV), Weight: weight, Port: t.port, Target: t.name}
		out.Records[i] = &block[i]
		offset += srvSize(t.label, len(suffix))
		if t.firstOfHost {
			t.ownerSize = compressedSize
			if offset-wireLen(t.name) >= maxOffset {
				t.ownerSize += 1 + len(t.label) // no pointer reaches the whole name
			}
		}
	}
	out.Glue, out.GlueTruncated = b.glue(targets)
}

// weightOf returns the weight of each SRV record of a number of endpoints.
func weightOf(endpoints int) uint16 { return uint16(max(1, 100/max(1, endpoints))) }

// manyEndpoints is the least number of endpoints whose weight is 1.
const manyEndpoints = 51

// srvSize returns the size of an SRV record. Its target is not compressed (RFC 2782):
// the label below a name of suffixLen bytes.
func srvSize(label string, suffixLen int) int {
	return compressedSize + fixedSize + 6 + len(label) + 1 + suffixLen + 1
}

// longestLabel is as long as a label may be (RFC 1035, section 2.3.4).
var longestLabel = strings.Repeat("-", maxLabel)

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
	n4, n6 := 0, 0
	for i := range targets {
		t := &targets[i]
		if !t.firstOfHost {
			continue
		}
		addrs := t.addrs()
		t.v4 = b.take(addrs.v4.len(), t.ownerSize+fixedSize+len(addr4{}))
		t.v6 = b.take(addrs.v6.len(), t.ownerSize+fixedSize+len(addr6{}))
		truncated = truncated || t.v4 < addrs.v4.len() || t.v6 < addrs.v6.len()
		n4, n6 = n4+t.v4, n6+t.v6
	}
	rrs = make([]dns.RR, 0, n4+n6)
	b4, b6 := make([]blockA, n4), make([]blockAAAA, n6)
	for i := range targets {
		t := &targets[i]
		addrs := t.addrs()
		rrs, b4 = b.appendA(rrs, b4, &addrs.v4, t.v4, t.name)
		rrs, b6 = b.appendAAAA(rrs, b6, &addrs.v6, t.v6, t.name)
	}
	return rrs, truncated
}
