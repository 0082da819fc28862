//go:build e2e

// The end-to-end test queries as users of the plugin do: from pods, through the name
// server that the kubelet gave them, with nslookup, dig and the C library's resolver. It
// starts a node of containerd, kubelet and kube-proxy beside a control plane. It deploys
// the server's image behind the Service of the cluster's DNS, as plugin/deploy does.
//
// The node lives in its own namespaces (testdata/cluster/isolated.sh), so this program
// runs twice. The outer program starts the inner one there, and compares the host's state
// before and after. The inner one is the test.
//
//	make e2e
package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

func TestMain(m *testing.M) {
	run := outside
	if os.Getenv("ISOLATED") == "yes" {
		run = func() (int, error) { return inside(m) }
	}
	cluster.Exit(run())
}

// outside starts this program again within isolated.sh, and requires that it leaves the
// host unchanged.
func outside() (int, error) {
	if os.Getenv("HEADLESS_COREDNS") == "" {
		return 0, errors.New("HEADLESS_COREDNS is not set: it names the server, and make e2e sets it")
	}
	bin, err := cluster.Build()
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	before, err := hostState()
	if err != nil {
		return 0, err
	}

	// After an interrupt the host is still compared. The signals are caught, not ignored, as
	// the inner program would inherit ignored ones.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	// If this program is killed, the kernel kills the inner one, because the thread that
	// started it ends.
	runtime.LockOSThread()
	mark := fmt.Sprintf("HEADLESS_E2E=%d", os.Getpid())
	test := exec.Command(cluster.Scripts+"/isolated.sh", append([]string{self}, os.Args[1:]...)...)
	test.Env = append(os.Environ(), mark, "CLUSTER_BIN="+bin)
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	test.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	failed := test.Run()

	after, err := hostState()
	if err != nil {
		return 0, err
	}
	if left := append(difference(before, after), processes(mark)...); len(left) > 0 {
		return 0, fmt.Errorf("the host has changed:\n%s", strings.Join(left, "\n"))
	}
	fmt.Printf("the host is unchanged: %d mounts, links, rules, kernel parameters and so on\n", len(after))
	if failed != nil {
		return 0, fmt.Errorf("the test within isolated.sh: %w", failed)
	}
	return 0, nil
}

// inside starts the cluster and runs the tests. The cluster ends with this program.
func inside(m *testing.M) (int, error) {
	begin := time.Now()
	step := func(format string, args ...any) {
		fmt.Printf("%5.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	dir := os.Getenv("CLUSTER_DIR")
	if err := os.Setenv("PATH", os.Getenv("CLUSTER_BIN")+":"+os.Getenv("PATH")); err != nil {
		return 0, err
	}
	if err := os.Setenv("KUBECONFIG", dir+"/admin.kubeconfig"); err != nil {
		return 0, err
	}
	if err := os.Setenv("KUBECACHEDIR", dir+"/kubectl"); err != nil {
		return 0, err
	}
	for _, c := range []struct{ done, command string }{
		{"images built", cluster.Scripts + "/images.sh " + os.Getenv("HEADLESS_COREDNS")},
		{"control plane up", cluster.Scripts + "/control-plane.sh"},
		{"node up", cluster.Scripts + "/node.sh"},
		{"server deployed", "kubectl apply -k testdata/headless"},
		{"", "kubectl apply -f testdata/nginx.yaml -f testdata/mariadb.yaml -f testdata/clients.yaml"},
		{"", "kubectl create namespace staging"},
		{"", "kubectl -n staging apply -f testdata/nginx.yaml -f testdata/clients.yaml"},
		{"server ready", "kubectl -n kube-system rollout status deployment/headless --timeout=60s"},
		{"", "kubectl rollout status statefulset/web --timeout=60s"},
		{"", "kubectl rollout status statefulset/mariadb --timeout=60s"},
		{"", "kubectl -n staging rollout status statefulset/web --timeout=60s"},
		{"pods ready", "kubectl wait pod --for=condition=Ready --all --all-namespaces --timeout=60s"},
	} {
		args := strings.Fields(c.command)
		if _, err := command(args[0], args[1:]...); err != nil {
			diagnose(dir)
			return 0, err
		}
		if c.done != "" {
			step("%s", c.done)
		}
	}
	code := m.Run()
	if code != 0 {
		diagnose(dir)
	}
	step("tests run")
	return code, nil
}

// diagnose prints the objects, events and logs that explain a failure.
func diagnose(dir string) {
	for _, c := range []string{
		"kubectl get pods,services,endpointslices --all-namespaces -o wide",
		"kubectl get events --all-namespaces --sort-by=.lastTimestamp --field-selector=type!=Normal",
		"kubectl -n kube-system logs --tail=30 --prefix -l k8s-app=kube-dns",
	} {
		args := strings.Fields(c)
		out, err := command(args[0], args[1:]...)
		fmt.Printf("== %s\n%s", c, out)
		if err != nil {
			fmt.Println(err)
		}
	}
	logs, _ := filepath.Glob(dir + "/log/*")
	if len(logs) > 0 {
		out, _ := command("tail", append([]string{"-n", "15"}, logs...)...)
		fmt.Println(out)
	}
}
