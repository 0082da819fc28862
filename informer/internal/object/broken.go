package object

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	strictjson "sigs.k8s.io/json"
)

// Broken stands for an object that can't be decoded. The object stored under its key stays
// as it is: an old answer is better than none, and other objects are not affected. In a
// list, its name may be unknown.
type Broken struct {
	Key
	Err error
}

// breakObject returns a Broken for an object that can't be decoded, or nil if its name and
// version can't be decoded either.
func breakObject(b []byte, err error) *Decoded {
	var meta metadata
	for m := newMessage("object", b); m.next(); {
		if m.number == 1 {
			meta.decode(&m)
			if m.err != nil {
				return nil
			}
		}
	}
	if meta.name == "" || meta.version == "" {
		return nil
	}
	return newBroken(meta.namespace, meta.name, meta.version, err)
}

func newBroken(namespace, name, version string, err error) *Decoded {
	return &Decoded{
		Object:  &Broken{Key{strings.Clone(namespace), strings.Clone(name)}, err},
		version: strings.Clone(version),
	}
}

// salvage decodes the usable parts of JSON that can't be decoded as a whole, for the given
// reason: the good items of a list, or the name of an object. It returns nil if there are
// none.
func (d *decoder) salvage(data []byte, reason error) runtime.Object {
	var outer struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        runtime.RawExtension   `json:"metadata"`
		Items           []runtime.RawExtension `json:"items"`
	}
	if strictjson.UnmarshalCaseSensitivePreserveInts(data, &outer) != nil {
		return nil
	}
	name, list := strings.CutSuffix(outer.Kind, "List")
	if _, ok := kindNamed(outer.APIVersion, name); !ok {
		return nil
	}
	if !list {
		if o := salvageObject(data, reason); o != nil {
			return o
		}
		return nil
	}
	out := new(DecodedList)
	if strictjson.UnmarshalCaseSensitivePreserveInts(outer.Metadata.Raw, &out.ListMeta) != nil {
		return nil
	}
	kind := schema.FromAPIVersionAndKind(outer.APIVersion, name)
	for _, item := range outer.Items {
		o, _, err := d.fullDecoder.Decode(item.Raw, &kind, nil)
		var c runtime.Object
		if err == nil {
			c, err = d.convert(o)
		}
		one, ok := c.(*Decoded)
		if !ok {
			if one = salvageObject(item.Raw, err); one == nil {
				one = newBroken("", "", "", err)
			}
		}
		out.Items = append(out.Items, one)
	}
	return out
}

func salvageObject(data []byte, reason error) *Decoded {
	var o struct {
		metav1.ObjectMeta `json:"metadata"`
	}
	if strictjson.UnmarshalCaseSensitivePreserveInts(data, &o) != nil || o.Name == "" || o.ResourceVersion == "" {
		return nil
	}
	return newBroken(o.Namespace, o.Name, o.ResourceVersion, reason)
}
