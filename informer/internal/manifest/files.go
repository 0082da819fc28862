package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	// maxSize is the limit to the size of a file in bytes. Its text is held in memory while
	// it is read.
	maxSize = 256 << 20
	// maxEntries is the limit to the files and folders below a path, manifests or not: each
	// look visits all of them.
	maxEntries = 100_000
)

// errChanging: the file is not the one that the look found, or a writer changed it during
// the read.
var errChanging = errors.New("changes while it is read")

// errVanished: a folder lists the file, but it does not exist. It was removed meanwhile, or
// it is a dangling link.
var errVanished = errors.New("no such file")

// sameFile reports whether two looks found the same, unchanged file.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readFile returns the content of the regular file that a look found. It fails with
// errChanging if the file changed since.
func readFile(path string, looked fs.FileInfo) ([]byte, error) {
	// If the file has become a pipe, opening it must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unwrapPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, unwrapPath(err)
	case !info.Mode().IsRegular() || !sameFile(info, looked):
		return nil, errChanging
	case info.Size() > maxSize:
		return nil, fmt.Errorf("has %d bytes, the limit is %d", info.Size(), maxSize)
	}
	data := make([]byte, info.Size()+1)
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, unwrapPath(err)
	}
	if info, err = f.Stat(); err != nil {
		return nil, unwrapPath(err)
	}
	if int64(n) != looked.Size() || !sameFile(info, looked) {
		return nil, errChanging
	}
	return data[:n], nil
}

// found is the result of a walk through the paths.
type found struct {
	files    map[string]fs.FileInfo // the manifests, which are regular files
	skipped  map[string]string      // files that look like manifests and are not, with the reason
	problems map[string]error       // files and folders that can't be read

	folders map[string]bool // real paths of those already walked
	entries int
}

// walk finds the manifests at a path: the file itself, or those in and below the folder. It
// follows links.
func (f *found) walk(path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.problems[path] = unwrapPath(err)
	case info.IsDir():
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			f.problems[path] = unwrapPath(err)
			return
		}
		before, again := len(f.files), f.folders[real]
		f.entries = 0
		if f.walkFolder(path, real); len(f.files) == before && !again {
			f.skipped[path] = "the folder has no manifests"
		}
	case !info.Mode().IsRegular():
		f.problems[path] = errors.New("is neither a regular file nor a folder")
	default:
		f.files[path] = info
	}
}

// walkFolder finds the manifests in a folder with a real path. It walks each folder once,
// so that links make no loops.
func (f *found) walkFolder(path, real string) {
	if f.folders[real] {
		return
	}
	f.folders[real] = true
	entries, err := os.ReadDir(path)
	if err != nil {
		f.problems[path] = unwrapPath(err)
		return
	}
	for _, e := range entries {
		if f.entries++; f.entries > maxEntries {
			f.problems[path] = fmt.Errorf("there are more than %d files and folders", maxEntries)
			return
		}
		// Names that begin with a dot are not manifests; the mount of a ConfigMap has some.
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			f.visit(filepath.Join(path, e.Name()), filepath.Join(real, e.Name()), e)
		}
	}
}

// visit adds an entry of a folder.
func (f *found) visit(path, real string, e fs.DirEntry) {
	isManifest := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path))
	isLink := e.Type()&fs.ModeSymlink != 0
	if !isManifest && !e.IsDir() && !isLink {
		return
	}
	info, err := os.Stat(path)
	if err == nil && isLink && info.IsDir() {
		real, err = filepath.EvalSymlinks(path)
	}
	switch {
	case err != nil && !isManifest && isLink:
		// A dangling link may not be meant as a manifest.
	case err != nil:
		if errors.Is(err, fs.ErrNotExist) {
			err = errVanished
		}
		f.problems[path] = unwrapPath(err)
	case info.IsDir():
		f.walkFolder(path, real)
	case !isManifest:
	case !info.Mode().IsRegular():
		f.skipped[path] = "not a regular file"
	case slices.Contains([]string{"kustomization.yaml", "kustomization.yml"}, e.Name()):
		f.skipped[path] = "a file for kustomize, not a manifest"
	default:
		f.files[path] = info
	}
}

// vanished reports whether a folder lists a file that does not exist. That happens while a
// ConfigMap is replaced.
func (f *found) vanished() bool {
	for _, err := range f.problems {
		if errors.Is(err, errVanished) {
			return true
		}
	}
	return false
}

// findFiles walks through paths. If files vanish, it starts over, at most three times.
func findFiles(paths []string) *found {
	for try := 0; ; try++ {
		f := &found{
			files: make(map[string]fs.FileInfo), skipped: make(map[string]string), problems: make(map[string]error),
			folders: make(map[string]bool),
		}
		for _, path := range paths {
			f.walk(path)
		}
		if !f.vanished() || try == 3 {
			return f
		}
	}
}

// isBelow reports whether a path is a folder or below it.
func isBelow(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}

// unwrapPath removes the path from an error that will be wrapped with it.
func unwrapPath(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
