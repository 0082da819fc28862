//go:build cluster

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headless-dns/headless/internal/cluster"
)

var (
	get  = metav1.GetOptions{}
	list = metav1.ListOptions{}
)

// pods waits until exactly n pods have the label app=NAME, all ready and none
// terminating. It returns them sorted by name.
func pods(t *testing.T, ns, app string, n int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, func() error {
		got, err := api.CoreV1().Pods(ns).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return err
		}
		pods = got.Items
		var states []string
		ready := 0
		for _, pod := range pods {
			states = append(states, fmt.Sprintf("%s %v %v", pod.Name, pod.Status.Phase, pod.Status.PodIPs))
			if pod.DeletionTimestamp == nil && cluster.PodReady(&pod) {
				ready++
			}
		}
		if ready != n || len(pods) != n {
			return fmt.Errorf("%d of %d pods of app=%s are ready, want %d:\n%s", ready, len(pods), app, n, strings.Join(states, "\n"))
		}
		return nil
	})
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods
}

// ips returns the addresses of the pods in a family, 4 or 6.
func ips(family int, pods ...corev1.Pod) []string {
	var ips []string
	for _, pod := range pods {
		for _, ip := range pod.Status.PodIPs {
			if strings.Contains(ip.IP, ":") == (family == 6) {
				ips = append(ips, ip.IP)
			}
		}
	}
	return ips
}

// setStatus writes the status of a pod on the node "manual", like a kubelet.
func setStatus(t *testing.T, ns, name string, ready bool, ips ...string) {
	t.Helper()
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ips[0]}
	for _, ip := range ips {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
	}
	condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}
	if ready {
		condition.Status = corev1.ConditionTrue
	}
	status.Conditions = []corev1.PodCondition{condition}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	// The controller may not have created the pod yet.
	eventually(t, func() error {
		_, err := api.CoreV1().Pods(ns).Patch(context.Background(), name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
}

// remove deletes a pod without a grace period, as the node "manual" has no kubelet to end
// it.
func remove(t *testing.T, ns, name string) {
	t.Helper()
	kubectl(t, "-n", ns, "delete", "pod", name, "--grace-period=0", "--force")
}
