package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	strictjson "sigs.k8s.io/json"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
)

// contents are the objects of a file.
type contents struct {
	entries   []entry
	bad       []badEntry
	documents int            // that are not empty
	skipped   map[string]int // kinds that DNS does not use, with their counts
	unknown   map[string]bool
}

// identity identifies an object among all files.
type identity struct {
	resource string
	object.Key
}

// String is the identity as errors name it.
func (id identity) String() string { return fmt.Sprintf("%s %q", id.resource, id.Key) }

type entry struct {
	identity
	kind     object.Kind
	objects  []object.Object // the slim objects made from it
	document int             // in the file, counted from 1
}

// badEntry is an object with a name that can't be used.
type badEntry struct {
	identity
	listed bool // it is in a list
	err    error
}

// parser parses the text of a file.
type parser struct {
	contents
	selected *selection.Selection
	text     []byte
	lists    int // how many lists the current object is in
	// braces is set once a document in braces was not JSON. From then on the search for the
	// end of such a document stops at the end of the YAML document, as it could lead far
	// beyond.
	braces bool
	end    int // of the YAML document
}

// maxLists is how deep lists may be nested: each level walks through the text of the levels
// below.
const maxLists = 4

// head are the fields that decide how an object is decoded.
type head struct {
	metav1.TypeMeta
	key   object.Key
	items []byte // an array, or nil
}

// parse parses the documents of a file. An error concerns the file as a whole and names the
// document. Objects that can't be used are in the result.
func parse(data []byte, s *selection.Selection) (contents, error) {
	p := parser{selected: s, contents: contents{skipped: make(map[string]int), unknown: make(map[string]bool)}}
	var err error
	if p.text, err = decodeText(data); err != nil {
		return contents{}, fmt.Errorf("document 1: %w", err)
	}
	for at := 0; ; {
		at += skipBlank(p.text[at:])
		if at == len(p.text) {
			return p.contents, nil
		}
		p.documents++
		n, err := p.addDocument(at)
		if err != nil {
			return contents{}, fmt.Errorf("document %d: %w", p.documents, plainError(err))
		}
		at += n
	}
}

// Parse returns the objects in the text of a file that can be used and are selected. An
// error concerns the file as a whole.
func Parse(data []byte, s *selection.Selection) ([]object.Object, error) {
	m, err := parse(data, s)
	var out []object.Object
	for _, o := range m.entries {
		out = append(out, o.objects...)
	}
	return out, err
}

// addDocument adds the document at an offset of the text, and returns its length.
func (p *parser) addDocument(at int) (int, error) {
	text := p.text[at:]
	var notJSON error
	if text[0] == '{' {
		if p.braces && p.end <= at {
			p.end = at + documentEnd(text)
		}
		if p.braces {
			text = p.text[at:p.end]
		}
		raw, err := cutJSON(text)
		switch {
		case err == nil:
			return len(raw), p.add(raw, metav1.TypeMeta{}, false)
		case isCutOff(err):
			return 0, err
		}
		p.braces, text, notJSON = true, p.text[at:], err // but it may be YAML, which has braces, too
	}
	n := documentEnd(text)
	if n > maxYAML {
		if notJSON != nil {
			return 0, fmt.Errorf("line %d: is not JSON: %w", lineNumber(p.text[:at]), notJSON)
		}
		if rest, items, ok := splitList(text[:n]); ok {
			return n, p.addItems(at, rest, items)
		}
	}
	raw, err := yamlToJSON(p.text, at, at+n)
	if err != nil {
		return 0, err
	}
	return n, p.add(raw, metav1.TypeMeta{}, false)
}

// addItems adds a YAML list item by item, so that it takes the memory of one item. The
// offsets of the items count from the document.
func (p *parser) addItems(at int, rest []byte, items []int) error {
	raw, err := yamlToJSON(rest, 0, len(rest))
	if err != nil {
		return err
	}
	h, err := readHead(raw)
	if err != nil {
		return err
	}
	outer, ok := h.list()
	if !ok {
		return p.add(raw, metav1.TypeMeta{}, false)
	}
	for i := range len(items) - 1 {
		raw, err := yamlToJSON(p.text, at+items[i], at+items[i+1])
		if err != nil {
			return fmt.Errorf("items[%d]: %w", i, err)
		}
		// The item is a sequence with one element.
		err = eachElement(raw, func(_ int, item []byte) error { return p.add(item, outer, true) })
		if err != nil {
			return fmt.Errorf("items[%d]: %w", i, err)
		}
	}
	return nil
}

// readHead reads the head of an object.
func readHead(text []byte) (head, error) {
	var h head
	seen := make(map[string]bool)
	err := eachMember(text, func(name string, value []byte) error {
		if seen[name] {
			return fmt.Errorf("field %q is given twice", name)
		}
		seen[name] = true
		var err error
		switch name {
		case "apiVersion":
			err = json.Unmarshal(value, &h.APIVersion)
		case "kind":
			err = json.Unmarshal(value, &h.Kind)
		case "metadata":
			var meta struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			}
			// Decoding the object finds the error again.
			_ = strictjson.UnmarshalCaseSensitivePreserveInts(value, &meta)
			h.key = object.Key{Namespace: meta.Namespace, Name: meta.Name}
		case "items":
			if value[0] == '[' {
				h.items = value
			}
		}
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			wrong.Field = name
		}
		return err
	})
	return h, err
}

// list reports whether the object is a list, and returns the type of its items that lack
// one.
func (h *head) list() (metav1.TypeMeta, bool) {
	item, ok := strings.CutSuffix(h.Kind, "List")
	return metav1.TypeMeta{APIVersion: h.APIVersion, Kind: item}, ok && (h.items != nil || item == "")
}

// add adds an object in JSON, or every object of a list. The items of a typed list, as the
// API server returns it, have no type; outer is their type.
func (p *parser) add(raw []byte, outer metav1.TypeMeta, listed bool) error {
	if string(raw) == "null" {
		return nil
	}
	if raw[0] != '{' {
		return fmt.Errorf("must be an object, not %s", typeOf(raw))
	}
	h, err := readHead(raw)
	if err != nil {
		return err
	}
	if h.Kind == "" {
		h.TypeMeta = outer
	}
	if h.Kind == "" {
		return errors.New(`not a Kubernetes object: field "kind" is missing`)
	}
	if item, ok := h.list(); ok {
		if h.items == nil {
			return nil
		}
		if p.lists++; p.lists > maxLists {
			return fmt.Errorf("more than %d lists are nested", maxLists)
		}
		defer func() { p.lists-- }()
		return eachElement(h.items, func(i int, raw []byte) error {
			if err := p.add(raw, item, true); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
			return nil
		})
	}
	switch h.APIVersion + " " + h.Kind {
	case "v1 Service":
		return addObject(p, raw, &h, listed, object.Services, object.Services.String(), checkService, single(object.NewService))
	case "v1 Pod":
		return addObject(p, raw, &h, listed, object.Pods, object.Pods.String(), checkPod, single(object.NewPod))
	case "v1 Namespace":
		return addObject(p, raw, &h, listed, object.Namespaces, object.Namespaces.String(), checkNamespace, single(object.NewNamespace))
	case "v1 Node":
		if p.selected.Nodes {
			return addObject(p, raw, &h, listed, object.Nodes, object.Nodes.String(), checkNode, single(newNode))
		}
	case "v1 Endpoints":
		return addObject(p, raw, &h, listed, object.EndpointSlices, endpointsResource, checkEndpoints, p.mirror)
	case "discovery.k8s.io/v1 EndpointSlice":
		return addObject(p, raw, &h, listed, object.EndpointSlices, object.EndpointSlices.String(), p.checkEndpointSlice, single(object.NewEndpointSlice))
	case "multicluster.x-k8s.io/v1beta1 ServiceImport":
		if p.selected.Imports {
			return addObject(p, raw, &h, listed, object.ServiceImports, object.ServiceImports.String(), checkImport, single(newImport))
		}
	case "multicluster.x-k8s.io/v1alpha1 ServiceImport":
		if p.selected.Imports {
			return addObject(p, raw, &h, listed, object.ServiceImports, object.ServiceImports.String(), checkAlphaImport, single(newAlphaImport))
		}
	}
	if err := p.checkType(h.TypeMeta); err != nil {
		return err
	}
	p.skipped[h.Kind]++
	return nil
}

// single adapts a function that returns one object to one that returns a list.
func single[P any, O object.Object](keep func(P) O) func(P) []object.Object {
	return func(o P) []object.Object { return []object.Object{keep(o)} }
}

func newNode(n *corev1.Node) *object.Node { return object.NewNode(n) }

func newImport(i *mcsv1beta1.ServiceImport) *object.ServiceImport {
	return object.NewServiceImport(i, string(i.Spec.Type))
}

func newAlphaImport(i *mcsv1alpha1.ServiceImport) *object.ServiceImport {
	return object.NewServiceImport(i, string(i.Spec.Type))
}

// checkType returns an error for a type that is probably a mistake for a kind that DNS
// uses. Other API groups have kinds with the same names.
func (p *parser) checkType(t metav1.TypeMeta) error {
	groups := []string{"core", "discovery", discoveryv1.GroupName}
	if p.selected.Imports {
		groups = append(groups, mcsv1beta1.GroupName)
	}
	group, _, ok := strings.Cut(t.APIVersion, "/")
	if ok && !slices.Contains(groups, group) {
		return nil
	}
	wanted := []metav1.TypeMeta{
		{APIVersion: "v1", Kind: "Service"}, {APIVersion: "v1", Kind: "Pod"}, {APIVersion: "v1", Kind: "Namespace"},
		{APIVersion: "v1", Kind: "Endpoints"}, {APIVersion: discoveryv1.SchemeGroupVersion.String(), Kind: "EndpointSlice"},
		{APIVersion: "v1", Kind: "List"},
	}
	if p.selected.Nodes {
		wanted = append(wanted, metav1.TypeMeta{APIVersion: "v1", Kind: "Node"})
	}
	if p.selected.Imports {
		wanted = append(wanted, metav1.TypeMeta{APIVersion: mcsv1beta1.GroupVersion.String(), Kind: mcsv1beta1.ServiceImportKindName})
	}
	for _, want := range wanted {
		switch {
		case t.Kind != want.Kind && (strings.EqualFold(t.Kind, want.Kind) || strings.EqualFold(t.Kind, want.Kind+"s")):
			return fmt.Errorf("kind %q must be %q", t.Kind, want.Kind)
		case t.Kind == want.Kind && t.APIVersion == "":
			return fmt.Errorf(`field "apiVersion" is missing, must be %q for the kind %s`, want.APIVersion, want.Kind)
		case t.Kind == want.Kind && t.APIVersion != want.APIVersion:
			return fmt.Errorf("apiVersion %q must be %q for the kind %s", t.APIVersion, want.APIVersion, want.Kind)
		}
	}
	return nil
}

// addObject decodes and checks an object, and adds it if it is selected. An invalid object
// does not make the file invalid if it has a name.
func addObject[T any, P interface {
	*T
	metav1.Object
}](p *parser, raw []byte, h *head, listed bool, kind object.Kind, resource string, check func(P) field.ErrorList, keep func(P) []object.Object) error {
	full := P(new(T))
	strict, err := strictjson.UnmarshalStrict(raw, full)
	id := identity{resource, h.key}
	switch {
	case kind == object.Namespaces || kind == object.Nodes: // they are in none
		id.Namespace = ""
	case id.Namespace == "":
		id.Namespace = metav1.NamespaceDefault
		full.SetNamespace(metav1.NamespaceDefault)
	}
	if err == nil {
		err = p.checkFields(resource, strict)
	}
	if err == nil {
		err = check(full).ToAggregate()
	}
	if err != nil {
		err = fmt.Errorf("%v: %w", id, plainError(err))
		if id.Name == "" {
			return err
		}
		p.bad = append(p.bad, badEntry{id, listed, fmt.Errorf("document %d: %w", p.documents, err)})
		return nil
	}
	if kind == object.EndpointSlices && isImported(full) {
		kind = object.ImportedSlices
	}
	o := entry{identity: id, kind: kind, document: p.documents}
	if resource == endpointsResource || p.selected.Has(kind, full) {
		o.objects = keep(full)
	}
	if len(o.objects) > 0 {
		p.entries = append(p.entries, o)
	}
	return nil
}
