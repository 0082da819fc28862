//go:build soak

package soak_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	scripts = "../../testdata/cluster"
	nodes   = 5
)

// cluster is a Kubernetes of processes.
type cluster struct {
	dir string   // its state, with its processes in pids
	env []string // what its scripts go by
	api *kubernetes.Clientset
}

// up starts a cluster. What ends it, and all else in its pids, is a process of its
// own that waits for this one to close a pipe: so a test that panics or times out
// leaves nothing behind either.
func up(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "headless-soak-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: dir, env: append(os.Environ(), "CLUSTER_DIR="+dir)}
	c.env = append(c.env, "CLUSTER_BIN="+strings.TrimSpace(c.run(t, scripts+"/build.sh")))
	for _, name := range []string{"ETCD", "ETCD_PEER", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER", "KWOK"} {
		_, port, _ := net.SplitHostPort(freeAddr(t))
		c.env = append(c.env, name+"_PORT="+port)
	}
	keeper := exec.Command("sh", "-c", "cat; "+scripts+"/down.sh; rm -rf \"$CLUSTER_DIR\"")
	keeper.Env = c.env
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = pipe.Close()
		if err := keeper.Wait(); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
	})
	c.run(t, scripts+"/up.sh", strconv.Itoa(nodes))
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	if c.api, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a program in the environment of the cluster and returns what it prints.
func (c *cluster) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = c.env
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, &stderr)
	}
	return stdout.String()
}

// keepScheduler starts kube-scheduler again when it has ended, as a kubelet does. It
// ends itself where an outage has hidden from it that a pod of the same name is on
// another node now.
func (c *cluster) keepScheduler(ctx context.Context, t *testing.T) {
	t.Helper()
	const name = "kube-scheduler"
	pid, err := os.ReadFile(filepath.Join(c.dir, "pids", name))
	if err != nil {
		t.Fatal(err)
	}
	process := "/proc/" + strings.TrimSpace(string(pid))
	line, err := os.ReadFile(process + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	path, err := os.Readlink(process + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log", name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer log.Close()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		// The first one is not a child of this program, those that follow are.
		for there := true; ctx.Err() == nil; {
			status, err := os.ReadFile(process + "/status")
			there = there && err == nil && !strings.Contains(string(status), "\nState:\tZ")
			if !there {
				cmd := &exec.Cmd{Path: path, Args: args, Stdout: log, Stderr: log}
				if c.startProcess(name, cmd) == nil {
					process, there = fmt.Sprintf("/proc/%d", cmd.Process.Pid), true
					go func() { _ = cmd.Wait() }()
				}
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
}

// start starts a program that ends with the cluster, at the latest.
func (c *cluster) start(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	if err := c.startProcess(name, cmd); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) startProcess(name string, cmd *exec.Cmd) error {
	cmd.Env = c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.dir, "pids", name), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// watch has the history take in what the API server says of pods and services.
func (c *cluster) watch(ctx context.Context, h *history) {
	go c.follow(ctx, "services", func(o runtime.Object, gone bool) {
		h.setService(o.(*corev1.Service).Name, !gone, time.Now())
	})
	go c.follow(ctx, "pods", func(o runtime.Object, gone bool) {
		h.setPod(o.(*corev1.Pod), gone, time.Now())
	})
}

// follow lists and watches a resource until the context is done. It connects again
// at once, not as late as a reflector may: what it sees is the measure of others.
func (c *cluster) follow(ctx context.Context, resource string, event func(o runtime.Object, gone bool)) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	known := make(map[types.UID]runtime.Object)
	take := func(o runtime.Object, gone bool) {
		accessor, err := meta.Accessor(o)
		if err != nil {
			return // the status with which a watch ends
		}
		if known[accessor.GetUID()] = o; gone {
			delete(known, accessor.GetUID())
		}
		event(o, gone)
	}
	request := func() *rest.Request {
		return c.api.CoreV1().RESTClient().Get().Namespace(namespace).Resource(resource)
	}
	for ctx.Err() == nil {
		if list, err := request().Do(ctx).Get(); err == nil {
			listed := make(map[types.UID]bool)
			_ = meta.EachListItem(list, func(o runtime.Object) error {
				accessor, err := meta.Accessor(o)
				if err == nil {
					listed[accessor.GetUID()] = true
					take(o, false)
				}
				return err
			})
			for uid, o := range known {
				if !listed[uid] {
					take(o, true)
				}
			}
			accessor, _ := meta.ListAccessor(list)
			options := metav1.ListOptions{Watch: true, ResourceVersion: accessor.GetResourceVersion()}
			if w, err := request().VersionedParams(&options, scheme.ParameterCodec).Watch(ctx); err == nil {
				for e := range w.ResultChan() {
					take(e.Object, e.Type == watch.Deleted)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// eventually polls until f succeeds, and fails with its last error.
func eventually(t *testing.T, patience time.Duration, f func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// freeAddr is an address that nothing listens at, by TCP or UDP.
func freeAddr(t *testing.T) string {
	t.Helper()
	for {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := tcp.Addr().String()
		udp, err := net.ListenPacket("udp", addr)
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return addr
		}
	}
}
