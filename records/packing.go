package records

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

// packing is a message that records are appended to.
type packing struct {
	Packed
	name     []byte // the name of the question, in wire format
	ttl      uint32
	maxPlain int
	// clusterset: the labels of hosts have dots.
	clusterset bool
}

// compressed reports whether names are compressed. Plain must be complete.
func (w *packing) compressed() bool { return w.Plain > w.maxPlain }

// owner returns the owner name of an answer.
func (w *packing) owner() []byte {
	if w.compressed() {
		return questionPointer
	}
	return w.name
}

// fixed appends what follows the owner of a record: the type, the class, the TTL, and the size of
// the data.
func (w *packing) fixed(rrtype uint16, dataSize int) {
	m := binary.BigEndian.AppendUint16(w.Message, rrtype)
	m = binary.BigEndian.AppendUint16(m, dns.ClassINET)
	m = binary.BigEndian.AppendUint32(m, w.ttl)
	w.Message = binary.BigEndian.AppendUint16(m, uint16(dataSize))
}

// label appends a label of a name.
func (w *packing) label(text string) {
	w.Message = append(append(w.Message, byte(len(text))), text...)
}

// labels appends labels of a name with dots between them, if there are any.
func (w *packing) labels(text string) {
	for rest := text; rest != ""; {
		var label string
		label, rest, _ = strings.Cut(rest, ".")
		w.label(label)
	}
}

// target appends the name of a target, which is below a suffix.
func (w *packing) target(t *resolvedTarget, suffix []byte) {
	if w.clusterset {
		w.labels(t.label)
	} else {
		w.label(t.label)
	}
	w.Message = append(w.Message, suffix...)
}

// begins reports whether the name of the question begins with the label of a host, in the same
// spelling. It must be the name of that host.
func (w *packing) begins(label string) bool {
	for i := range len(label) {
		if c := label[i]; c != '.' && c != w.name[1+i] {
			return false
		}
	}
	return true
}
