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
	// maxSize is the size of a file in bytes. The text of a file is held while
	// it is read.
	maxSize = 256 << 20
	// maxEntries is how many files and folders there may be below a path, manifests
	// or not: all are looked at each time.
	maxEntries = 100_000
)

// errChanging is the error of a file that is not the one that was looked at, or that
// is written while it is read.
var errChanging = errors.New("changes while it is read")

// errVanished is the error of a file that is in a folder, but can't be found there:
// it was removed meanwhile, or it is a link to nowhere.
var errVanished = errors.New("no such file")

// sameFile reports whether two looks found the same file, unchanged.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readFile returns what is in the regular file that was looked at. It fails with
// errMoved if that changes.
func readFile(path string, looked fs.FileInfo) ([]byte, error) {
	// If the file is a pipe by now, opening it must not wait for a writer.
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

// found is what a walk through the paths finds.
type found struct {
	files    map[string]fs.FileInfo // the manifests, which are regular files
	skipped  map[string]string      // what looks like one and is none, and why
	problems map[string]error       // files and folders that can't be looked at

	folders map[string]bool // real paths of those that were walked
	entries int
}

// walk finds the manifests at a path: the file itself, or those in the folder and
// the folders below it. Links are followed.
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

// walkFolder finds the manifests in a folder of which the real path is given. Each
// folder is walked once, so that links make no loops.
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
		// Names that begin with a dot are not manifests; a ConfigMap's mount has some.
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			f.visit(filepath.Join(path, e.Name()), filepath.Join(real, e.Name()), e)
		}
	}
}

// visit takes in an entry of a folder.
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
		// It leads nowhere, and nobody said that it leads to manifests.
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

// vanished reports whether a file was missing that its folder has. A look that comes
// while a ConfigMap is replaced finds such files.
func (f *found) vanished() bool {
	for _, err := range f.problems {
		if errors.Is(err, errVanished) {
			return true
		}
	}
	return false
}

// findFiles walks through paths.
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

// isBelow reports whether a path is another one or below it.
func isBelow(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}

// unwrapPath takes the path out of an error that will be wrapped with it.
func unwrapPath(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
