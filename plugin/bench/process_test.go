package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

var processes []*exec.Cmd

func startProcess(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	processes = append(processes, cmd)
}

// endProcesses kills the processes that still run.
func endProcesses() error {
	var errs []error
	for _, cmd := range processes {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		_ = cmd.Wait() // an error, as it was killed
	}
	processes = nil
	return errors.Join(errs...)
}

// pin restricts a process to some processors: all its threads, and thereby every thread
// that they start.
func pin(b *testing.B, cmd *exec.Cmd, processors *unix.CPUSet) {
	b.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		id, _ := strconv.Atoi(task.Name())
		if err := unix.SchedSetaffinity(id, processors); err != nil && !errors.Is(err, unix.ESRCH) {
			b.Fatalf("pin thread %d: %v", id, err)
		}
	}
}

var memoryLine = regexp.MustCompile(`(?m)^(VmHWM|VmRSS):\s+(\d+) kB$`)

// memory returns the resident memory of a process, now and at its peak, in megabytes.
func memory(b *testing.B, cmd *exec.Cmd) (now, peak float64) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	values := make(map[string]float64)
	for _, m := range memoryLine.FindAllStringSubmatch(string(status), -1) {
		kb, _ := strconv.ParseFloat(m[2], 64)
		values[m[1]] = kb / 1024
	}
	return values["VmRSS"], values["VmHWM"]
}

// endProcess kills a process.
func endProcess(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if err := cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	_ = cmd.Wait() // an error, as it was killed
	processes = slices.DeleteFunc(processes, func(other *exec.Cmd) bool { return other == cmd })
}
