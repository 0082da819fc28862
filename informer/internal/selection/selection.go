// Package selection determines which objects are listed and watched.
package selection

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	operator "k8s.io/apimachinery/pkg/selection"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
)

// ClusterIPField is the field of a Service that is None if it is headless.
const ClusterIPField = "spec.clusterIP"

// Selection says which objects are listed and watched.
type Selection struct {
	Namespaces      []string // only these, sorted; all if empty
	namespaceLabels labels.Selector
	services        labels.Selector
	slices          labels.Selector
	Pods            bool // pods are watched
	Nodes           bool // nodes are, for the zones of pods
	Imports         bool // ServiceImports and their slices are
	imported        labels.Selector
	// Where pods are watched, unmanaged selects the slices that SliceController does not
	// manage, and managed the others.
	unmanaged labels.Selector
	managed   labels.Requirement
}

// Config are the selectors as the user wrote them.
type Config struct {
	Namespaces      []string
	NamespaceLabels string
	Labels          string
	Slices          bool
	Zonal           bool
	MultiCluster    bool
}

// New parses the selectors.
func New(c Config) (*Selection, error) {
	if len(c.Namespaces) > 0 && c.NamespaceLabels != "" {
		return nil, fmt.Errorf("select namespaces: by name %q and by label %q at once", c.Namespaces, c.NamespaceLabels)
	}
	s := &Selection{
		Namespaces: slices.Clone(c.Namespaces), services: labels.Everything(),
		Pods: !c.Slices, Nodes: c.Zonal && !c.Slices, Imports: c.MultiCluster,
	}
	slices.Sort(s.Namespaces)
	s.Namespaces = slices.Compact(s.Namespaces)
	var err error
	if c.NamespaceLabels != "" {
		if s.namespaceLabels, err = ParseSelector(c.NamespaceLabels); err != nil {
			return nil, err
		}
	}
	if c.Labels != "" {
		if s.services, err = ParseSelector(c.Labels); err != nil {
			return nil, err
		}
	}
	imported, err := labels.NewRequirement(mcsv1beta1.LabelServiceName, operator.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("select imported EndpointSlices: %w", err)
	}
	ordinary, err := labels.NewRequirement(mcsv1beta1.LabelServiceName, operator.DoesNotExist, nil)
	if err != nil {
		return nil, fmt.Errorf("select EndpointSlices: %w", err)
	}
	// Nothing says that imported slices have the labels of their ServiceImport, so all are selected.
	s.imported = labels.NewSelector().Add(*imported)
	// The controller copies the labels of a Service to its slices. Imported slices may have the
	// label of an ordinary Service, too, and never count for it.
	s.slices = s.services.Add(*ordinary)
	if !s.Pods {
		return s, nil
	}
	managed, err := labels.NewRequirement(discoveryv1.LabelManagedBy, operator.Equals, []string{object.SliceController})
	if err != nil {
		return nil, fmt.Errorf("select EndpointSlices: %w", err)
	}
	unmanaged, err := labels.NewRequirement(discoveryv1.LabelManagedBy, operator.NotEquals, []string{object.SliceController})
	if err != nil {
		return nil, fmt.Errorf("select EndpointSlices: %w", err)
	}
	s.managed = *managed
	s.unmanaged = s.slices.Add(*unmanaged)
	return s, nil
}

// ParseSelector parses a label selector as kubectl's --selector does.
func ParseSelector(expression string) (labels.Selector, error) {
	parsed, err := metav1.ParseToLabelSelector(expression)
	if err != nil {
		return nil, fmt.Errorf("parse label selector %q: %w", expression, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(parsed)
	if err != nil {
		return nil, fmt.Errorf("parse label selector %q: %w", expression, err)
	}
	return selector, nil
}

// Origins returns the lists that together have all selected objects, except leftover
// slices.
func (s *Selection) Origins() []object.Origin {
	namespaces := s.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	var out []object.Origin
	for _, ns := range namespaces {
		out = append(out, object.Origin{Kind: object.Services, Namespace: ns}, object.Origin{Kind: object.EndpointSlices, Namespace: ns})
		if s.Pods {
			out = append(out, object.Origin{Kind: object.Pods, Namespace: ns})
		}
		if s.Imports {
			out = append(out, object.Origin{Kind: object.ServiceImports, Namespace: ns}, object.Origin{Kind: object.ImportedSlices, Namespace: ns})
		}
	}
	if s.namespaceLabels != nil {
		out = append(out, object.Origin{Kind: object.Namespaces})
	}
	if s.Nodes {
		out = append(out, object.Origin{Kind: object.Nodes})
	}
	return out
}

// LeftoverOrigins returns the lists that together have the leftover slices.
func (s *Selection) LeftoverOrigins() []object.Origin {
	var out []object.Origin
	for _, o := range s.Origins() {
		if o.Kind == object.EndpointSlices && s.Pods {
			out = append(out, object.Origin{Kind: object.LeftoverSlices, Namespace: o.Namespace})
		}
	}
	return out
}

// maxNames is the most services that a selector of leftover slices names, as the URL must
// not get too long. With more services it selects the slices of all.
const maxNames = 100

// Leftover returns the selector for the slices of some services that SliceController
// manages.
func (s *Selection) Leftover(services map[object.Key]struct{}) labels.Selector {
	names := make(map[string]bool)
	for k := range services {
		names[k.Name] = true
	}
	out := s.slices.Add(s.managed)
	if len(names) <= maxNames {
		// A service name is a valid label value.
		if named, err := labels.NewRequirement(discoveryv1.LabelServiceName, operator.In, slices.Collect(maps.Keys(names))); err == nil {
			out = out.Add(*named)
		}
	}
	return out
}

// Options narrows a list or watch of a kind to the selected objects.
func (s *Selection) Options(kind object.Kind, o *metav1.ListOptions) {
	switch kind {
	case object.Services:
		o.FieldSelector = fields.OneTermEqualSelector(ClusterIPField, corev1.ClusterIPNone).String()
		o.LabelSelector = s.services.String()
	case object.Pods:
		o.FieldSelector = fields.AndSelectors(
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
		).String()
	case object.EndpointSlices:
		o.LabelSelector = s.slices.String()
		if s.Pods {
			o.LabelSelector = s.unmanaged.String()
		}
	case object.Namespaces:
		o.LabelSelector = s.namespaceLabels.String()
	case object.ServiceImports:
		o.LabelSelector = s.services.String()
	case object.ImportedSlices:
		o.LabelSelector = s.imported.String()
	}
}

// Has reports whether an object is selected. It is for objects that no API server selected.
func (s *Selection) Has(kind object.Kind, o metav1.Object) bool {
	switch kind {
	case object.Namespaces:
		return s.namespaceLabels != nil && s.namespaceLabels.Matches(labels.Set(o.GetLabels()))
	case object.Nodes:
		return s.Nodes
	}
	if len(s.Namespaces) > 0 {
		if _, ok := slices.BinarySearch(s.Namespaces, o.GetNamespace()); !ok {
			return false
		}
	}
	switch kind {
	case object.Services:
		return s.services.Matches(labels.Set(o.GetLabels()))
	case object.EndpointSlices:
		return s.slices.Matches(labels.Set(o.GetLabels()))
	case object.ServiceImports:
		return s.Imports && s.services.Matches(labels.Set(o.GetLabels()))
	case object.ImportedSlices:
		return s.Imports && s.imported.Matches(labels.Set(o.GetLabels()))
	}
	return s.Pods
}
