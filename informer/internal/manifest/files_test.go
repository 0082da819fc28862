package manifest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/selection"
)

// TestInPlace follows a writer that empties the file and fills it bit by bit.
func TestInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.yaml")
	fixture.WriteFile(t, path, fixture.NginxManifest+"---"+fixture.Web0Manifest)
	p := lookAt(t, path)
	p.expect(t, "at first", first)
	if len(p.counts) != 1 || p.counts[0] != 0 {
		t.Errorf("the counts of bad manifests are %v, want 0 alone", p.counts)
	}

	changed := fixture.NginxManifest + "---" + strings.ReplaceAll(fixture.Web0Manifest, first, second)
	for i, test := range []struct{ what, content, err string }{
		{"empty", "", "is empty"},
		{"cut in a document", changed[:len(fixture.NginxManifest)-20], "is not YAML"},
		{"cut behind a service", changed[:len(fixture.NginxManifest)+20], "document 2: is not YAML"},
		{"cut in a list", "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n", `"kind" is missing`},
		{"comments", "# generated\n---\n", "is empty"},
		{"JSON that is cut", `{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"`, "JSON is cut off"},
		{"UTF-16 that is cut", "\xff\xfea", "UTF-16 is cut off"},
		{"blocks on a disk that were never written", strings.Repeat("\x00", 10), "zero"},
	} {
		writeInPlace(t, path, test.content)
		p.expect(t, test.what, first, first, first)
		if len(p.rejections) != i+1 || !strings.Contains(p.rejections[i].Error(), test.err) {
			t.Errorf("%s: the errors are %q, want one more with %q", test.what, p.rejections, test.err)
		}
		if p.lastBad() != 1 {
			t.Errorf("%s: %d manifests are bad, want 1", test.what, p.lastBad())
		}
	}

	writeInPlace(t, path, changed)
	p.expect(t, "whole", first, second)
	if p.lastBad() != 0 || !p.hasLogged("manifest can be read again") {
		t.Errorf("when it is whole, %d manifests are bad, and the log is %q", p.lastBad(), p.logged)
	}

	// This looks like a complete file.
	writeInPlace(t, path, fixture.NginxManifest+"---\n")
	p.expect(t, "cut between documents", second, "missing")
}

// TestGrows follows a writer that never stops.
func TestGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.yaml")
	content := fixture.NginxManifest + "---" + fixture.Web0Manifest
	fixture.WriteFile(t, path, content)
	p := lookAt(t, path)
	for i := range maxChanges {
		if len(p.rejections) > 0 {
			t.Fatalf("after %d looks, there is the error %v", i, p.rejections[0])
		}
		content += "---\n"
		writeInPlace(t, path, content)
		p.expect(t, "growing", first)
	}
	if len(p.rejections) != 1 || !strings.Contains(p.rejections[0].Error(), "was still being written") {
		t.Errorf("the errors are %q, want one that it changes", p.rejections)
	}
	p.expect(t, "no more", first)
	if p.lastBad() != 0 {
		t.Error("it is bad though it is stable")
	}
}

// TestStamps changes a file but not its time and size.
func TestStamps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.yaml")
	content := fixture.NginxManifest + "---" + fixture.Web0Manifest
	fixture.WriteFile(t, path, content)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p := lookAt(t, path)
	writeInPlace(t, path+"~", strings.ReplaceAll(content, first, second))
	if err := errors.Join(os.Chtimes(path+"~", info.ModTime(), info.ModTime()), os.Rename(path+"~", path)); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "another file of the same time and size", first, second)
	if _, err := readFile(path, info); !errors.Is(err, errChanging) {
		t.Errorf("for a file replaced since the look, the error is %v", err)
	}
}

// TestGone removes files for one look, and for longer.
func TestGone(t *testing.T) {
	dir := fixture.Files(t, map[string]string{"a.yaml": fixture.NginxManifest, "b.yaml": fixture.Web0Manifest})
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	p := lookAt(t, dir)
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(b, b+"~")
	p.expect(t, "gone", first)
	move(b+"~", b)
	p.expect(t, "back", first, first)
	move(b, b+"~")
	p.expect(t, "gone for good", first, "missing")
	move(a, a+"~")
	p.expect(t, "all are gone", "missing", "missing", "missing")
	if p.lastBad() != 1 || !p.hasLogged("no manifests are left") {
		t.Errorf("when all are gone, %d are bad, and the log is %q", p.lastBad(), p.logged)
	}
	move(b+"~", b)
	p.expect(t, "one is back", "missing", "outside") // so the other file is gone for good
	if p.lastBad() != 0 {
		t.Error("one is back, and a manifest is bad")
	}
}

// TestBecomes replaces a file by something else.
func TestBecomes(t *testing.T) {
	dir := fixture.Files(t, map[string]string{"a.yaml": fixture.NginxManifest, "b.yaml": fixture.Web0Manifest})
	b := filepath.Join(dir, "b.yaml")
	p, named := lookAt(t, dir), lookAt(t, filepath.Join(dir, "a.yaml"), b)
	replace := func(f func(string) error) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(b), f(b)); err != nil {
			t.Fatal(err)
		}
	}
	replace(func(path string) error { return syscall.Mkfifo(path, 0o600) })
	p.expect(t, "a pipe", first, first, first)
	named.expect(t, "a named pipe", first, first, first)
	replace(func(path string) error { return os.Symlink("/dev/zero", path) })
	p.expect(t, "a device", first, first, first)
	named.expect(t, "a named device", first, first, first)
	replace(func(path string) error { return os.Symlink("nowhere", path) })
	p.expect(t, "a link to nowhere", first, first, first)
	named.expect(t, "a named link to nowhere", first, first, first)
	for _, p := range []*rig{p, named} {
		if p.lastBad() != 1 {
			t.Errorf("%d manifests are bad, want 1", p.lastBad())
		}
	}
	replace(func(path string) error { return os.Mkdir(path, 0o700) })
	p.expect(t, "a folder", first, "missing") // as if it was removed
	named.expect(t, "a named folder", first, first, first)
}

// TestIrregular starts with pipes, devices and sockets that have the name of a manifest.
func TestIrregular(t *testing.T) {
	dir := fixture.Files(t, map[string]string{"a.yaml": fixture.NginxManifest + "---" + fixture.Web0Manifest, "kustomization.yaml": "resources: [a.yaml]\n"})
	pipe, device, socket := filepath.Join(dir, "pipe.yaml"), filepath.Join(dir, "device.yaml"), filepath.Join(dir, "socket.json")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("/dev/zero", device)); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := lookAt(t, dir)
	p.expect(t, "beside a pipe", first, first)
	for _, path := range []string{pipe, device, socket, filepath.Join(dir, "kustomization.yaml")} {
		n := 0
		for _, line := range p.logged {
			if strings.Contains(line, messageSkipped) && strings.Contains(line, path) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("it is logged %d times that %s is skipped", n, path)
		}
	}
	for _, path := range []string{pipe, device, socket} {
		if _, err := newRig(path); err == nil || !strings.Contains(err.Error(), "neither a regular file nor a folder") {
			t.Errorf("%s by name: the error is %v", path, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(pipe, info); !errors.Is(err, errChanging) {
		t.Errorf("for a file that became a pipe since the look, the error is %v", err)
	}
}

// TestHuge reads a file beyond the size limit.
func TestHuge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	writeInPlace(t, path, "")
	if err := os.Truncate(path, maxSize+1); err != nil {
		t.Fatal(err)
	}
	_, err := newRig(path)
	if want := fmt.Sprintf("has %d bytes, the limit is %d", maxSize+1, maxSize); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %q", err, want)
	}
}

// TestFolders walks through folders and links.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	mkdir := func(name string) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"services/a", "pods", ".hidden", "lost+found", "..2026", "elsewhere.d"} {
		mkdir(name)
		fixture.WriteFile(t, filepath.Join(dir, name, name[:1]+".txt"), ":")
	}
	fixture.WriteFile(t, filepath.Join(dir, "services/a/nginx.yaml"), fixture.NginxManifest)
	fixture.WriteFile(t, filepath.Join(dir, "pods/web-0.json"), `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","labels":{"app":"nginx"}},
"spec":{"hostname":"web-0","subdomain":"nginx"},"status":{"podIP":"10.244.0.1","conditions":[{"type":"Ready","status":"True"}]}}`)
	for _, name := range []string{".hidden/x.yaml", "lost+found/x.yaml", "..2026/x.yaml"} {
		fixture.WriteFile(t, filepath.Join(dir, name), "no manifest")
	}
	link("..", "services/a/up")    // a loop
	link(dir, "pods/root")         // another
	link("pods", "again")          // a folder that is also walked by its name
	link("nowhere", "dangling")    // which may not be meant as a manifest
	link("..2026", "..data")       // as in the mount of a ConfigMap
	link("/proc/self/fd", ".proc") // hidden
	p := lookAt(t, dir)
	p.expect(t, "in folders", first, first)
	if len(p.files) != 2 {
		t.Errorf("there are %d files, want 2", len(p.files))
	}
	// A link to a folder that no other path leads to.
	if err := os.Rename(filepath.Join(dir, "pods"), filepath.Join(dir, ".pods")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	link(".pods", "pods")
	p.expect(t, "through a link", first, first)

	empty := lookAt(t, filepath.Join(dir, "elsewhere.d"))
	for _, want := range []string{"the folder has no manifests", "there is nothing to serve"} {
		if !empty.hasLogged(want) {
			t.Errorf("of an empty folder, the log is %q, want %q", empty.logged, want)
		}
	}
}

// TestYoung starts while a file is written.
func TestYoung(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	sel, err := selection.New(selection.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m := &Source{paths: []string{path}, selected: sel, looked: findFiles(nil), files: map[string]*manifestFile{}}
	look := func(what string, want bool, objects int) {
		t.Helper()
		unsettled := m.look(true)
		n := 0
		if f := m.files[path]; f != nil {
			n = len(f.entries)
		}
		if unsettled != want || n != objects {
			t.Errorf("%s: unsettled is %v, and there are %d objects; want %v and %d", what, unsettled, n, want, objects)
		}
	}
	writeInPlace(t, path, "")
	look("empty", true, 0)
	look("still empty", true, 0)
	writeInPlace(t, path, fixture.NginxManifest[:40])
	look("cut", true, 0)
	look("still cut", true, 0)
	writeInPlace(t, path, fixture.NginxManifest)
	look("whole", true, 0)
	look("still whole", false, 1)
	old := time.Now().Add(-time.Hour)
	for content, objects := range map[string]int{"": 0, fixture.NginxManifest[:40]: 0, fixture.NginxManifest: 1} {
		m.files, m.looked = map[string]*manifestFile{}, findFiles(nil)
		writeInPlace(t, path, content)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		look("old", false, objects)
	}
}

// TestConfigMap changes a folder as the kubelet changes the mount of a ConfigMap: the files
// are links through a link that is replaced.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, pod string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		fixture.WriteFile(t, filepath.Join(dir, name, "all.yaml"), fixture.NginxManifest+"---"+pod)
		if err := os.Symlink(name, filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", fixture.Web0Manifest)
	if err := os.Symlink("..data/all.yaml", filepath.Join(dir, "all.yaml")); err != nil {
		t.Fatal(err)
	}
	r := lookAt(t, dir)
	r.expect(t, "at the start", first)
	version("..2", strings.ReplaceAll(fixture.Web0Manifest, "10.244.0.1", "10.244.0.2"))
	r.expect(t, "replaced", first, second)
}

// TestCount checks the counts in the log line.
func TestCount(t *testing.T) {
	for _, test := range []struct {
		kinds map[string]int
		want  string
	}{{nil, "none"}, {map[string]int{"StatefulSet": 1, "ConfigMap": 2}, "2 ConfigMap, 1 StatefulSet"}} {
		if got := countKinds(test.kinds); got != test.want {
			t.Errorf("%v is written %q, want %q", test.kinds, got, test.want)
		}
	}
}
