package object

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldNumbers are the numbers of the fields of a message that are read, with those of
// embedded messages.
type fieldNumbers map[protowire.Number]fieldNumbers

var (
	anEntry     = fieldNumbers{1: nil, 2: nil}
	metaFields  = fieldNumbers{1: nil, 3: nil, 6: nil, 9: {1: nil, 2: nil}, 11: anEntry, 12: anEntry}
	container   = fieldNumbers{6: {1: nil, 3: nil, 4: nil}, 24: nil}
	sliceFields = fieldNumbers{
		1: metaFields,
		2: {1: nil, 2: {1: nil, 3: nil}, 3: nil, 4: {3: nil}, 7: nil},
		3: {1: nil, 2: nil, 3: nil},
	}
	fieldsOfKind = [Kinds]fieldNumbers{
		Pods: {
			1: metaFields,
			2: {2: container, 20: container, 10: nil, 11: nil, 16: nil, 17: nil},
			3: {1: nil, 2: {1: nil, 2: nil, 4: {1: nil}}, 6: nil, 12: {1: nil}},
		},
		Services: {
			1: metaFields,
			2: {1: {1: nil, 2: nil, 3: nil, 4: {1: nil, 2: nil, 3: nil}}, 2: anEntry, 3: nil, 4: nil, 13: nil, 19: nil},
		},
		EndpointSlices: sliceFields,
		ImportedSlices: sliceFields,
		Namespaces:     {1: metaFields},
		Nodes:          {1: metaFields},
		ServiceImports: {1: metaFields},
	}
)

// isEntry reports whether the message is a map entry.
func (f fieldNumbers) isEntry() bool {
	return reflect.ValueOf(f).Pointer() == reflect.ValueOf(anEntry).Pointer()
}

// prune returns the message without the fields that are not read. It fails if the bytes are
// not a message, at a level that is read.
func prune(b []byte, f fieldNumbers) ([]byte, error) {
	var out []byte
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		length := protowire.ConsumeFieldValue(number, kind, b[n:])
		if length < 0 {
			return nil, protowire.ParseError(length)
		}
		value, whole := b[n:n+length], b[:n+length]
		b = b[n+length:]
		inner, ok := f[number]
		switch {
		case !ok:
		case f.isEntry() && kind != protowire.BytesType:
			// The full decoder accepts any type as bytes here.
			return nil, errors.New("a map of no strings")
		case inner == nil || kind != protowire.BytesType:
			out = append(out, whole...)
		default:
			embedded, _ := protowire.ConsumeBytes(value)
			pruned, err := prune(embedded, inner)
			if err != nil {
				return nil, err
			}
			out = protowire.AppendBytes(protowire.AppendTag(out, number, kind), pruned)
		}
	}
	return out, nil
}

func rewrite(rng *rand.Rand, b []byte, f fieldNumbers) []byte {
	var parts [][]byte
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		length := protowire.ConsumeFieldValue(number, kind, b[n:])
		value, whole := b[n:n+length], b[:n+length]
		b = b[n+length:]
		if inner := f[number]; inner != nil && kind == protowire.BytesType {
			embedded, _ := protowire.ConsumeBytes(value)
			embedded = rewrite(rng, embedded, inner)
			whole = protowire.AppendBytes(protowire.AppendTag(nil, number, kind), embedded)
			if rng.IntN(8) == 0 && len(inner) > 0 { // split it into two messages
				cut := 0
				for cut < len(embedded) && rng.IntN(3) > 0 {
					_, _, n := protowire.ConsumeField(embedded[cut:])
					cut += n
				}
				whole = protowire.AppendBytes(protowire.AppendTag(nil, number, kind), embedded[:cut])
				whole = protowire.AppendBytes(protowire.AppendTag(whole, number, kind), embedded[cut:])
			}
		}
		parts = append(parts, whole)
		if rng.IntN(8) == 0 {
			parts = append(parts, whole)
		}
	}
	if rng.IntN(4) == 0 {
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	var out []byte
	for _, p := range append(parts, nil) {
		if rng.IntN(4) == 0 {
			out = appendUnknown(rng, out)
		}
		out = append(out, p...)
	}
	return out
}

// appendUnknown appends a field that no message has.
func appendUnknown(rng *rand.Rand, b []byte) []byte {
	number := protowire.Number(1000 + rng.IntN(1_000_000))
	switch rng.IntN(5) {
	case 0:
		return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), rng.Uint64())
	case 1:
		return protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type), rng.Uint32())
	case 2:
		return protowire.AppendFixed64(protowire.AppendTag(b, number, protowire.Fixed64Type), rng.Uint64())
	case 3:
		b = appendUnknown(rng, protowire.AppendTag(b, number, protowire.StartGroupType))
		return protowire.AppendTag(b, number, protowire.EndGroupType)
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), "\x08\xff")
}

func corrupt(rng *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + rng.IntN(3) {
		if len(b) == 0 {
			return b
		}
		switch i := rng.IntN(len(b)); rng.IntN(4) {
		case 0:
			b[i] = byte(rng.Uint32())
		case 1:
			b[i] ^= 1 << rng.IntN(8)
		case 2:
			b = append(b[:i], b[i+1:]...)
		case 3:
			b = append(b[:i], append([]byte{byte(rng.Uint32())}, b[i:]...)...)
		}
	}
	return b
}
