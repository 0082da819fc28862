//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/internal/cluster"
)

// ttl is the TTL of the records: the default, which the deployed Corefile keeps.
const ttl = 5 * time.Second

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command("kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies a manifest until the test ends.
func apply(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "-f", file)
	t.Cleanup(func() { kubectl(t, "delete", "--wait=false", "--ignore-not-found", "-f", file) })
}

// execute runs a shell command in a pod and returns its output, which it also logs.
func execute(t *testing.T, ns, pod, line string) string {
	t.Helper()
	out, err := command("kubectl", "-n", ns, "exec", pod, "--", "sh", "-c", line)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s/%s# %s\n%s", ns, pod, line, out)
	return out
}

// pods waits until exactly n pods have the label, all ready. It returns them sorted by name.
func pods(t *testing.T, ns, label string, n int) []corev1.Pod {
	t.Helper()
	return podsWith(t, ns, label, n, func(pod *corev1.Pod) error {
		if !ready(pod) {
			return fmt.Errorf("%s is not ready", pod.Name)
		}
		return nil
	})
}

// podsWith waits until exactly n pods have the label, and check returns nil for all of them.
func podsWith(t *testing.T, ns, label string, n int, check func(*corev1.Pod) error) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	eventually(t, func() error {
		out, err := command("kubectl", "-n", ns, "get", "pods", "-l", label, "-o", "json")
		if err != nil {
			return err
		}
		list = corev1.PodList{}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		for _, pod := range list.Items {
			if err := check(&pod); err != nil {
				return err
			}
		}
		if len(list.Items) != n {
			return fmt.Errorf("%d pods with %s, want %d", len(list.Items), label, n)
		}
		return nil
	})
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items
}

func ready(pod *corev1.Pod) bool {
	return !readySince(pod).IsZero() && pod.DeletionTimestamp == nil
}

// readySince returns when the pod became ready, or zero if it is not ready.
func readySince(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// addr returns the pod's address of a family, 4 or 6.
func addr(pod *corev1.Pod, family int) string {
	for _, ip := range pod.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Is4() == (family == 4) {
			return ip.IP
		}
	}
	return ""
}

// eventually is [cluster.Eventually] with patience for an outage. After it a watch may pause
// for a minute, be refused by an API server that has just started, and pause again.
// Components also wait for each other.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	cluster.Eventually(t, 4*time.Minute, f)
}
