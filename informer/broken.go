package informer

import (
	"maps"
	"strings"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	strictjson "sigs.k8s.io/json"
)

// broken stands for an object that can't be decoded. What is held of it stays as it
// is: an answer that is old is better than none, and the others are none of its
// business. In a list, it may be without a name.
type broken struct {
	key
	err error
}

// breakObject returns what stands for an object that can't be decoded, or nil if not
// even its name and version can be.
func breakObject(b []byte, err error) *decoded {
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

func newBroken(namespace, name, version string, err error) *decoded {
	return &decoded{
		object:  &broken{key{strings.Clone(namespace), strings.Clone(name)}, err},
		version: strings.Clone(version),
	}
}

// salvage decodes JSON that can't be decoded as a whole, for the given reason: of a
// list what can be, of an object its name. It returns nil if there is nothing.
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
	if _, ok := kindOf(outer.APIVersion, name); !ok {
		return nil
	}
	if !list {
		if o := salvageObject(data, reason); o != nil {
			return o
		}
		return nil
	}
	out := new(decodedList)
	if strictjson.UnmarshalCaseSensitivePreserveInts(outer.Metadata.Raw, &out.ListMeta) != nil {
		return nil
	}
	kind := schema.FromAPIVersionAndKind(outer.APIVersion, name)
	for _, item := range outer.Items {
		o, _, err := d.full.Decode(item.Raw, &kind, nil)
		var c runtime.Object
		if err == nil {
			c, err = d.convert(o)
		}
		one, ok := c.(*decoded)
		if !ok {
			if one = salvageObject(item.Raw, err); one == nil {
				one = newBroken("", "", "", err)
			}
		}
		out.Items = append(out.Items, one)
	}
	return out
}

func salvageObject(data []byte, reason error) *decoded {
	var o struct {
		metav1.ObjectMeta `json:"metadata"`
	}
	if strictjson.UnmarshalCaseSensitivePreserveInts(data, &o) != nil || o.Name == "" || o.ResourceVersion == "" {
		return nil
	}
	return newBroken(o.Namespace, o.Name, o.ResourceVersion, reason)
}

// damage is which objects are broken at present.
type damage struct {
	log  logr.Logger
	hook func(Kind, int)             // Broken of Hooks
	keys [kinds + 1]map[key]struct{} // those without a name are one, of no name
}

// note notes a broken object. The first of a kind is logged: if all are, one line is
// as good as a hundred thousand.
func (d *damage) note(k Kind, id key, err error) {
	if _, ok := d.keys[k][id]; ok {
		return
	}
	if d.keys[k] == nil {
		d.keys[k] = make(map[key]struct{})
	}
	d.keys[k][id] = struct{}{}
	if len(d.keys[k]) == 1 {
		d.log.Error(err, "object can't be decoded, it is served as it was before", "kind", k, "namespace", id.namespace, "name", id.name)
	}
	d.hook(k, len(d.keys[k]))
}

// clear notes that an object was decoded, or is gone.
func (d *damage) clear(k Kind, id key) {
	if _, ok := d.keys[k][id]; !ok {
		return
	}
	delete(d.keys[k], id)
	if len(d.keys[k]) == 0 {
		d.log.Info("all objects can be decoded again", "kind", k)
	}
	d.hook(k, len(d.keys[k]))
}

func (d *damage) any(k Kind) bool { return len(d.keys[k]) > 0 }

// keep clears what an origin has no more.
func (d *damage) keep(o origin, listed map[key]bool) {
	for id := range maps.Clone(d.keys[o.kind]) {
		if (o.namespace == "" || o.namespace == id.namespace) && !listed[id] {
			d.clear(o.kind, id)
		}
	}
}
