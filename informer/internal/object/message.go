package object

import (
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// message walks through the fields of a protobuf message, in the order of the bytes.
// Strings and bytes that it returns borrow the memory of the message. A caller that
// keeps them must copy them.
//
// An error, in err, ends the walk. The fields read before it must not be used.
type message struct {
	name   string // for errors
	rest   []byte
	number protowire.Number // of the field
	kind   protowire.Type
	bytes  []byte // the value, if the field has BytesType
	varint uint64 // the value, if the field has VarintType
	err    error
}

func newMessage(name string, b []byte) message { return message{name: name, rest: b} }

// next advances to the next field and reports whether there is one.
func (m *message) next() bool {
	if m.err != nil || len(m.rest) == 0 {
		return false
	}
	number, kind, n := protowire.ConsumeTag(m.rest)
	if n < 0 {
		m.fail("tag", protowire.ParseError(n))
		return false
	}
	m.number, m.kind, m.rest = number, kind, m.rest[n:]
	switch kind {
	case protowire.BytesType:
		m.bytes, n = protowire.ConsumeBytes(m.rest)
	case protowire.VarintType:
		m.varint, n = protowire.ConsumeVarint(m.rest)
	default: // no field that is read has such a type
		n = protowire.ConsumeFieldValue(number, kind, m.rest)
	}
	if n < 0 {
		m.fail(fmt.Sprint("field ", number), protowire.ParseError(n))
		return false
	}
	m.rest = m.rest[n:]
	return true
}

func (m *message) fail(where string, err error) {
	if m.err == nil {
		m.err = fmt.Errorf("decode %s: %s: %w", m.name, where, err)
	}
}

// expect checks the type of the field.
func (m *message) expect(want protowire.Type) bool {
	if m.kind != want {
		m.fail(fmt.Sprint("field ", m.number), fmt.Errorf("wire type is %d, not %d", m.kind, want))
	}
	return m.kind == want
}

// embedded returns the field as the bytes of a message.
func (m *message) embedded() []byte {
	if !m.expect(protowire.BytesType) {
		return nil
	}
	return m.bytes
}

// string returns the field as a string that borrows its bytes.
func (m *message) string() string { return borrow(m.embedded()) }

// number32 returns the field as an int32.
func (m *message) number32() int32 {
	m.expect(protowire.VarintType)
	return int32(m.varint)
}

// bool returns the field as a bool.
func (m *message) bool() bool {
	m.expect(protowire.VarintType)
	return m.varint != 0
}

// entry returns the field as an entry of a map of strings.
func (m *message) entry(name string) Label {
	var l Label
	e := newMessage(name, m.embedded())
	for e.next() {
		switch e.number {
		case 1:
			l.Key = e.string()
		case 2:
			l.Value = e.string()
		}
	}
	m.finish(&e)
	return l
}

// finish takes over the error of a walk through an embedded message.
func (m *message) finish(embedded *message) {
	if m.err == nil {
		m.err = embedded.err
	}
}

// borrow returns the bytes as a string without a copy.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
