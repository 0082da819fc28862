// Package cluster runs Kubernetes for tests in folders of plugin: the processes of
// testdata/cluster, on free ports. It also stops what else the tests register.
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

// Scripts is the folder of the cluster's scripts, as seen from a folder of plugin.
const Scripts = "../../testdata/cluster"

// Cluster is a Kubernetes control plane, and perhaps nodes, as processes.
type Cluster struct {
	Dir string   // its state; the file pids lists the processes
	Env []string // the environment of its scripts

	keeper *exec.Cmd
	pipe   io.Closer
}

// Build returns the folder of the Kubernetes programs: CLUSTER_BIN if that is set, else
// that of the version which this module pins. It builds them if they are missing.
func Build() (bin string, err error) {
	if bin := os.Getenv("CLUSTER_BIN"); bin != "" {
		return bin, nil
	}
	out, err := Run(exec.Command(Scripts + "/build.sh"))
	return strings.TrimSpace(out), err
}

// Start starts the programs in a folder, with a number of kwok nodes; with 0, the control
// plane alone.
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

// start returns a cluster together with an error if there are processes to stop.
//
// A process of its own stops the cluster and everything else in its pids when this process
// closes a pipe. So a test that panics or times out leaves nothing behind either.
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

// portTaken reports whether a program found its port taken: another process may take it
// between the choice and the start.
func (c *Cluster) portTaken() bool {
	logs, _ := filepath.Glob(filepath.Join(c.Dir, "log", "*"))
	for _, path := range logs {
		if log, err := os.ReadFile(path); err == nil && bytes.Contains(log, []byte("address already in use")) {
			return true
		}
	}
	return false
}

// Stop stops the cluster and everything else in its pids.
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

// Run runs a program in the environment of the cluster and returns its output.
func (c *Cluster) Run(cmd *exec.Cmd) (string, error) {
	cmd.Env = c.Env
	return Run(cmd)
}

// Run runs a program and returns its output.
func Run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, &stderr)
	}
	return stdout.String(), nil
}

// Eventually retries f until it succeeds. After the patience, it fails with the last error.
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
