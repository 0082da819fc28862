package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Client returns a client of the API server as the cluster's admin.
func (c *Cluster) Client() (*kubernetes.Clientset, error) {
	return NewClient(filepath.Join(c.Dir, "admin.kubeconfig"))
}

// NewClient returns a client for a kubeconfig, without a rate limit.
func NewClient(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}

// Kubeconfig writes a kubeconfig for a ServiceAccount of kube-system, and returns its path.
func (c *Cluster) Kubeconfig(account string) (path string, err error) {
	text, err := c.Run(exec.Command(Scripts+"/kubeconfig.sh", account))
	if err != nil {
		return "", fmt.Errorf("write kubeconfig for %q: %w", account, err)
	}
	path = filepath.Join(c.Dir, account+".kubeconfig")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// PodReady reports whether the condition Ready of a pod is true.
func PodReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
