//go:build soak

package soak_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	client "k8s.io/client-go/kubernetes"

	"github.com/headless-dns/headless/internal/cluster"
)

const nodes = 5

// kubernetes is a cluster and a client of its API server as the admin.
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
	c, api := cluster.MustStart(t, bin, nodes)
	return &kubernetes{c, api}
}

// script runs a script of the cluster.
func (k *kubernetes) script(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := k.Run(exec.Command(cluster.Scripts+"/"+name, args...)); err != nil {
		t.Fatal(err)
	}
}

// supervise restarts a program of the cluster whenever it ends, as a kubelet does.
func (k *kubernetes) supervise(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	pid, err := k.PID(name)
	if err != nil {
		t.Fatal(err)
	}
	process := fmt.Sprintf("/proc/%d", pid)
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
		// The first process is no child of this one, so it polls /proc for the end.
		for alive := true; ctx.Err() == nil; {
			status, err := os.ReadFile(process + "/status")
			alive = alive && err == nil && !strings.Contains(string(status), "\nState:\tZ")
			if !alive {
				cmd := &exec.Cmd{Path: path, Args: args, Stdout: log, Stderr: log}
				if k.Launch(name, cmd) == nil {
					process, alive = fmt.Sprintf("/proc/%d", cmd.Process.Pid), true
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

// kill kills a program of the cluster.
func (k *kubernetes) kill(t *testing.T, name string) {
	t.Helper()
	if err := k.Signal(name, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// start starts a program that ends with the cluster at the latest.
func (k *kubernetes) start(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	if err := k.Launch(name, cmd); err != nil {
		t.Fatal(err)
	}
}

// freeAddr returns an address that is free for TCP and UDP.
func freeAddr(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + cluster.MustFreePort(t)
}
