package informer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
)

// manifestInterval is how often the manifests are looked at for changes.
// Looking, rather than being told by the kernel, works on every file system and
// through the links by which a ConfigMap is mounted.
const manifestInterval = time.Second

// manifests is the source that reads files. It keeps the last good state of each
// file: one that can't be read any more goes on to be served as it was.
type manifests struct {
	paths    []string
	selected *selected
	interval time.Duration
	log      logr.Logger
	rejected func(error)

	files map[string]manifest // by path
	bad   map[string]rejected // by path, what can't be read as it is now
	said  []string            // the last error, so as to say it once
}

// manifest is a file that was read.
type manifest struct {
	stamp
	manifestObjects
}

// rejected is a file that could not be read.
type rejected struct {
	stamp
	err error
}

// stamp tells whether a file changed.
type stamp struct {
	modified time.Time
	size     int64
}

func newManifests(c *Config, s *selected) (*manifests, error) {
	m := &manifests{
		paths:    c.Manifests,
		selected: s,
		interval: manifestInterval,
		log:      c.Log,
		rejected: c.Hooks.Rejected,
		files:    make(map[string]manifest),
		bad:      make(map[string]rejected),
	}
	_, err := m.read()
	if err == nil {
		err = m.unique()
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *manifests) origins() []origin { return m.selected.origins() }

func (m *manifests) run(ctx context.Context, q *queue) {
	m.push(q)
	ticker := time.NewTicker(m.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.poll(q)
		}
	}
}

// poll takes up what changed in the files.
func (m *manifests) poll(q *queue) {
	before := maps.Clone(m.files)
	changed, err := m.read()
	if conflict := m.unique(); conflict != nil {
		// Until the files agree again, nothing of this change is taken up.
		err = errors.Join(err, conflict)
		m.files, changed = before, false
	}
	m.say(err)
	if changed {
		m.push(q)
	}
}

// say tells of errors, a line each, if there is news among them: what is left of
// them when others are mended is none.
func (m *manifests) say(err error) {
	var lines []string
	if err != nil {
		lines = strings.Split(err.Error(), "\n")
	}
	if slices.ContainsFunc(lines, func(line string) bool { return !slices.Contains(m.said, line) }) {
		m.log.Error(err, "keeping the last good manifests")
		m.rejected(err)
	}
	m.said = lines
}

// push sends the whole of every kind.
func (m *manifests) push(q *queue) {
	lists := make(map[origin][]object)
	skipped := make(map[string]int)
	n := 0
	for _, f := range m.files {
		for kind, n := range f.skipped {
			skipped[kind] += n
		}
		for _, o := range f.objects {
			namespace := ""
			if len(m.selected.namespaces) > 0 {
				namespace = o.id().namespace
			}
			at := origin{o.kind, namespace}
			lists[at] = append(lists[at], o.object)
			n++
		}
	}
	var events []event
	for _, o := range m.origins() {
		events = append(events, event{origin: o, list: true, objects: lists[o]})
	}
	q.push(events...)
	m.log.Info("read manifests", "files", len(m.files), "objects", n, "skipped", countKinds(skipped))
}

// countKinds writes "2 ConfigMap, 1 StatefulSet".
func countKinds(kinds map[string]int) string {
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// read reads the files that changed since they were read last, and reports
// whether any did. A file that can't be read keeps its last state, and is an
// error until it changes.
func (m *manifests) read() (changed bool, err error) {
	var errs []error
	found := make(map[string]stamp)
	for _, path := range m.paths {
		err := list(path, found)
		for try := 0; errors.Is(err, errVanished) && try < 3; try++ {
			err = list(path, found)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read manifests %q: %w", path, err))
		}
	}
	listed := len(errs) == 0
	for _, path := range slices.Sorted(maps.Keys(found)) {
		s := found[path]
		if m.files[path].stamp == s {
			delete(m.bad, path)
			continue
		}
		if bad, ok := m.bad[path]; ok && bad.stamp == s {
			errs = append(errs, bad.err)
			continue
		}
		objects, err := readManifest(path, m.selected)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile, and is missing from the next list
		}
		if err != nil {
			m.bad[path] = rejected{s, err}
			errs = append(errs, err)
			continue
		}
		delete(m.bad, path)
		m.files[path] = manifest{s, objects}
		changed = true
	}
	gone := func(path string) bool { _, ok := found[path]; return !ok }
	if listed { // else a folder that can't be listed would lose its files
		n := len(m.files)
		maps.DeleteFunc(m.files, func(path string, _ manifest) bool { return gone(path) })
		maps.DeleteFunc(m.bad, func(path string, _ rejected) bool { return gone(path) })
		changed = changed || len(m.files) < n
	}
	return changed, errors.Join(errs...)
}

// errVanished is the error of a file that is in a folder, but can't be found there:
// it was removed meanwhile, or it is a link to nowhere.
var errVanished = errors.New("no such file")

// list finds the manifests at a path: the file itself, or those in the folder.
// Names that begin with a dot are not manifests; a ConfigMap's mount has some.
func list(path string, found map[string]stamp) error {
	info, err := os.Stat(path)
	if err != nil {
		return unwrapPath(err)
	}
	if !info.IsDir() {
		found[path] = stamp{info.ModTime(), info.Size()}
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return unwrapPath(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		file := filepath.Join(path, e.Name())
		if info, err = os.Stat(file); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = errVanished
			}
			return fmt.Errorf("%s: %w", e.Name(), unwrapPath(err))
		}
		if !info.IsDir() {
			found[file] = stamp{info.ModTime(), info.Size()}
		}
	}
	return nil
}

// unwrapPath takes the path out of an error that will be wrapped with it.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// unique checks that no object stands twice.
func (m *manifests) unique() error {
	type named struct {
		Kind
		key
	}
	where := make(map[named]string)
	for _, path := range slices.Sorted(maps.Keys(m.files)) {
		for _, o := range m.files[path].objects {
			n := named{o.kind, o.object.id()}
			here := fmt.Sprintf("%q: document %d", path, o.document)
			if first, ok := where[n]; ok {
				return fmt.Errorf("read manifest %s: %s %q stands also in %s", here, o.kind, o.object.id(), first)
			}
			where[n] = here
		}
	}
	return nil
}
