package object

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// Label is a label of an object.
type Label struct{ Key, Value string }

// Selector are the labels that a Service selects pods by, sorted by key.
type Selector []Label

// NewSelector returns m as a selector. Its strings are interned.
func NewSelector(m map[string]string) Selector {
	if len(m) == 0 {
		return nil
	}
	s := make(Selector, 0, len(m))
	for k, v := range m {
		s = append(s, Label{intern(k), intern(v)})
	}
	slices.SortFunc(s, CompareKeys)
	return s
}

// CompareKeys compares labels by their keys alone.
func CompareKeys(a, b Label) int { return cmp.Compare(a.Key, b.Key) }

// The labels of a pod are one string. For each label it has the length of the key, the key,
// and a code. The codes below stand for values that follow from the pod's name or hostname.
// Any other value follows its code, which is codeLiteral plus the length of the value. So
// all pods of a StatefulSet, which are labelled with their names and ordinals, have the
// same string, as have all pods of an indexed Job.
const (
	codeName uint64 = iota
	codeHostname
	codeOrdinal         // of the name
	codeHostnameOrdinal // of the hostname
	codeLiteral
)

// appendLabels appends the labels of a pod with a name and hostname, sorted. Of labels with
// the same key, the last counts.
func appendLabels(b []byte, labels []Label, name, hostname string) []byte {
	if !slices.IsSortedFunc(labels, CompareKeys) {
		slices.SortStableFunc(labels, CompareKeys)
	}
	for i, l := range labels {
		if i+1 < len(labels) && labels[i+1].Key == l.Key {
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(l.Key)))
		b = append(b, l.Key...)
		code := labelCode(l.Value, name, hostname)
		b = binary.AppendUvarint(b, code)
		if code >= codeLiteral {
			b = append(b, l.Value...)
		}
	}
	return b
}

func labelCode(value, name, hostname string) uint64 {
	switch value {
	case "":
	case name:
		return codeName
	case hostname:
		return codeHostname
	case ordinal(name):
		return codeOrdinal
	case ordinal(hostname):
		return codeHostnameOrdinal
	}
	return codeLiteral + uint64(len(value))
}

// ordinal returns the number after the last dash of a name, or "".
func ordinal(name string) string {
	digits := name[strings.LastIndexByte(name, '-')+1:]
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return ""
		}
	}
	return digits
}

// Labels yields the labels of the pod, sorted by key, each with whether its value follows
// from the pod's name or hostname. Other pods of the template then have other values.
func (p *Pod) Labels(yield func(Label, bool) bool) {
	rest := p.Template.Value().labels
	for rest != "" {
		var l Label
		var n, code uint64
		n, rest = uvarint(rest)
		l.Key, rest = rest[:n], rest[n:]
		code, rest = uvarint(rest)
		switch code {
		case codeName:
			l.Value = p.Name()
		case codeHostname:
			l.Value = p.Hostname()
		case codeOrdinal:
			l.Value = ordinal(p.Name())
		case codeHostnameOrdinal:
			l.Value = ordinal(p.Hostname())
		default:
			l.Value, rest = rest[:code-codeLiteral], rest[code-codeLiteral:]
		}
		if !yield(l, code < codeLiteral) {
			return
		}
	}
}

// uvarint reads what binary.AppendUvarint wrote.
func uvarint(s string) (n uint64, rest string) {
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		n |= uint64(s[i]&0x7f) << shift
		if s[i] < 0x80 {
			return n, s[i+1:]
		}
	}
}
