package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// podMonitor has the fields of a PodMonitor that the Prometheus Operator reads.
type podMonitor struct {
	Metadata metav1.ObjectMeta
	Spec     struct {
		JobLabel            string
		Selector            metav1.LabelSelector
		PodMetricsEndpoints []struct{ Port string }
	}
}

// job returns the job and the port with which Prometheus scrapes a pod, or "".
func (m *podMonitor) job(t *testing.T, pod *corev1.PodTemplateSpec) (job, port string) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(pod.Labels)) {
		return "", ""
	}
	return pod.Labels[m.Spec.JobLabel], m.Spec.PodMetricsEndpoints[0].Port
}

// TestPodMonitor requires that Prometheus scrapes each server once, and that servers
// for the same names are in one job.
func TestPodMonitor(t *testing.T) {
	file, err := os.Open("monitoring/podmonitor/podmonitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var monitors []podMonitor
	for documents := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var m podMonitor
		if err := documents.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if m.Metadata.Namespace != "kube-system" {
			t.Errorf("%s is in the namespace %q", m.Metadata.Name, m.Metadata.Namespace)
		}
		monitors = append(monitors, m)
	}

	var base, node, standalone, kubeadm appsv1.Deployment
	decode(t, "base/deployment.yaml", &base)
	decode(t, "nodelocal/daemonset.yaml", &node)
	decode(t, "base/deployment.yaml", &standalone)
	// As standalone/kustomization.yaml has it.
	standalone.Spec.Template.Labels = map[string]string{"app.kubernetes.io/name": "headless-standalone"}
	kubeadm.Spec.Template = base.Spec.Template // its ports have the same names
	kubeadm.Spec.Template.Labels = map[string]string{"k8s-app": "kube-dns"}
	for _, test := range []struct {
		server *appsv1.Deployment
		job    string
	}{
		{&base, "headless"}, {&node, "headless-node"}, {&standalone, "headless-standalone"}, {&kubeadm, "kube-dns"},
	} {
		pod := &test.server.Spec.Template
		var jobs []string
		for _, m := range monitors {
			job, port := m.job(t, pod)
			if job == "" {
				continue
			}
			jobs = append(jobs, job)
			if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port && p.ContainerPort == 9153 }) {
				t.Errorf("%s scrapes the port %q of %v", m.Metadata.Name, port, pod.Labels)
			}
		}
		if !slices.Equal(jobs, []string{test.job}) {
			t.Errorf("the jobs of %v are %q, want %q", pod.Labels, jobs, test.job)
		}
	}
	stranger := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "coredns", "k8s-app": "kube-dns"}}}
	for _, m := range monitors {
		if job, _ := m.job(t, stranger); job != "" {
			t.Errorf("%s scrapes pods that are not ours", m.Metadata.Name)
		}
	}
}

// TestPrometheusRule requires that the PrometheusRule has the rules of rules.yaml.
func TestPrometheusRule(t *testing.T) {
	var object struct {
		APIVersion, Kind string
		Metadata         metav1.ObjectMeta
		Spec             map[string]any
	}
	decode(t, "monitoring/prometheusrule/prometheusrule.yaml", &object)
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" || object.Metadata.Namespace != "kube-system" {
		t.Errorf("got %s %s in the namespace %q", object.APIVersion, object.Kind, object.Metadata.Namespace)
	}
	var rules map[string]any
	decode(t, "monitoring/rules.yaml", &rules)
	if len(rules) != 1 || !reflect.DeepEqual(object.Spec, rules) {
		t.Error("the PrometheusRule differs from rules.yaml: run make generate")
	}
	text, err := os.ReadFile("monitoring/prometheusrule/prometheusrule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("---")) {
		t.Error("the PrometheusRule has more than one document")
	}
}
