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
	// lookInterval is how often the manifests are looked at for changes.
	// Looking, rather than being told by the kernel, works on every file system and
	// through the links by which a ConfigMap is mounted.
	lookInterval = time.Second
	// A file that was modified less than manifestAge before the start may be
	// half written. The start looks at it each startInterval, until it is whole or
	// older, but for startLimit at most.
	startInterval = 50 * time.Millisecond
	youngAge      = 2 * time.Second
	startLimit    = 5 * time.Second
	// maxChanges is how many looks in a row may find a file changed before that is an
	// error.
	maxChanges = 60
	// maxNamed is how many objects or fields an error or a warning names.
	maxNamed = 5
)

// manifests is the source that reads files. Most writers do not replace a file in
// one step: they empty it and fill it some time later. So a change is taken up when
// two looks in a row find the same. What is not whole then is an error, and the last
// good state of the file, or of the object in it, is kept.
//
// A file that stands still at a place where its text is whole can't be told from one
// that its author wanted to be so. It is taken.
type Source struct {
	paths     []string
	selected  *selection.Selection
	Interval  time.Duration
	log       logr.Logger
	rejected  func(error)
	reportBad func(int)

	looked   *found                   // of the last look
	changing map[string]int           // how many looks in a row have found a file changed
	gone     map[string]bool          // files that the last look has missed
	files    map[string]*manifestFile // by path
	recheck  bool                     // since the last look at conflicts
	conflict *conflictError           // between files, or nil
	pushed   bool                     // the writer has what is in files
	problems map[string]error         // by path, what can't be read at present
	badCount int                      // how many the hook was told of
	reported map[remark]string
}

// manifestFile is a manifest that was read.
type manifestFile struct {
	info    fs.FileInfo // of what was read; nil if it could not be
	err     error       // why it can't be taken as it is now
	unknown string      // fields

	contents // as they were last good
}

// remark is what is logged once about a path.
type remark struct{ path, message string }

const (
	messageBad     = "manifest can't be read; its last good state is served"
	messageSkipped = "path is skipped"
	messageUnknown = "manifest has unknown fields; they are ignored"
)

// Config is what a source reads, and who is told of what can't be read.
type Config struct {
	Paths    []string // files and folders
	Selected *selection.Selection
	Log      logr.Logger
	Rejected func(error) // called when a manifest that changed can't be read
	Bad      func(int)   // called with how many manifests can't be read, when that changes
}

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
		// An API server took what is in a list. If it can't be taken here, the rest
		// is served nevertheless.
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

// Run calls push with all objects, by what lists them, at first and after each change, until
// ctx is done.
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

// poll takes up what changed in the files.
func (m *Source) poll(push func(map[object.Origin][]object.Object)) {
	m.look(false)
	m.report()
	if !m.pushed && m.conflict == nil {
		m.push(push)
	}
}

// look looks at the files and reads those that have changed and stand still. The
// start takes for granted that old files stand still. It reports whether another
// look may soon find more: a file changes, or is young and not whole.
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

// read reads a file, and reports whether it is what was looked at.
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
		after.info = nil // to be read again, though nothing may change that a look sees
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

// keep takes over the last good state of objects that can't be taken now.
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

// drop forgets the files that two looks in a row have missed, unless something is
// wrong on the way to them, or nothing is left below a path: a volume may not be
// mounted.
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

// hasProblem reports whether there is a problem with a path or with a folder above it.
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

// report logs what is wrong, once, and when it is over.
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

// push sends the whole of every kind.
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

// conflictError is that an object stands twice.
type conflictError struct {
	path string // of the second file
	error
}

// findConflict returns an error if an object stands twice. Until the files agree
// again, nothing is taken up.
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
