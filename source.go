package headless

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/headless-dns/headless/informer"
	"github.com/headless-dns/headless/records"
)

// A source is a trie and the informer that keeps it up to date. Stanzas whose
// settings of the source are equal share one: those of several server blocks, and,
// while a Corefile is reloaded, those of the old and the new instance. So a reload
// that leaves these settings alone lists nothing again.
type source struct {
	trie     *records.Trie
	informer *informer.Informer
	start    func() // starts the informer, once
	metrics  *sourceMetrics
	open     func() error // makes the informer, once; all users wait for it

	settings settings
	ended    atomic.Bool // the informer no longer runs

	// Guarded by sources.mu.
	users  int  // nobody may join once it is 0
	opened bool // there is an informer
	writes bool // the snapshot

	mu        sync.Mutex
	notifiers []*notifier // of the users that have secondaries
}

// settings are what two stanzas must have in common to share a source.
type settings struct {
	config  informer.Config // without hooks
	ordered bool            // the trie keeps order
	// kubeconfig is the checksum of that file, which is read once, at the start. Client-go
	// reads the files of the CA, the certificate, the key and the token again.
	kubeconfig [sha256.Size]byte
}

func newSettings(s *stanza) settings {
	out := settings{config: s.config, ordered: s.authoritative}
	if b, err := os.ReadFile(s.config.Cluster.Kubeconfig); err == nil { // else informer.New reports it
		out.kubeconfig = sha256.Sum256(b)
	}
	return out
}

// sources are those whose informer may run, or is made, in the order in which they were
// asked for. The first that has a snapshot file writes it.
var sources struct {
	mu  sync.Mutex
	all []*source
}

// acquire returns the source that a stanza of an instance asks for, which may run
// already, and a function that gives it back. The last user's call stops it.
//
// A snapshot file has one writer. Two stanzas of one Corefile that would write the
// same file with different settings are an error. Across a reload the new source
// neither reads nor writes the file until the old one has stopped.
func acquire(s *stanza, l *lifetime) (*source, func(), error) {
	src, err := reserve(newSettings(s), l)
	if err != nil {
		return nil, nil, err
	}
	giveBack := sync.OnceFunc(func() { release(src) })
	opened := false
	defer func() {
		if !opened { // which may be a panic
			giveBack()
		}
	}()
	if err := src.open(); err != nil {
		return nil, nil, err
	}
	opened = true
	return src, giveBack, nil
}

// reserve returns the source that has some settings, with one user more. It may not be
// open yet: that can take seconds, and others must not wait for it.
func reserve(wanted settings, l *lifetime) (*source, error) {
	replaces := l.replacesReady()
	sources.mu.Lock()
	defer sources.mu.Unlock()
	i := slices.IndexFunc(sources.all, func(s *source) bool { return s.users > 0 && reflect.DeepEqual(s.settings, wanted) })
	for _, h := range l.plugins {
		if other := h.source; sameSnapshot(other.settings.config.Snapshot, wanted.config.Snapshot) && (i < 0 || other != sources.all[i]) {
			return nil, fmt.Errorf("snapshot: %q: another stanza writes this file with other settings; give each a file of its own", wanted.config.Snapshot)
		}
	}
	if i < 0 {
		writer := snapshotWriter(wanted.config.Snapshot)
		src := newSource(wanted, writer != nil || replaces)
		if writer == nil {
			src.takeOver()
		}
		i = len(sources.all)
		sources.all = append(sources.all, src)
	}
	src := sources.all[i]
	src.users++
	return src, nil
}

// snapshotWriter returns the source that may write a snapshot file, or nil. The
// caller holds sources.mu.
func snapshotWriter(path string) *source {
	for _, s := range sources.all {
		if sameSnapshot(s.settings.config.Snapshot, path) {
			return s
		}
	}
	return nil
}

// takeOver makes the source the writer of its snapshot, as soon as it is open. The caller
// holds sources.mu.
func (s *source) takeOver() {
	s.writes = true
	if s.opened {
		s.informer.TakeOver()
	}
}

// sameSnapshot reports whether two paths are of one file.
func sameSnapshot(a, b string) bool { return a != "" && b != "" && resolved(a) == resolved(b) }

// resolved returns a path in a form that two spellings of it share: absolute, and
// with the links of its folder followed. The file itself is replaced, not followed.
func resolved(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(folder, filepath.Base(path))
	}
	return path
}

// newSource returns a source that is to be opened. A successor starts while another
// instance serves.
func newSource(wanted settings, successor bool) *source {
	src := &source{trie: records.New(), settings: wanted}
	if wanted.ordered {
		src.trie.EnableCovers()
	}
	config := wanted.config
	config.Successor = successor
	config.Transport, config.Log = instrument, logger()
	src.open = sync.OnceValue(func() (err error) {
		src.metrics = newSourceMetrics()
		config.Hooks = src.metrics.hooks(src.changed)
		if src.informer, err = informer.New(src.trie, config); err != nil {
			src.metrics.withdraw()
			return err
		}
		src.start = sync.OnceFunc(src.informer.Start)
		sources.mu.Lock()
		defer sources.mu.Unlock()
		if src.opened = true; src.writes {
			src.takeOver()
		}
		return nil
	})
	return src
}

func release(src *source) {
	sources.mu.Lock()
	src.users--
	last, opened := src.users == 0, src.opened
	sources.mu.Unlock()
	if !last {
		return
	}
	src.ended.Store(true)
	if opened {
		src.informer.Stop() // which writes the last snapshot
		src.metrics.withdraw()
	}
	sources.mu.Lock()
	defer sources.mu.Unlock()
	sources.all = slices.DeleteFunc(sources.all, func(s *source) bool { return s == src })
	if next := snapshotWriter(src.settings.config.Snapshot); next != nil {
		next.takeOver()
	}
}

// changed is called after each publication.
func (s *source) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.notifiers {
		n.note()
	}
}

// addNotifier registers n for publications. If there is something to serve, n is
// notified of it at once.
func (s *source) addNotifier(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifiers = append(s.notifiers, n)
	if s.synced() {
		n.note()
	}
}

// removeNotifier unregisters n.
func (s *source) removeNotifier(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifiers = slices.DeleteFunc(s.notifiers, func(other *notifier) bool { return other == n })
}

// synced reports whether there is something to serve. It stays true when the
// source has ended: a query that comes late is answered by the last state.
func (s *source) synced() bool {
	select {
	case <-s.informer.Synced():
		return true
	default:
		return false
	}
}
