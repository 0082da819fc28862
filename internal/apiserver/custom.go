package apiserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"
)

// importsPath is the path of the API group of ServiceImports, before its versions.
const importsPath = "/apis/" + mcsv1beta1.GroupName + "/"

// ServeImports serves ServiceImports in some versions, such as "v1alpha1", and no longer in others.
// At the start it serves none, like a cluster without their custom resource definition. The
// objects stay. The watches of a version that is no longer served end.
func (s *Server) ServeImports(versions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports = versions
	s.wake()
}

// serves reports whether a kind is served in its version. The caller holds the lock.
func (s *Server) serves(k *kind) bool { return !k.isCustom() || slices.Contains(s.imports, k.Version) }

// isCustom reports whether the kind is a custom resource, which is served in JSON alone.
func (k *kind) isCustom() bool {
	_, ok := k.example.(interface{ Marshal() ([]byte, error) })
	return !ok
}

// inVersion returns the kind in a version, and the rest of a path below that, if it is served.
func (s *Server) inVersion(k *kind, path string) (form *kind, rest string, ok bool) {
	if !k.isCustom() {
		rest, ok = strings.CutPrefix(path, k.path+"/")
		return k, rest, ok
	}
	rest, ok = strings.CutPrefix(path, importsPath)
	if !ok {
		return nil, "", false
	}
	version, rest, ok := strings.Cut(rest, "/")
	other := *k
	other.Version = version
	s.mu.Lock()
	defer s.mu.Unlock()
	return &other, rest, ok && s.serves(&other)
}

// discover replies to a request for the resources of a version of the API group of ServiceImports.
// It reports whether the request is one.
func (s *Server) discover(w http.ResponseWriter, r *http.Request) bool {
	version, ok := strings.CutPrefix(r.URL.Path, importsPath)
	if !ok || strings.Contains(version, "/") {
		return false
	}
	f, _ := s.present()
	s.mu.Lock()
	served := slices.Contains(s.imports, version)
	s.mu.Unlock()
	switch {
	case f.Abort:
		panic(http.ErrAbortHandler)
	case f.Code != 0 && !f.Lists:
		codec, _, _ := negotiate("", false, true)
		refuse(w, codec, statusError(f.Code))
	case !served: // as kube-apiserver does, without a Status
		http.Error(w, "404 page not found", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_ = json.NewEncoder(w).Encode(&metav1.APIResourceList{ // the client may be gone
			TypeMeta:     metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"},
			GroupVersion: mcsv1beta1.GroupName + "/" + version,
			APIResources: []metav1.APIResource{{Name: "serviceimports", Kind: mcsv1beta1.ServiceImportKindName, Namespaced: true}},
		})
	}
	return true
}
