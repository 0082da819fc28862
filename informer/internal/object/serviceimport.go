package object

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/records"
)

// ImportVersions are the versions of ServiceImport that can be read, the preferred one first. What
// is read of one is in the same place in both.
var ImportVersions = []schema.GroupVersion{
	schema.GroupVersion(mcsv1beta1.GroupVersion),
	schema.GroupVersion(mcsv1alpha1.GroupVersion),
}

// ServiceImport is a slim ServiceImport: a multi-cluster service (KEP-1645).
type ServiceImport struct {
	Key
	// Headless means that the endpoints of its slices have names. The name of an import that has
	// some is a DNS label, as that of a Service is: a custom resource may have any other.
	Headless bool
}

// Equal reports whether DNS could not tell two objects apart.
func (i *ServiceImport) Equal(j *ServiceImport) bool { return *i == *j }

// NewServiceImport returns the slim ServiceImport with a type.
func NewServiceImport(o metav1.Object, importType string) *ServiceImport {
	return newServiceImport(o.GetNamespace(), o.GetName(), importType)
}

func newServiceImport(namespace, name, importType string) *ServiceImport {
	return &ServiceImport{
		Key:      Key{intern(namespace), strings.Clone(name)},
		Headless: importType == string(mcsv1beta1.Headless) && len(validation.IsDNS1123Label(name)) == 0,
	}
}

// IsCluster reports whether a value of the label multicluster.kubernetes.io/source-cluster is the
// ID of a cluster: one or more DNS labels, which may be in upper case.
func IsCluster(value string) bool { return clusterOf(value) != "" }

// clusterOf returns the ID of a cluster in lower case, or "" if it is invalid.
func clusterOf(value string) string {
	value = strings.ToLower(value)
	if !records.IsClusterID(value) {
		return ""
	}
	return intern(value)
}

// importJSON is what is decoded of a ServiceImport in JSON. The API server has no other encoding
// of custom resources that the client asks for.
type importJSON struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Type string `json:"type"`
	} `json:"spec"`
}

// DeepCopyObject implements runtime.Object. The copy is shallow, as nobody changes the object.
func (i *importJSON) DeepCopyObject() runtime.Object {
	c := *i
	return &c
}

// importListJSON is a list of ServiceImports in JSON.
type importListJSON struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []importJSON `json:"items"`
}

// DeepCopyObject implements runtime.Object. The items are shared, as nobody changes them.
func (l *importListJSON) DeepCopyObject() runtime.Object {
	c := *l
	return &c
}

// typeLabel has the type of a ServiceImport in a snapshot. A custom resource has no protobuf, so a
// snapshot has its metadata alone, with this label.
const typeLabel = "type"

// decodeServiceImport decodes a ServiceImport as a snapshot has it.
func decodeServiceImport(b []byte) (*ServiceImport, metadata, error) {
	meta, err := decodeMetadata("ServiceImport", b)
	if err != nil {
		return nil, metadata{}, err
	}
	importType, _ := meta.label(typeLabel)
	return newServiceImport(meta.namespace, meta.name, importType), meta, nil
}
