//go:build soak

package soak_test

import (
	"context"
	"fmt"
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
	client "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/headless-dns/headless/internal/cluster"
)

const nodes = 5

// kubernetes is a cluster, and its API server as the admin has it.
type kubernetes struct {
	*cluster.Cluster
	api *client.Clientset
}

func up(t *testing.T) *kubernetes {
	t.Helper()
	bin, err := cluster.Build()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(bin, nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.Dir, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	api, err := client.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &kubernetes{c, api}
}

// script runs a script of the cluster and returns what it prints.
func (k *kubernetes) script(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := k.Run(exec.Command(cluster.Scripts+"/"+name, args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// keep starts a program of the cluster again when it has ended, as a kubelet does.
func (k *kubernetes) keep(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(k.Dir, "pids", name))
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
	log, err := os.OpenFile(filepath.Join(k.Dir, "log", name), os.O_APPEND|os.O_WRONLY, 0)
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
				if k.startProcess(name, cmd) == nil {
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

// end ends a program of the cluster.
func (k *kubernetes) end(t *testing.T, name string) {
	t.Helper()
	if err := cluster.Signal(k.Dir, name, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// start starts a program that ends with the cluster, at the latest.
func (k *kubernetes) start(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	if err := k.startProcess(name, cmd); err != nil {
		t.Fatal(err)
	}
}

func (k *kubernetes) startProcess(name string, cmd *exec.Cmd) error {
	cmd.Env = k.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.Dir, "pids", name), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// watch has the history take in what the API server says of pods and services.
func (k *kubernetes) watch(ctx context.Context, h *history) {
	go k.follow(ctx, "services", h, func(o runtime.Object, gone bool, when moment) {
		h.setService(o.(*corev1.Service).Name, !gone, when)
	})
	go k.follow(ctx, "pods", h, func(o runtime.Object, gone bool, when moment) {
		h.setPod(o.(*corev1.Pod), gone, when)
	})
	go k.write(ctx, "services", steady.service)
	go k.write(ctx, "pods", steady.service+"-0")
}

// writtenAt is an annotation with the time at which it was written.
const writtenAt = "soak/written-at"

// write writes the time to an object again and again.
func (k *kubernetes) write(ctx context.Context, resource, name string) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, writtenAt, time.Now().Format(time.RFC3339Nano))
		// It is not there yet, or there is no API server: then there is another time.
		_ = k.api.CoreV1().RESTClient().Patch(types.MergePatchType).Namespace(namespace).Resource(resource).Name(name).
			Timeout(5 * time.Second).Body([]byte(patch)).Do(ctx).Error()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// follow lists and watches a resource until the context is done. It connects again
// at once, not as late as a reflector may: what it sees is the measure of others.
func (k *kubernetes) follow(ctx context.Context, resource string, h *history, event func(o runtime.Object, gone bool, when moment)) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	known := make(map[types.UID]runtime.Object)
	take := func(o runtime.Object, gone bool, when moment) (written time.Time) {
		accessor, err := meta.Accessor(o)
		if err != nil {
			return written // of the status with which a watch ends
		}
		if known[accessor.GetUID()] = o; gone {
			delete(known, accessor.GetUID())
		}
		event(o, gone, when)
		written, _ = time.Parse(time.RFC3339Nano, accessor.GetAnnotations()[writtenAt])
		return written
	}
	request := func() *rest.Request {
		return k.api.CoreV1().RESTClient().Get().Namespace(namespace).Resource(resource)
	}
	for ctx.Err() == nil {
		if list, err := request().Do(ctx).Get(); err == nil {
			// What a list has is in no order of time.
			var written time.Time
			when := h.since(resource)
			listed := make(map[types.UID]bool)
			_ = meta.EachListItem(list, func(o runtime.Object) error {
				accessor, err := meta.Accessor(o)
				if err == nil {
					listed[accessor.GetUID()] = true
					if at := take(o, false, when); at.After(written) {
						written = at
					}
				}
				return err
			})
			for uid, o := range known {
				if !listed[uid] {
					take(o, true, when)
				}
			}
			if !written.IsZero() {
				h.setWritten(resource, written)
			}
			accessor, _ := meta.ListAccessor(list)
			options := metav1.ListOptions{Watch: true, ResourceVersion: accessor.GetResourceVersion()}
			if w, err := request().VersionedParams(&options, scheme.ParameterCodec).Watch(ctx); err == nil {
				for e := range w.ResultChan() {
					if at := take(e.Object, e.Type == watch.Deleted, h.since(resource)); !at.IsZero() {
						h.setWritten(resource, at)
					}
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// freeAddr is an address that nothing listens at, by TCP or UDP.
func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}
