package snapshot

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
)

// randomObjects returns n objects of every kind.
func randomObjects(t testing.TB, n int) []object.Object {
	var out []object.Object
	for kind := range object.Kinds {
		for seed := range int64(n) {
			_, b := fixture.Random(t, int(kind), seed)
			memory := object.NewScratch(true)
			o, err := object.Decode(kind, b, &memory)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, o)
		}
	}
	return out
}

// equal reports whether two objects are equal.
func equal(a, b object.Object) bool {
	switch a := a.(type) {
	case *object.Pod:
		return a.Equal(b.(*object.Pod))
	case *object.Service:
		return a.Equal(b.(*object.Service))
	case *object.EndpointSlice:
		return a.Equal(b.(*object.EndpointSlice))
	case *object.Node:
		return a.Equal(b.(*object.Node))
	case *object.ServiceImport:
		return a.Equal(b.(*object.ServiceImport))
	}
	return a.ID() == b.ID()
}

// TestWrite writes objects to a file and reads them again.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	objects := randomObjects(t, 500)
	// The labels of a slice say whether it is imported.
	slices.SortStableFunc(objects, func(a, b object.Object) int { return cmp.Compare(object.KindOf(a), object.KindOf(b)) })
	taken := time.Now().UTC().Truncate(time.Second)
	for range 2 { // the second time over the first
		size, err := Write(path, taken, "all", objects)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v, %v, of %d bytes", info, err, size)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside the snapshot there are %v, %v", entries, err)
	}
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Taken.Equal(taken) || s.Settings != "all" {
		t.Errorf("it was taken at %v of %q", s.Taken, s.Settings)
	}
	byKind, err := s.Objects()
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(byKind[:]...)
	if len(got) != len(objects) {
		t.Fatalf("%d objects, want %d", len(got), len(objects))
	}
	for i, o := range objects {
		if !equal(got[i], o) {
			t.Errorf("object %d is %+v, want %+v", i, got[i], o)
		}
	}
}

// TestKinds checks the numbers of the kinds in a file, which must stay.
func TestKinds(t *testing.T) {
	for want, o := range []object.Object{
		object.NewService(fixture.Nginx()), object.NewPod(fixture.Web(0)), object.NewEndpointSlice(fixture.Slice("by-hand")),
		&object.Namespace{Key: object.Key{Name: "default"}}, &object.Node{Key: object.Key{Name: "node-1"}, Zone: "eu-1a"},
		object.NewServiceImport(fixture.Import("nginx"), "Headless"), object.NewEndpointSlice(fixture.Imported("c1-nginx", "nginx", "c1")),
	} {
		b, err := appendObject(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if field, _, err := nextField(b); err != nil || field[0] != byte(want) {
			t.Errorf("the kind of %T is %d, %v, want %d", o, field[0], err, want)
		}
	}
}

// sum appends the right checksum to a content.
func sum(content string) []byte {
	s := sha256.Sum256([]byte(content))
	return append([]byte(content), s[:]...)
}

// TestInvalidSnapshot reads files that are not snapshots, or truncated or changed.
func TestInvalidSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	if _, err := Write(path, time.Now(), "all", randomObjects(t, 3)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := parse(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes count as complete", n, len(whole))
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 1 << (n % 8)
		if _, err := parse(changed); err == nil {
			t.Fatalf("a change of byte %d is not detected", n)
		}
	}
	head := fmt.Sprintf("%s%d\n", magic, formatVersion)
	for content, want := range map[string]string{
		"":                       "not a snapshot",
		"apiVersion: v1\n":       "not a snapshot",
		magic + "2\nwhat is new": "format version is 2, only 1 can be read",
		magic + "one\n":          "the format has no version",
		head:                     "a field is cut short",
		head + "\x04noon\x00":    `parse its time: parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006"`,
		head + "\x14" + time.Time{}.Format(time.RFC3339):                      "a field is cut short",
		head + "\x14" + time.Time{}.Format(time.RFC3339) + "\x00\x05\x01":     "a field is cut short",
		head + "\x14" + time.Time{}.Format(time.RFC3339) + "\x00\x00":         "a field is cut short",
		head + "\x14" + time.Time{}.Format(time.RFC3339) + "\x00\x01\x09":     "unknown kind 9",
		head + "\x14" + time.Time{}.Format(time.RFC3339) + "\x00\x02\x01\xff": "", // the error of the decoder
	} {
		s, err := parse(sum(content))
		if err == nil {
			_, err = s.Objects()
		}
		if err == nil || want != "" && err.Error() != want {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	if _, err := parse([]byte(head)); err == nil || err.Error() != "checksum is wrong: the file was truncated or changed" {
		t.Errorf("without a checksum: %v", err)
	}
}

// TestNotWritten checks that the old file stays if a new one can't be written.
func TestNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "snapshot")
	if _, err := Write(path, time.Now(), "", nil); err == nil {
		t.Error("a file is written to a folder that does not exist")
	}
	folder := filepath.Join(t.TempDir(), "snapshot") // which a file can't replace
	if err := os.MkdirAll(filepath.Join(folder, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(folder, time.Now(), "", nil); err == nil {
		t.Error("a file is written in place of a folder")
	}
	if entries, err := os.ReadDir(filepath.Dir(folder)); err != nil || len(entries) != 1 {
		t.Errorf("beside the folder there are %v, %v", entries, err)
	}
}

// FuzzSnapshot reads any bytes, and any bytes with the right checksum, which no fuzzer
// would find.
func FuzzSnapshot(f *testing.F) {
	seed := func(objects ...object.Object) {
		path := filepath.Join(f.TempDir(), "snapshot")
		if _, err := Write(path, time.Unix(1e9, 0).UTC(), "all", objects); err != nil {
			f.Fatal(err)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole, false)
		f.Add(whole[:len(whole)-sha256.Size], true)
	}
	all := []object.Object{
		object.NewPod(fixture.Web(0)), object.NewPod(fixture.Web(1, fixture.NotReady)), object.NewService(fixture.Nginx()), &object.Namespace{Key: object.Key{Name: "default"}},
		&object.Node{Key: object.Key{Name: "node-1"}, Zone: "eu-1a"}, &object.Node{Key: object.Key{Name: "node-2"}},
		object.NewPod(fixture.Web(2, func(p *corev1.Pod) { p.Spec.NodeName = "node-1" })),
		object.NewEndpointSlice(fixture.Slice("zonal", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: ptr.To("eu-1a")})),
		object.NewServiceImport(fixture.Import("nginx"), "Headless"),
		object.NewServiceImport(fixture.Import("web"), "ClusterSetIP"),
		object.NewEndpointSlice(fixture.Imported("c1-nginx", "nginx", "EU.c1", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Hostname: ptr.To("db-0")})),
		object.NewEndpointSlice(fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Hostname: ptr.To("db-0")})),
	}
	seed(all...)
	for _, o := range all {
		seed(o)
	}
	// A slice counts as what its labels say.
	b, err := object.Append([]byte{byte(object.ImportedSlices)}, object.NewEndpointSlice(fixture.Slice("by-hand")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendField(appendField(appendField([]byte(magic+"1\n"), []byte("2001-09-09T01:46:40Z")), []byte("all")), b), true)
	f.Fuzz(func(t *testing.T, content []byte, sealed bool) {
		if sealed {
			content = sum(string(content))
		}
		s, err := parse(content)
		if err != nil {
			return
		}
		if n := len(content) - sha256.Size; !bytes.Equal(content, sum(string(content[:n]))) {
			t.Fatalf("%x is accepted without its checksum", content)
		}
		byKind, err := s.Objects()
		if err != nil {
			return
		}
		// What was read can be written again.
		for kind, objects := range byKind {
			for _, o := range objects {
				b, err := appendObject(nil, o)
				if err != nil {
					continue // text that is not UTF-8
				}
				if object.KindOf(o) != object.Kind(kind) {
					t.Fatalf("%+v counts as one of the %v", o, object.Kind(kind))
				}
				again, err := (&Snapshot{objects: b}).Objects()
				if err != nil || len(again[kind]) != 1 {
					t.Fatalf("%+v becomes %v, %v", o, again, err)
				}
				if !equal(again[kind][0], o) {
					t.Fatalf("%+v becomes %+v", o, again[kind][0])
				}
				if c, err := appendObject(nil, again[kind][0]); err != nil || !bytes.Equal(b, c) {
					t.Fatalf("%+v is written as %x, and then as %x: %v", o, b, c, err)
				}
			}
		}
	})
}

// BenchmarkSnapshot writes and reads 100,000 pods.
func BenchmarkSnapshot(b *testing.B) {
	var objects []object.Object
	for n := range 100_000 {
		objects = append(objects, object.NewPod(fixture.Web(0, func(p *corev1.Pod) { fixture.NameWeb(p, n/100, n%100, n) })))
	}
	path := filepath.Join(b.TempDir(), "snapshot")
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			size, err := Write(path, time.Now(), "", objects)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(size), "B")
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, err := Read(path)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Objects(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestCheck checks which files a snapshot may overwrite.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("file", magic+"1\n")
	if err := os.Symlink(file, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                        "",
		filepath.Join(dir, "link"):  "",
		filepath.Join(dir, "none"):  "",
		write("empty", ""):          "",
		write("damaged", magic):     "",
		write("other", magic+"2\n"): "",
		"relative":                  "",
		write("short", magic[:5]):   "not a snapshot",
		write("Corefile", ".:53 {\n\twhoami and no snapshot\n}\n"): "not a snapshot",
		os.DevNull:                       "not a regular file",
		dir:                              "not a regular file",
		filepath.Join(dir, "a", "b"):     "no such file or directory",
		filepath.Join(file, "b"):         "not a folder",
		filepath.Join(dir, "none") + "/": "no such file or directory",
	} {
		err := Check(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: the error is %v, want %q", path, err, want)
		}
	}
}
