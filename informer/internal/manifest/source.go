// Package manifest reads Kubernetes objects from files and follows their changes.
//
//	source.go       finds changed files and pushes objects
//	files.go        finds the files
//	text.go         documents in YAML and JSON, and lists of many objects
//	parse.go        the objects in them; their errors are in fields.go, check.go and errors.go
//	endpoints.go    the slices that are made from Endpoints
package manifest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
)

const (
	// lookInterval is how often the files are checked for changes. Polling works on every
	// file system and through the links of a mounted ConfigMap, where notifications of the
	// kernel do not.
	lookInterval = time.Second
	// A file that was modified less than youngAge before the start may be half written. The
	// start checks it every startInterval until it is complete or older, for at most
	// startLimit.
	startInterval = 50 * time.Millisecond
	youngAge      = 2 * time.Second
	startLimit    = 5 * time.Second
	// maxChanges is how many consecutive looks must find a file changed for an error.
	maxChanges = 60
	// maxNamed is how many objects or fields an error or warning names.
	maxNamed = 5
)

// Source reads manifests and follows their changes. Most writers do not replace a file in
// one step: they empty it and fill it some time later. So a change counts when two
// consecutive looks find the same file. If the file can't be read then, that is an error,
// and the last good state of the file, or of the object in it, is kept.
//
// A file that is cut off between two documents looks like a complete one, and is used.
type Source struct {
	paths     []string
	selected  *selection.Selection
	Interval  time.Duration // between two looks; tests shorten it
	log       logr.Logger
	rejected  func(error)
	reportBad func(int)

	looked   *found                   // of the last look
	changing map[string]int           // how many consecutive looks found a file changed
	gone     map[string]bool          // files that the last look did not find
	files    map[string]*manifestFile // by path
	recheck  bool                     // the files changed since the last check for conflicts
	conflict *conflictError           // between files, or nil
	pushed   bool                     // the objects of the files were pushed
	problems map[string]error         // why a path can't be read, by path
	badCount int                      // the number last reported
	reported map[remark]string
}

// manifestFile is a manifest that was read.
type manifestFile struct {
	info    fs.FileInfo // of what was read; nil if reading failed
	err     error       // why its present content can't be used
	unknown string      // unknown fields

	contents // the last good ones
}

// remark is a fact about a path that is logged once.
type remark struct{ path, message string }

const (
	messageBad     = "manifest can't be read; its last good state is served"
	messageSkipped = "path is skipped"
	messageUnknown = "manifest has unknown fields; they are ignored"
)

// Config says what a source reads and where it reports faults.
type Config struct {
	Paths    []string // files and folders
	Selected *selection.Selection
	Log      logr.Logger
	Rejected func(error) // called when a manifest changed and can't be read
	Bad      func(int)   // called when the number of manifests that can't be read changes
}

// New returns a source that has read the manifests. It fails if one can't be read, unless
// only items of a list are invalid.
func New(c Config) (*Source, error) {
	m := &Source{
		selected:  c.Selected,
		Interval:  lookInterval,
		log:       c.Log,
		rejected:  c.Rejected,
		reportBad: c.Bad,
		looked:    findFiles(nil),
		files:     make(map[string]*manifestFile),
	}
	for _, path := range c.Paths {
		m.paths = append(m.paths, filepath.Clean(path))
	}
	for end := time.Now().Add(startLimit); m.look(true) && time.Now().Before(end); {
		time.Sleep(startInterval)
	}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(m.problems)) {
		// An API server accepted the items of a list. If one can't be used here, the others are
		// still served.
		f := m.files[path]
		if f == nil || m.conflict != nil && m.conflict.path == path || len(f.bad) == 0 ||
			slices.ContainsFunc(f.bad, func(b badEntry) bool { return !b.listed }) {
			errs = append(errs, fmt.Errorf("read manifest %q: %w", path, m.problems[path]))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, nil
}

// Run calls push with all objects, by the origin that lists them, at the start and after
// each change, until ctx is done.
func (m *Source) Run(ctx context.Context, push func(map[object.Origin][]object.Object)) {
	m.report()
	m.push(push)
	ticker := time.NewTicker(m.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.poll(push)
		}
	}
}

// poll looks at the files once and pushes if something changed.
func (m *Source) poll(push func(map[object.Origin][]object.Object)) {
	m.look(false)
	m.report()
	if !m.pushed && m.conflict == nil {
		m.push(push)
	}
}

// look finds the files and reads those that changed and are now stable. At the start, old
// files count as stable. It reports whether another look may soon find more: a file is
// changing, or is young and incomplete.
func (m *Source) look(start bool) (unsettled bool) {
	now := findFiles(m.paths)
	problems := now.problems
	young := func(path string) bool {
		info := now.files[path]
		return info != nil && time.Since(info.ModTime()) < youngAge
	}
	moves := make(map[string]int)
	for path, info := range now.files {
		if f := m.files[path]; f != nil && f.info != nil && sameFile(f.info, info) {
			continue
		}
		before := m.looked.files[path]
		if before != nil && sameFile(before, info) || start && !young(path) {
			if m.read(path, info) {
				continue
			}
		}
		if moves[path] = m.changing[path] + 1; moves[path] >= maxChanges {
			problems[path] = fmt.Errorf("was still being written at the last %d checks", moves[path])
		}
	}
	m.drop(now, problems)
	for path, f := range m.files {
		if f.err != nil && problems[path] == nil {
			problems[path] = f.err
		}
		if (f.err != nil || f.documents == 0) && young(path) {
			unsettled = true
		}
	}
	if m.recheck {
		m.conflict, m.recheck, m.pushed = m.findConflict(), false, false
	}
	if m.conflict != nil {
		problems[m.conflict.path] = m.conflict
	}
	m.looked, m.changing, m.problems = now, moves, problems
	return unsettled || len(moves) > 0
}

// read reads a file. It reports whether the file is still the one that the look found.
func (m *Source) read(path string, info fs.FileInfo) bool {
	data, err := readFile(path, info)
	if errors.Is(err, errChanging) || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	before := m.files[path]
	if before == nil {
		before = new(manifestFile)
	}
	after := &manifestFile{info: info}
	if err != nil {
		after.info = nil // so that each look reads it again, even if it does not change
	} else {
		after.contents, err = parse(data, m.selected)
	}
	if err == nil && after.documents == 0 && len(before.entries) > 0 {
		err = errors.New("is empty")
	}
	if err != nil {
		after.err, after.contents = err, before.contents
		after.bad = nil
	} else {
		after.keep(before)
		m.recheck = true
	}
	after.unknown = after.unknownFields()
	m.files[path] = after
	return true
}

// keep takes over the last good state of objects that are bad now.
func (f *manifestFile) keep(before *manifestFile) {
	if len(f.bad) == 0 {
		return
	}
	var errs []string
	good := make(map[identity]entry)
	for _, o := range before.entries {
		good[o.identity] = o
	}
	for _, o := range f.entries {
		delete(good, o.identity)
	}
	for i, b := range f.bad {
		if o, ok := good[b.identity]; ok {
			f.entries = append(f.entries, o)
			delete(good, b.identity)
		}
		switch {
		case i < maxNamed:
			errs = append(errs, b.err.Error())
		case i == maxNamed:
			errs = append(errs, fmt.Sprintf("%d more objects", len(f.bad)-i))
		}
	}
	f.err = errors.New(strings.Join(errs, "; "))
}

// drop forgets files that two consecutive looks did not find. It keeps them if a folder
// above can't be read, or if nothing is left below a path: a volume may not be mounted.
func (m *Source) drop(now *found, problems map[string]error) {
	var gone []string
	for path := range m.files {
		if now.files[path] == nil {
			gone = append(gone, path)
		}
	}
	missed := make(map[string]bool)
	defer func() { m.gone = missed }()
	if len(gone) == 0 {
		return
	}
	for _, path := range m.paths {
		below := func(file string) bool { return isBelow(file, path) }
		if problems[path] == nil && slices.ContainsFunc(gone, below) && !containsKey(now.files, below) {
			problems[path] = errors.New("no manifests are left")
		}
	}
	for _, path := range gone {
		switch reason := now.skipped[path]; {
		case reason != "":
			problems[path] = errors.New(reason)
		case hasProblem(problems, path):
		case !m.gone[path]:
			missed[path] = true
		default:
			delete(m.files, path)
			m.recheck = true
		}
	}
}

func containsKey(m map[string]fs.FileInfo, is func(string) bool) bool {
	for key := range m {
		if is(key) {
			return true
		}
	}
	return false
}

// hasProblem reports whether a path or a folder above it has a problem.
func hasProblem(problems map[string]error, path string) bool {
	for {
		if problems[path] != nil {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}

// report logs the start of each problem, and its end.
func (m *Source) report() {
	now := make(map[remark]string)
	for path, reason := range m.looked.skipped {
		now[remark{path, messageSkipped}] = reason
	}
	for path, f := range m.files {
		if f.unknown != "" {
			now[remark{path, messageUnknown}] = f.unknown
		}
	}
	for path, err := range m.problems {
		delete(now, remark{path, messageSkipped})
		now[remark{path, messageBad}] = err.Error()
	}
	byPath := func(a, b remark) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.message, b.message)) }
	for _, r := range slices.SortedFunc(maps.Keys(now), byPath) {
		switch text := now[r]; {
		case m.reported[r] == text:
		case r.message == messageBad:
			err := fmt.Errorf("read manifest %q: %w", r.path, m.problems[r.path])
			m.log.Error(err, messageBad)
			m.rejected(err)
		case r.message == messageUnknown:
			m.log.Error(nil, messageUnknown, "manifest", r.path, "fields", text)
		default:
			m.log.Error(nil, r.message, "path", r.path, "reason", text)
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(m.reported), byPath) {
		if _, still := now[r]; !still && r.message == messageBad {
			m.log.Info("manifest can be read again, or is gone", "manifest", r.path)
		}
	}
	if m.reported == nil || len(m.problems) != m.badCount {
		m.badCount = len(m.problems)
		m.reportBad(m.badCount)
	}
	m.reported = now
}

// push pushes the objects of all files.
func (m *Source) push(push func(map[object.Origin][]object.Object)) {
	lists := make(map[object.Origin][]object.Object)
	skipped := make(map[string]int)
	selects := make(map[object.Key]bool) // the services with a selector
	for _, f := range m.files {
		for _, o := range f.entries {
			if s, ok := o.objects[0].(*object.Service); ok && len(s.Selector) > 0 {
				selects[o.Key] = true
			}
		}
	}
	n := 0
	for _, f := range m.files {
		for kind, n := range f.skipped {
			skipped[kind] += n
		}
		for _, o := range f.entries {
			if o.resource == endpointsResource && selects[o.Key] {
				continue // the EndpointSlice controller makes the slices of these
			}
			namespace := ""
			if len(m.selected.Namespaces) > 0 {
				namespace = o.Namespace
			}
			at := object.Origin{Kind: o.kind, Namespace: namespace}
			lists[at] = append(lists[at], o.objects...)
			n++
		}
	}
	push(lists)
	m.pushed = true
	values := []any{"files", len(m.files), "objects", n, "skipped", countKinds(skipped)}
	if n == 0 {
		m.log.Error(nil, "read manifests; there is nothing to serve", values...)
		return
	}
	m.log.Info("read manifests", values...)
}

// countKinds formats counts as "2 ConfigMap, 1 StatefulSet".
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

// conflictError: two files, or documents, have the same object.
type conflictError struct {
	path string // of the second file
	error
}

// findConflict returns an error if an object occurs twice. The source pushes nothing
// until the conflict is gone.
func (m *Source) findConflict() *conflictError {
	type place struct {
		path     string
		document int
	}
	where := make(map[identity]place)
	for _, path := range slices.Sorted(maps.Keys(m.files)) {
		for _, o := range m.files[path].entries {
			if first, ok := where[o.identity]; ok {
				return &conflictError{path, fmt.Errorf("document %d: %v is also in document %d of %q", o.document, o.identity, first.document, first.path)}
			}
			where[o.identity] = place{path, o.document}
		}
	}
	return nil
}
