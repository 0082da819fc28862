// Package cluster starts a Kubernetes for the tests in the folders of plugin: the programs
// of testdata/cluster, on free ports of the loopback address. It also has helpers that
// these tests share.
package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"k8s.io/client-go/kubernetes"
)

// Scripts is the folder of the cluster's scripts, relative to a folder of plugin.
const Scripts = "../../testdata/cluster"

// Cluster is a running Kubernetes, each component of which is a process.
type Cluster struct {
	Dir string   // its state; the ids of its processes are in the folder pids
	Env []string // the environment of its programs and scripts

	keeper *exec.Cmd
	pipe   io.Closer
}

// Start starts a cluster of the programs in bin, with the given number of nodes simulated
// by kwok. For zero nodes it starts the control plane alone. If another program took one
// of the ports, Start tries again with other ports.
func Start(bin string, nodes int) (*Cluster, error) {
	for try := 1; ; try++ {
		c, err := start(bin, nodes)
		if c == nil {
			return nil, err
		}
		taken := c.portTaken()
		if taken && err == nil {
			err = errors.New("start the cluster: a port is taken")
		}
		if err == nil {
			return c, nil
		}
		err = errors.Join(err, c.Stop())
		if !taken || try == 3 {
			return nil, err
		}
	}
}

// MustStart is [Start] for a test, at whose end it stops the cluster. It also returns a client of the
// API server as the admin.
func MustStart(t testing.TB, bin string, nodes int) (*Cluster, *kubernetes.Clientset) {
	t.Helper()
	c, err := Start(bin, nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	api, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	return c, api
}

// start starts a cluster once. If it fails and has started something, it returns the
// cluster with the error.
//
// The keeper, a separate process, stops the cluster and every other process in its pids
// when this process closes the pipe. So even a test that panics or times out leaves
// nothing behind.
func start(bin string, nodes int) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "headless-cluster-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Env: append(os.Environ(), "CLUSTER_DIR="+dir, "CLUSTER_BIN="+bin, "KUBECACHEDIR="+dir+"/kubectl")}
	c.keeper = exec.Command("sh", "-c", "cat; "+Scripts+"/down.sh; rm -rf \"$CLUSTER_DIR\"")
	for _, name := range []string{"ETCD", "ETCD_PEER", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER", "KWOK"} {
		port, err := FreePort()
		if err != nil {
			return nil, errors.Join(err, os.Remove(dir))
		}
		c.Env = append(c.Env, name+"_PORT="+port)
	}
	c.keeper.Env = c.Env
	c.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.pipe, err = c.keeper.StdinPipe(); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if err := c.keeper.Start(); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	up := exec.Command(Scripts+"/up.sh", fmt.Sprint(nodes))
	if nodes == 0 {
		up = exec.Command(Scripts + "/control-plane.sh")
	}
	_, err = c.Run(up)
	return c, err
}

// portTaken reports whether a component could not listen on its port. Another program may
// take a port between [FreePort] and the start of the component.
func (c *Cluster) portTaken() bool {
	logs, _ := filepath.Glob(filepath.Join(c.Dir, "log", "*"))
	for _, path := range logs {
		if log, err := os.ReadFile(path); err == nil && bytes.Contains(log, []byte("address already in use")) {
			return true
		}
	}
	return false
}

// Stop stops the cluster and every other process in its pids, and removes its state.
func (c *Cluster) Stop() error {
	_ = c.pipe.Close()
	if err := c.keeper.Wait(); err != nil {
		return fmt.Errorf("stop the cluster: %w", err)
	}
	return nil
}

// Exit ends a test program with an exit code, or with 1 and a message for an error.
func Exit(code int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
