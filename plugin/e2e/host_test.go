//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/headless-dns/headless/internal/cluster"
)

// volatile are the kernel parameters that change by themselves.
var volatile = regexp.MustCompile(`/(random/|ns_last_pid|pty/nr|sched_domain|nf_conntrack_count)`)

// hostState lists what a node without isolation would change in the host: mounts,
// interfaces, packet filters, network namespaces, control groups, kernel parameters, and
// files.
func hostState() ([]string, error) {
	var state []string
	add := func(kind, lines string) {
		for line := range strings.Lines(lines) {
			state = append(state, kind+" "+strings.TrimSpace(line))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	add("mount", string(mounts))
	rules, err := command("nft", "--stateless", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	add("packet filter", rules)
	rules, err = command("ip", "rule")
	if err != nil {
		return nil, err
	}
	add("rule", rules)
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	for kind, glob := range map[string]string{
		"interface":         "/sys/class/net/*",
		"network namespace": "/run/netns/*",
		"file":              hostFiles,
		"cache of kubectl":  home + "/.kube/cache/discovery/*",
	} {
		found, err := expand(glob)
		if err != nil {
			return nil, err
		}
		add(kind, strings.Join(found, "\n"))
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "kubepods") {
			add("control group", path)
		}
		return ignoreGone(err)
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"kernel", "vm", "net"} {
		err := filepath.WalkDir("/proc/sys/"+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || volatile.MatchString(path) {
				return ignoreGone(err)
			}
			// Some parameters are write-only.
			if value, err := os.ReadFile(path); err == nil {
				add("kernel parameter", path+" = "+strings.TrimSpace(strings.ReplaceAll(string(value), "\n", "; ")))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(state)
	return state, nil
}

// hostFiles are the folders in which the programs of a node and the image builder keep
// files.
const hostFiles = "/{run,var/lib,var/log,opt,etc,usr/libexec}/{containerd,kubelet,kubernetes,cni,pods,containers}{,/*}"

// TestWritesStay writes files where the programs of a node and the image builder write on
// their first run. The outer program fails if it finds these files on the host.
func TestWritesStay(t *testing.T) {
	for _, dir := range []string{"/run", "/var/lib", "/var/log", "/etc"} {
		for _, name := range []string{"cni", "containers", "kubelet"} {
			dir := filepath.Join(dir, name)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "e2e"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
}

// ignoreGone returns nil for the error of a file that vanished after it was listed.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// expand is filepath.Glob with alternatives in braces.
func expand(pattern string) ([]string, error) {
	open, end := strings.Index(pattern, "{"), strings.Index(pattern, "}")
	if open < 0 {
		return filepath.Glob(pattern)
	}
	var out []string
	for alternative := range strings.SplitSeq(pattern[open+1:end], ",") {
		found, err := expand(pattern[:open] + alternative + pattern[end+1:])
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// difference returns the lines that only one of the lists has.
func difference(before, after []string) []string {
	var out []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			out = append(out, "+ "+line)
		}
	}
	return out
}

// processes lists the processes with a variable in their environment. Those of pods lack
// it, but a control group with a process could not have been removed.
func processes(variable string) []string {
	var out []string
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environments {
		env, err := os.ReadFile(file)
		if err == nil && slices.Contains(strings.Split(string(env), "\x00"), variable) {
			name, _ := os.ReadFile(filepath.Dir(file) + "/cmdline")
			out = append(out, fmt.Sprintf("+ process %s %q", filepath.Base(filepath.Dir(file)), name))
		}
	}
	return out
}

// command runs a program and returns its output.
func command(name string, args ...string) (string, error) {
	return cluster.Run(exec.Command(name, args...))
}
