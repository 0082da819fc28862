//go:build e2e

package e2e_test

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/headless-dns/headless/internal/cluster"
)

// container returns the ID of a pod's only container.
func container(pod *corev1.Pod) string {
	return strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
}

// process returns the id of a pod's process.
func process(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	tasks, err := command("ctr", "--namespace", "k8s.io", "tasks", "list")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(tasks, container(pod))
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatalf("find the process of %s: %v\n%s", pod.Name, err, tasks)
	}
	return pid
}

// kill kills the process of a pod, which the kubelet then restarts.
func kill(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := command("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container(pod)); err != nil {
		t.Fatal(err)
	}
}

// runServer runs a server as deployed, but with this Corefile, until the test ends. Its pod has the
// label app=NAME. The options change the pod.
func runServer(t *testing.T, name, corefile string, options ...func(*corev1.PodSpec)) {
	t.Helper()
	var deployment appsv1.Deployment
	if err := json.Unmarshal([]byte(kubectl(t, "-n", "kube-system", "get", "deployment/headless", "-o", "json")), &deployment); err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: name, Namespace: "kube-system", Labels: map[string]string{"app": name}}
	config := corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: meta, Data: map[string]string{"Corefile": corefile}}
	pod := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: meta, Spec: deployment.Spec.Template.Spec}
	pod.Spec.Containers[0].LivenessProbe = nil // the Corefile may lack the health plugin
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].ConfigMap; v != nil {
			v.Name = name
		}
	}
	for _, option := range options {
		option(&pod.Spec)
	}
	var manifest strings.Builder
	for _, object := range []any{&config, &pod} {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&manifest, "---\n%s\n", text)
	}
	apply(t, manifest.String())
}

// hostNetwork runs a server in the network of the node. Its ready plugin listens on this port.
func hostNetwork(ready int32) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		spec.HostNetwork = true
		c := &spec.Containers[0]
		c.Ports = nil
		c.ReadinessProbe.HTTPGet.Port = intstr.FromInt32(ready)
	}
}

// watching returns an error if a watch of a server fails.
func watching(servers []corev1.Pod) error {
	for _, pod := range servers {
		n, err := cluster.FailingWatches(metricsAddr(&pod))
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%s: %d watches fail", pod.Name, n)
		}
	}
	return nil
}

// TestServerRights checks the rights of the servers.
func TestServerRights(t *testing.T) {
	for _, pod := range pods(t, "kube-system", "k8s-app=kube-dns", 2) {
		wantRights(t, &pod)
	}
}

// wantRights checks the rights of a server's process in /proc.
func wantRights(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", process(t, pod))
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t65532\t65532\t65532\t65532\n",
		"Gid:\t65532\t65532\t65532\t65532\n",
		"CapPrm:\t0000000000000400\n", // CAP_NET_BIND_SERVICE
		"CapEff:\t0000000000000400\n",
		"CapBnd:\t0000000000000400\n",
		"NoNewPrivs:\t1\n",
		"Seccomp:\t2\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status of %s: want %q in:\n%s", pod.Name, want, status)
		}
	}
	mounts, err := os.ReadFile(proc + "mounts")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mounts), " / overlay ro,") {
		t.Errorf("the root file system of %s is writable:\n%s", pod.Name, mounts)
	}
	program, err := elf.Open(proc + "exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("want a static binary, got a program header %v", p.Type)
		}
	}
}
