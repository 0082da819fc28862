// Package cluster starts a Kubernetes for tests: the processes of testdata/cluster, on
// ports that are free, and what ends them. Its users are tests in folders of plugin.
package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Scripts is the folder of a cluster's scripts, for a test in a folder of plugin.
const Scripts = "../../testdata/cluster"

// Cluster is a Kubernetes of processes.
type Cluster struct {
	Dir string   // its state, with its processes in pids
	Env []string // what its scripts go by

	keeper *exec.Cmd
	pipe   io.Closer
}

// Build returns the folder of the programs of Kubernetes: CLUSTER_BIN if that is set, else
// the one of the version that this module pins, which it builds at first.
func Build() (bin string, err error) {
	if bin := os.Getenv("CLUSTER_BIN"); bin != "" {
		return bin, nil
	}
	out, err := Run(exec.Command(Scripts + "/build.sh"))
	return strings.TrimSpace(out), err
}

// Start starts a cluster of the programs in a folder, with as many nodes of kwok as told, or
// the control plane alone.
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

// start returns a cluster with an error, too, if there is something to stop.
//
// What ends a cluster, and all else in its pids, is a process of its own that waits for
// this one to close a pipe: so a test that panics or times out leaves nothing behind
// either.
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

// portTaken is whether a program has found that another one has its port: between the
// choice and its start there is time for that.
func (c *Cluster) portTaken() bool {
	logs, _ := filepath.Glob(filepath.Join(c.Dir, "log", "*"))
	for _, path := range logs {
		if log, err := os.ReadFile(path); err == nil && bytes.Contains(log, []byte("address already in use")) {
			return true
		}
	}
	return false
}

// Stop ends the cluster and all else in its pids.
func (c *Cluster) Stop() error {
	_ = c.pipe.Close()
	if err := c.keeper.Wait(); err != nil {
		return fmt.Errorf("end the cluster: %w", err)
	}
	return nil
}

// Signal sends a signal to a program of the cluster in a folder.
func Signal(dir, name string, signal syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(dir, "pids", name))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read the process of %s: %w", name, err)
	}
	return syscall.Kill(pid, signal)
}

// Run runs a program in the environment of the cluster and returns what it prints.
func (c *Cluster) Run(cmd *exec.Cmd) (string, error) {
	cmd.Env = c.Env
	return Run(cmd)
}

// Run runs a program and returns what it prints.
func Run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, &stderr)
	}
	return stdout.String(), nil
}

// Eventually polls until f succeeds, and fails with its last error.
func Eventually(t testing.TB, patience time.Duration, f func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
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
