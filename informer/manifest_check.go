package informer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
)

// manifestObjects is what a file holds.
type manifestObjects struct {
	objects []manifestObject
	skipped map[string]int // other kinds, with how many there are
}

type manifestObject struct {
	object
	kind     Kind
	document int // of the file, counted from 1
}

// readManifest reads a file of YAML or JSON documents. Its errors name the file,
// the document and the field.
func readManifest(path string, s *selected) (manifestObjects, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return manifestObjects{}, fmt.Errorf("read manifest %q: %w", path, unwrapPath(err))
	}
	out, err := parseManifest(data, s)
	if err != nil {
		return manifestObjects{}, fmt.Errorf("read manifest %q: %w", path, err)
	}
	return out, nil
}

func parseManifest(data []byte, s *selected) (manifestObjects, error) {
	out := manifestObjects{skipped: make(map[string]int)}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for document := 1; ; document++ {
		var raw runtime.RawExtension
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err == nil {
			err = out.add(raw.Raw, metav1.TypeMeta{}, document, s)
		}
		if err != nil {
			return manifestObjects{}, fmt.Errorf("document %d: %w", document, err)
		}
	}
}

// add takes in an object, or every object of a list. The items of a typed list,
// as the API server sends it, have no type of their own: it is outer's.
func (m *manifestObjects) add(raw []byte, outer metav1.TypeMeta, document int, s *selected) error {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var head struct {
		metav1.TypeMeta
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return err
	}
	if head.Kind == "" {
		head.TypeMeta = outer
	}
	if head.Kind == "" {
		return errors.New(`field "kind" is missing`)
	}
	if item, ok := strings.CutSuffix(head.Kind, "List"); ok && head.Items != nil {
		for i, raw := range head.Items {
			if err := m.add(raw, metav1.TypeMeta{APIVersion: head.APIVersion, Kind: item}, document, s); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
		}
		return nil
	}
	switch head.APIVersion + " " + head.Kind {
	case "v1 Service":
		return addObject(m, raw, Services, document, s, newService, checkService)
	case "v1 Pod":
		return addObject(m, raw, Pods, document, s, newPod, checkPod)
	case "v1 Namespace":
		return addObject(m, raw, Namespaces, document, s, newNamespace, checkNamespace)
	case "discovery.k8s.io/v1 EndpointSlice":
		return addObject(m, raw, EndpointSlices, document, s, newEndpointSlice, checkEndpointSlice)
	}
	m.skipped[head.Kind]++
	return nil
}

// addObject decodes and checks an object, and keeps it if it is selected.
func addObject[T any, P interface {
	*T
	metav1.Object
}, O object](m *manifestObjects, raw []byte, kind Kind, document int, s *selected, slim func(P) O, check func(P) field.ErrorList) error {
	full := P(new(T))
	strict, err := strictjson.UnmarshalStrict(raw, full)
	if kind != Namespaces && full.GetNamespace() == "" {
		full.SetNamespace(metav1.NamespaceDefault)
	}
	if err == nil {
		err = utilerrors.NewAggregate(strict)
	}
	if err == nil {
		err = check(full).ToAggregate()
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", kind, key{full.GetNamespace(), full.GetName()}, err)
	}
	if s.has(kind, full) {
		m.objects = append(m.objects, manifestObject{slim(full), kind, document})
	}
	return nil
}

// String is the key as kubectl writes it.
func (k key) String() string {
	if k.namespace == "" {
		return k.name
	}
	return k.namespace + "/" + k.name
}

// The checks are those of the API server for the fields that DNS is made from:
// what would not get into a cluster does not get into the trie either.

func checkName(meta *metav1.ObjectMeta, valid func(string) []string) field.ErrorList {
	path := field.NewPath("metadata")
	errs := checkString(path.Child("name"), meta.Name, valid)
	if meta.Namespace != "" {
		errs = append(errs, checkString(path.Child("namespace"), meta.Namespace, validation.IsDNS1123Label)...)
	}
	return errs
}

func checkString(path *field.Path, value string, valid func(string) []string) field.ErrorList {
	var errs field.ErrorList
	for _, reason := range valid(value) {
		errs = append(errs, field.Invalid(path, value, reason))
	}
	return errs
}

func checkNumber(path *field.Path, port int32) field.ErrorList {
	var errs field.ErrorList
	for _, reason := range validation.IsValidPortNum(int(port)) {
		errs = append(errs, field.Invalid(path, port, reason))
	}
	return errs
}

func checkProtocol(path *field.Path, protocol corev1.Protocol) field.ErrorList {
	supported := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	if protocol == "" || slices.Contains(supported, protocol) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, protocol, supported)}
}

func checkAddress(path *field.Path, address string) field.ErrorList {
	if _, ok := parseAddr(address); !ok {
		return field.ErrorList{field.Invalid(path, address, "must be an IP address")}
	}
	return nil
}

func checkNamespace(n *corev1.Namespace) field.ErrorList {
	return checkName(&n.ObjectMeta, validation.IsDNS1123Label)
}

func checkService(s *corev1.Service) field.ErrorList {
	errs := checkName(&s.ObjectMeta, validation.IsDNS1123Label)
	for i, p := range s.Spec.Ports {
		path := field.NewPath("spec", "ports").Index(i)
		if p.Name != "" {
			errs = append(errs, checkString(path.Child("name"), p.Name, validation.IsDNS1123Label)...)
		}
		errs = append(errs, checkProtocol(path.Child("protocol"), p.Protocol)...)
		errs = append(errs, checkNumber(path.Child("port"), p.Port)...)
		if p.TargetPort.IntVal != 0 {
			errs = append(errs, checkNumber(path.Child("targetPort"), p.TargetPort.IntVal)...)
		}
	}
	return errs
}

func checkPod(p *corev1.Pod) field.ErrorList {
	errs := checkName(&p.ObjectMeta, validation.IsDNS1123Subdomain)
	spec, status := field.NewPath("spec"), field.NewPath("status")
	if p.Spec.Hostname != "" {
		errs = append(errs, checkString(spec.Child("hostname"), p.Spec.Hostname, validation.IsDNS1123Label)...)
	}
	if p.Spec.Subdomain != "" {
		errs = append(errs, checkString(spec.Child("subdomain"), p.Spec.Subdomain, validation.IsDNS1123Label)...)
	}
	for i, ip := range p.Status.PodIPs {
		errs = append(errs, checkAddress(status.Child("podIPs").Index(i).Child("ip"), ip.IP)...)
	}
	if p.Status.PodIP != "" {
		errs = append(errs, checkAddress(status.Child("podIP"), p.Status.PodIP)...)
	}
	return errs
}

func checkEndpointSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	errs := checkName(&s.ObjectMeta, validation.IsDNS1123Subdomain)
	for i, p := range s.Ports {
		path := field.NewPath("ports").Index(i)
		if p.Name != nil && *p.Name != "" {
			errs = append(errs, checkString(path.Child("name"), *p.Name, validation.IsDNS1123Label)...)
		}
		if p.Protocol != nil {
			errs = append(errs, checkProtocol(path.Child("protocol"), *p.Protocol)...)
		}
		if p.Port != nil {
			errs = append(errs, checkNumber(path.Child("port"), *p.Port)...)
		}
	}
	for i, e := range s.Endpoints {
		path := field.NewPath("endpoints").Index(i)
		if e.Hostname != nil {
			errs = append(errs, checkString(path.Child("hostname"), *e.Hostname, validation.IsDNS1123Label)...)
		}
		if s.AddressType != discoveryv1.AddressTypeFQDN {
			for k, address := range e.Addresses {
				errs = append(errs, checkAddress(path.Child("addresses").Index(k), address)...)
			}
		}
	}
	return errs
}
