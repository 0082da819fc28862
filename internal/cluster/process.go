package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Run runs a program to its end and returns its output. The error quotes its stderr.
func Run(cmd *exec.Cmd) (stdout string, err error) {
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, &stderr)
	}
	return out.String(), nil
}

// Run is [Run] in the cluster's environment.
func (c *Cluster) Run(cmd *exec.Cmd) (stdout string, err error) {
	cmd.Env = c.Env
	return Run(cmd)
}

// Launch starts a program and records its process id under name in the cluster's pids, so
// that it ends with the cluster at the latest. The caller must wait for its end. Unless cmd
// sets them, the environment is the cluster's, and the output goes to the log of that name.
func (c *Cluster) Launch(name string, cmd *exec.Cmd) error {
	if cmd.Stdout == nil {
		log, err := os.Create(c.logPath(name))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
	}
	if cmd.Env == nil {
		cmd.Env = c.Env
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(c.PIDFile(name), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// MustLaunch is [Cluster.Launch] for a test, at whose end it kills the program. If the test has
// failed, it prints the program's log.
func (c *Cluster) MustLaunch(t testing.TB, name string, cmd *exec.Cmd) {
	t.Helper()
	if err := c.Launch(name, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(name); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); t.Failed() {
			t.Logf("%s: %v, log:\n%s", name, err, c.Log(name))
		}
	})
}

// PIDFile returns the path of the file with the process id of a program.
func (c *Cluster) PIDFile(name string) string { return filepath.Join(c.Dir, "pids", name) }

func (c *Cluster) logPath(name string) string { return filepath.Join(c.Dir, "log", name) }

// Log returns what a program has logged so far.
func (c *Cluster) Log(name string) string {
	log, err := os.ReadFile(c.logPath(name))
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// PID returns the process id of a program.
func (c *Cluster) PID(name string) (int, error) {
	text, err := os.ReadFile(c.PIDFile(name))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the process id of %s: %w", name, err)
	}
	return pid, nil
}

// Kill kills a program of the cluster and waits until it has released its ports. A process
// that is dying loses its environment first and its sockets later, so only the function
// that has recognized a process by its environment and then killed it can wait for its end.
func (c *Cluster) Kill(name string) error {
	_, err := c.Run(exec.Command("bash", "-c", `. "$0" && stop "$1" KILL`, Scripts+"/env.sh", name))
	return err
}

// Signal sends a signal that does not end a program of the cluster. See [Cluster.Kill].
func (c *Cluster) Signal(name string, signal syscall.Signal) error {
	pid, err := c.PID(name)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, signal)
}
