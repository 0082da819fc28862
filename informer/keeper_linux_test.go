package informer

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/snapshot"
)

// inNamespace is the environment variable that marks the process with its own
// mounts.
const inNamespace = "HEADLESS_IN_NAMESPACE"

// TestSnapshotDisk makes a real disk full and then read-only. It runs itself in a
// process whose mounts no other process sees, and which end with it.
func TestSnapshotDisk(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSnapshotDisk$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestSnapshotDisk")) {
			t.Errorf("in a mount namespace: %v\n%s", err, out)
		}
		return
	}
	disk := t.TempDir()
	mount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", disk, "tmpfs", flags, "size=64k"); err != nil {
			t.Fatal(err)
		}
	}
	mount(0)
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	c := Config{Snapshot: filepath.Join(disk, "snapshot"), SnapshotInterval: 10 * time.Millisecond}
	left := filepath.Join(disk, ".snapshot.1.tmp") // by a process that was killed
	if err := os.WriteFile(left, make([]byte, 60<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := watchServer(t, c, server{}, fixture.Nginx(), fixture.Web(0))
	// Each state differs from the one before, so that the last write shows it.
	state := func(what string, failed bool) {
		t.Helper()
		p.awaitThat(t, what, func() bool { return len(p.wrote) > 0 && (p.wrote[len(p.wrote)-1] != nil) == failed })
	}
	objects := func() int {
		s, err := snapshot.Read(c.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.Objects()
		if err != nil {
			t.Fatal(err)
		}
		return len(all[object.Pods])
	}
	state("it is written", false)

	large := fixture.Web(1, func(p *corev1.Pod) { p.Labels["large"] = strings.Repeat("a", 1<<17) })
	p.api.Put(large)
	state("the disk is full", true)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")
	if n := objects(); n != 1 {
		t.Errorf("the last good snapshot has %d pods", n)
	}
	p.api.Apply(gone(large))
	state("there is room again", false)

	mount(syscall.MS_REMOUNT | syscall.MS_RDONLY)
	p.api.Put(fixture.Web(2))
	state("the disk is read-only", true)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.3")
	mount(syscall.MS_REMOUNT)
	state("it can be written again", false)
	p.Stop()
	if n := objects(); n != 2 {
		t.Errorf("the snapshot has %d pods", n)
	}
	for line, want := range map[string]int{"snapshot is not written": 2, "snapshot is written again": 2} {
		if got := strings.Count(strings.Join(p.logged, "\n"), line); got != want {
			t.Errorf("%q is in the log %d times, want %d: %q", line, got, want, p.logged)
		}
	}
	if files, err := os.ReadDir(disk); err != nil || len(files) != 1 {
		t.Errorf("the disk has %v, %v", files, err)
	}
}
