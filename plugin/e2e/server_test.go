//go:build e2e

package e2e_test

import (
	"debug/elf"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// container is the ID of a pod's only container.
func container(pod *corev1.Pod) string {
	return strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
}

// process is the number of the process of a pod.
func process(t *testing.T, pod *corev1.Pod) int {
	t.Helper()
	tasks, err := command("ctr", "--namespace", "k8s.io", "tasks", "list")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(tasks, container(pod))
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatalf("no process of %s: %v\n%s", pod.Name, err, tasks)
	}
	return pid
}

// kill ends the process of a pod, which the kubelet then starts again.
func kill(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := command("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container(pod)); err != nil {
		t.Fatal(err)
	}
}

var failing = regexp.MustCompile(`(?m)^coredns_headless_failing_watches\{.*\} (\d+)$`)

// watching is nil if no watch of the servers fails.
func watching(servers []corev1.Pod) error {
	for _, pod := range servers {
		resp, err := http.Get("http://" + net.JoinHostPort(addr(&pod, 4), "9153") + "/metrics")
		if err != nil {
			return err
		}
		metrics, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		watches := failing.FindAllSubmatch(metrics, -1)
		for _, m := range watches {
			if string(m[1]) != "0" {
				return fmt.Errorf("watches of %s fail: %s", pod.Name, m[0])
			}
		}
		if len(watches) == 0 {
			return fmt.Errorf("%s does not tell of its watches", pod.Name)
		}
	}
	return nil
}

// TestServerRights looks at the processes of the servers as the kernel sees them.
func TestServerRights(t *testing.T) {
	for _, pod := range pods(t, "kube-system", "k8s-app=kube-dns", 2) {
		proc := fmt.Sprintf("/proc/%d/", process(t, &pod))
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
				t.Errorf("want %q of %s:\n%s", want, pod.Name, status)
			}
		}
		mounts, err := os.ReadFile(proc + "mounts")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(mounts), " / overlay ro,") {
			t.Errorf("the root file system of %s is not read-only:\n%s", pod.Name, mounts)
		}
		program, err := elf.Open(proc + "exe")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range program.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("the server is not a static binary: it has %v", p.Type)
			}
		}
		_ = program.Close()
	}
}
