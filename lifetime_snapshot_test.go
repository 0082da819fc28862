package headless

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
)

// TestReloadKeepsSnapshot changes settings while a snapshot is kept. The file has one
// writer, which is the source in force.
func TestReloadKeepsSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.put()
	snapshot := "snapshot " + file
	r.start(t, snapshot+" 1h")
	written := func(labels string) func() bool {
		return func() bool {
			b, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(b), fmt.Sprintf("; labels %q;", labels))
		}
	}
	await(t, written(""), true)

	// A reload that is refused leaves the file, and who writes it, as they are.
	r.api.Close()
	r.reload(t, r.corefile(snapshot+" 1h\nlabels app"), "reload: ")
	if !written("")() {
		t.Error("a refused reload has changed the snapshot")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.rejected")); left != nil {
		t.Errorf("a refused reload has moved the snapshot to %s", left)
	}
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	r.checkFed(t) // so the old source has something to write when it ends

	r.reload(t, r.corefile(snapshot+" 1h\nlabels app"), "")
	await(t, written("app"), true)
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.local.") }, address)
	r.api.Close()
	r.stop(t)
	if !written("app")() {
		t.Fatal("at the end, the snapshot is that of other settings")
	}
	r.start(t, snapshot+" 1h\nlabels app")
	if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
		t.Errorf("after a start from the snapshot, %s has %s, want %s", name, got, address)
	}

	// Only the interval changes, and the API server is still away. The snapshot fits, but
	// it may be older than what is served.
	r.reload(t, r.corefile(snapshot+" 2h\nlabels app"), "reload: ")
	checkLiving(t, "from a snapshot", 1, 2)
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	r.checkFed(t)
}

// TestReloadIgnoresSnapshot adds a snapshot that another server left, while the API
// server is away. What is served is newer.
func TestReloadIgnoresSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.start(t, "snapshot "+file)
	await(t, func() bool { _, err := os.Stat(file); return err == nil }, true)
	r.stop(t)
	name, address := r.put()
	r.start(t, "")
	r.api.Close()
	r.reload(t, r.corefile("snapshot "+file), "reload: ")
	if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
		t.Errorf("%s has %s, want %s", name, got, address)
	}
}

// TestReloadAddsSnapshot adds a snapshot, which nobody wrote before.
func TestReloadAddsSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.put()
	r.start(t, "")
	r.reload(t, r.corefile("snapshot "+file), "")
	await(t, func() bool { _, err := os.Stat(file); return err == nil }, true)
}

// TestSnapshotHasOneWriter checks that two stanzas share a snapshot only if they share
// a source.
func TestSnapshotHasOneWriter(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "snapshot"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	for _, other := range []string{
		"snapshot " + file + "\nlabels app",
		"snapshot " + file + "\nauthoritative",
		"snapshot " + file + " 2m",
		"snapshot " + filepath.Join(dir, ".", "x", "..", "snapshot") + "\nlabels app",
		"snapshot " + filepath.Join(link, "snapshot") + "\nlabels app",
	} {
		_, err := caddy.Start(r.corefiles("snapshot "+file, other))
		if err == nil || !strings.Contains(err.Error(), "snapshot: ") || !strings.Contains(err.Error(), "another stanza writes this file") {
			t.Errorf("%q: the error is %v", other, err)
		}
	}
	var err error
	if r.instance, err = caddy.Start(r.corefiles("snapshot "+file, "ttl 9\nsnapshot "+file)); err != nil {
		t.Fatal(err)
	}
	r.reload(t, r.corefiles("labels app\nsnapshot "+file, "snapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("snapshot "+file, "labels app\nsnapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("labels a\nsnapshot "+file, "labels b\nsnapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("snapshot "+file, "labels app\nsnapshot "+file+"-2"), "")
	checkLiving(t, "with two files", 2, 2)
}
