package manifest

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
)

// The checks are those of the API server for the fields that DNS uses. So the trie never
// has an object that no cluster would accept.

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
	if _, ok := object.ParseAddr(address); !ok {
		return field.ErrorList{field.Invalid(path, address, "must be an IP address")}
	}
	return nil
}

func checkNamespace(n *corev1.Namespace) field.ErrorList {
	return checkName(&n.ObjectMeta, validation.IsDNS1123Label)
}

func checkNode(n *corev1.Node) field.ErrorList {
	return checkName(&n.ObjectMeta, validation.IsDNS1123Subdomain)
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

func checkImport(i *mcsv1beta1.ServiceImport) field.ErrorList {
	return checkImportType(&i.ObjectMeta, string(i.Spec.Type))
}

func checkAlphaImport(i *mcsv1alpha1.ServiceImport) field.ErrorList {
	return checkImportType(&i.ObjectMeta, string(i.Spec.Type))
}

// checkImportType checks a ServiceImport. Its custom resource allows names that no Service can
// have and that have no place in DNS.
func checkImportType(meta *metav1.ObjectMeta, importType string) field.ErrorList {
	errs := checkName(meta, validation.IsDNS1123Label)
	supported := []string{string(mcsv1beta1.ClusterSetIP), string(mcsv1beta1.Headless)}
	if !slices.Contains(supported, importType) {
		errs = append(errs, field.NotSupported(field.NewPath("spec", "type"), importType, supported))
	}
	return errs
}

// isImported reports whether a slice is one of a multi-cluster service.
func isImported(s metav1.Object) bool {
	_, ok := s.GetLabels()[mcsv1beta1.LabelServiceName]
	return ok
}

// checkEndpointSlice checks a slice. The API server allows any cluster, but a slice without a valid
// one would be ignored.
func (p *parser) checkEndpointSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	errs := checkName(&s.ObjectMeta, validation.IsDNS1123Subdomain)
	if cluster := s.Labels[mcsv1beta1.LabelSourceCluster]; p.selected.Imports && isImported(s) && !object.IsCluster(cluster) {
		path := field.NewPath("metadata", "labels").Key(mcsv1beta1.LabelSourceCluster)
		errs = append(errs, field.Invalid(path, cluster, "must be the ID of a cluster, one or more DNS labels"))
	}
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

//nolint:staticcheck // deprecated, but people still write Endpoints by hand.
func checkEndpoints(e *corev1.Endpoints) field.ErrorList {
	errs := checkName(&e.ObjectMeta, validation.IsDNS1123Subdomain)
	for i, subset := range e.Subsets {
		path := field.NewPath("subsets").Index(i)
		for k, p := range subset.Ports {
			path := path.Child("ports").Index(k)
			if p.Name != "" {
				errs = append(errs, checkString(path.Child("name"), p.Name, validation.IsDNS1123Label)...)
			}
			errs = append(errs, checkProtocol(path.Child("protocol"), p.Protocol)...)
			errs = append(errs, checkNumber(path.Child("port"), p.Port)...)
		}
		errs = append(errs, checkEndpointAddresses(path.Child("addresses"), subset.Addresses)...)
		errs = append(errs, checkEndpointAddresses(path.Child("notReadyAddresses"), subset.NotReadyAddresses)...)
	}
	return errs
}

func checkEndpointAddresses(path *field.Path, addresses []corev1.EndpointAddress) field.ErrorList {
	var errs field.ErrorList
	for i, a := range addresses {
		errs = append(errs, checkAddress(path.Index(i).Child("ip"), a.IP)...)
		if a.Hostname != "" {
			errs = append(errs, checkString(path.Index(i).Child("hostname"), a.Hostname, validation.IsDNS1123Label)...)
		}
	}
	return errs
}
