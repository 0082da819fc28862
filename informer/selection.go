package informer

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
)

// clusterIPField is the field of a Service that tells whether it is headless.
const clusterIPField = "spec.clusterIP"

// selected is which objects are watched.
type selected struct {
	namespaces      []string // those alone; all if empty
	namespaceLabels labels.Selector
	services        labels.Selector
	slices          labels.Selector
	pods            bool // whether there are any
	// With pods, unmanaged are the slices that are watched, those that managed does not
	// select; see leftovers for the others.
	unmanaged labels.Selector
	managed   labels.Requirement
}

// selection is which objects are wanted, as Config has it.
type selection struct {
	namespaces      []string
	namespaceLabels string
	labels          string
	slices          bool
}

func newSelection(c selection) (*selected, error) {
	if len(c.namespaces) > 0 && c.namespaceLabels != "" {
		return nil, fmt.Errorf("select namespaces: by name %q and by label %q at once", c.namespaces, c.namespaceLabels)
	}
	s := &selected{namespaces: slices.Clone(c.namespaces), services: labels.Everything(), slices: labels.Everything(), pods: !c.slices}
	slices.Sort(s.namespaces)
	s.namespaces = slices.Compact(s.namespaces)
	var err error
	if c.namespaceLabels != "" {
		if s.namespaceLabels, err = parseSelector(c.namespaceLabels); err != nil {
			return nil, err
		}
	}
	if c.labels != "" {
		if s.services, err = parseSelector(c.labels); err != nil {
			return nil, err
		}
		// The controller copies the labels of a Service to its slices.
		s.slices = s.services
	}
	if !s.pods {
		return s, nil
	}
	managed, err := labels.NewRequirement(discoveryv1.LabelManagedBy, operator.Equals, []string{sliceController})
	if err != nil {
		return nil, fmt.Errorf("select EndpointSlices: %w", err)
	}
	unmanaged, err := labels.NewRequirement(discoveryv1.LabelManagedBy, operator.NotEquals, []string{sliceController})
	if err != nil {
		return nil, fmt.Errorf("select EndpointSlices: %w", err)
	}
	s.managed = *managed
	s.unmanaged = s.slices.Add(*unmanaged)
	return s, nil
}

// parseSelector parses a label selector as kubectl's --selector does.
func parseSelector(expression string) (labels.Selector, error) {
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

// origins are the lists that together hold what is selected.
func (s *selected) origins() []origin {
	namespaces := s.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	var out []origin
	for _, ns := range namespaces {
		out = append(out, origin{Services, ns}, origin{EndpointSlices, ns})
		if s.pods {
			out = append(out, origin{Pods, ns})
		}
	}
	if s.namespaceLabels != nil {
		out = append(out, origin{kind: Namespaces})
	}
	return out
}

// leftOrigins are the lists that together hold the slices of leftovers.
func (s *selected) leftOrigins() []origin {
	var out []origin
	for _, o := range s.origins() {
		if o.kind == EndpointSlices && s.pods {
			out = append(out, origin{leftSlices, o.namespace})
		}
	}
	return out
}

// leftNames is how many services leftovers names to the API server: the URL must not get
// too long. With more, it asks for the slices of all services.
const leftNames = 100

// left selects the slices that the EndpointSlice controller manages of some services.
func (s *selected) left(services map[key]struct{}) labels.Selector {
	names := make(map[string]bool)
	for k := range services {
		names[k.name] = true
	}
	out := s.services.Add(s.managed)
	if len(names) <= leftNames {
		// The name of a service is a valid value of a label.
		if named, err := labels.NewRequirement(discoveryv1.LabelServiceName, operator.In, slices.Collect(maps.Keys(names))); err == nil {
			out = out.Add(*named)
		}
	}
	return out
}

// options narrows a list or watch of a kind.
func (s *selected) options(kind Kind, o *metav1.ListOptions) {
	switch kind {
	case Services:
		o.FieldSelector = fields.OneTermEqualSelector(clusterIPField, corev1.ClusterIPNone).String()
		o.LabelSelector = s.services.String()
	case Pods:
		o.FieldSelector = fields.AndSelectors(
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
		).String()
	case EndpointSlices:
		o.LabelSelector = s.slices.String()
		if s.pods {
			o.LabelSelector = s.unmanaged.String()
		}
	case Namespaces:
		o.LabelSelector = s.namespaceLabels.String()
	}
}

// has tells whether an object is selected, where no API server selects.
func (s *selected) has(kind Kind, o metav1.Object) bool {
	if kind == Namespaces {
		return s.namespaceLabels != nil && s.namespaceLabels.Matches(labels.Set(o.GetLabels()))
	}
	if len(s.namespaces) > 0 {
		if _, ok := slices.BinarySearch(s.namespaces, o.GetNamespace()); !ok {
			return false
		}
	}
	switch kind {
	case Services:
		return s.services.Matches(labels.Set(o.GetLabels()))
	case EndpointSlices:
		return s.slices.Matches(labels.Set(o.GetLabels()))
	}
	return s.pods
}
