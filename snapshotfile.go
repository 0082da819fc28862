package headless

import "path/filepath"

// snapshotWriter returns the source that may write a snapshot file, the first one that has the
// file, or nil. The caller holds sources.mu.
func snapshotWriter(path string) *source {
	for _, s := range sources.list {
		if sameFile(s.settings.config.Snapshot, path) {
			return s
		}
	}
	return nil
}

// takeOverSnapshot makes the source the writer of its snapshot file, once it is open. The caller
// holds sources.mu.
func (s *source) takeOverSnapshot() {
	s.writesSnapshot = true
	if s.opened {
		s.informer.TakeOver()
	}
}

// sameFile reports whether two paths lead to one file. An empty path leads to none.
func sameFile(a, b string) bool { return a != "" && b != "" && canonicalPath(a) == canonicalPath(b) }

// canonicalPath returns an absolute path without symbolic links in the folder. The informer
// replaces the file itself and does not follow a link there.
func canonicalPath(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(folder, filepath.Base(path))
	}
	return path
}
