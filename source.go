package headless

import (
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headless-dns/headless/informer"
	"github.com/headless-dns/headless/records"
)

// A source is the tries and the informer that keeps them up to date. Stanzas with equal settings
// share one, in several server blocks or in the old and the new Corefile of a reload. So a
// reload that keeps the settings causes no relist.
type source struct {
	tries    informer.Tries
	informer *informer.Informer
	metrics  *sourceMetrics
	open     func() error // creates the informer; all users wait for the first call, and share its error
	start    func()       // starts the informer; further calls do nothing

	settings settings
	stale    atomic.Bool // the trie has records of a snapshot, as a list is missing
	stopped  atomic.Bool // nothing keeps the trie up to date any more
	started  time.Time

	// sources.mu guards these.
	users          int  // nobody else may acquire the source once it is 0
	opened         bool // open has succeeded
	writesSnapshot bool // this source is the writer of its snapshot file

	mu        sync.Mutex
	notifiers []*notifier // of the plugins with secondaries
}

// settings must be equal for two stanzas to share a source.
type settings struct {
	config informer.Config // without hooks
	covers bool            // the trie supports Covers
	// kubeconfig is the checksum of that file, which client-go reads only at the start. It
	// reads the files of the CA, the certificate, the key and the token again.
	kubeconfig [sha256.Size]byte
}

func newSettings(s *stanza) settings {
	out := settings{config: s.config, covers: s.authoritative}
	if b, err := os.ReadFile(s.config.Cluster.Kubeconfig); err == nil { // informer.New reports errors
		out.kubeconfig = sha256.Sum256(b)
	}
	return out
}

// String returns where the objects come from.
func (s settings) String() string {
	of := &s.config
	out := "the API server of this cluster"
	switch {
	case len(of.Manifests) > 0:
		out = "manifests " + strings.Join(of.Manifests, " ")
	case of.Cluster.Kubeconfig != "":
		out = "the API server of " + strings.TrimSpace(of.Cluster.Kubeconfig+" "+of.Cluster.Context)
	case of.Cluster.Endpoint != "":
		out = "the API server " + of.Cluster.Endpoint
	}
	if len(of.Namespaces) > 0 {
		out += ", namespaces " + strings.Join(of.Namespaces, " ")
	}
	return out
}

// logSynced logs what the source serves. A start without faults logs this line alone; of
// manifests, there is another one.
func (s *source) logSynced(stats records.Stats) {
	from := s.settings.String()
	if s.stale.Load() {
		from = "the snapshot " + s.settings.config.Snapshot
	}
	log.Info(printable(fmt.Sprintf("serving %d services with %d ready endpoints from %s, after %s; %s",
		stats.Services, stats.Endpoints[records.Ready], from, time.Since(s.started).Round(time.Millisecond), built)))
}

// sources lists the sources with users, in the order of their first use, and those that are
// stopping. Of the sources with the same snapshot file, the first one writes it.
var sources struct {
	mu   sync.Mutex
	list []*source

	several atomic.Bool // list has several; a line of the log then names the source
}

// acquire returns the source for a stanza of an instance, and a function that releases it. The
// source may be running already. The release by the last user stops it.
//
// A snapshot file has one writer. Two stanzas of one Corefile that would write the same file
// with different settings are an error. In a reload, the new source neither reads nor writes
// the file until the old source has stopped.
func acquire(s *stanza, l *lifetime) (*source, func(), error) {
	src, err := reserve(newSettings(s), l)
	if err != nil {
		return nil, nil, err
	}
	release := sync.OnceFunc(src.release)
	opened := false
	defer func() {
		if !opened { // open failed or panicked
			release()
		}
	}()
	if err := src.open(); err != nil {
		return nil, nil, err
	}
	opened = true
	return src, release, nil
}

// reserve returns a source with these settings, and counts the caller as its user. The source
// may not be open yet: that can take seconds, and users of other sources must not wait.
func reserve(wanted settings, l *lifetime) (*source, error) {
	replaces := l.replacesServing()
	sources.mu.Lock()
	defer sources.mu.Unlock()
	i := slices.IndexFunc(sources.list, func(s *source) bool { return s.users > 0 && reflect.DeepEqual(s.settings, wanted) })
	for _, h := range l.plugins {
		if other := h.source; sameFile(other.settings.config.Snapshot, wanted.config.Snapshot) && (i < 0 || other != sources.list[i]) {
			return nil, fmt.Errorf("snapshot: %q: another stanza writes this file with other settings; give each a file of its own", wanted.config.Snapshot)
		}
	}
	if i < 0 {
		writer := snapshotWriter(wanted.config.Snapshot)
		src := newSource(wanted, writer != nil || replaces)
		if writer == nil {
			src.takeOverSnapshot()
		}
		i = len(sources.list)
		sources.list = append(sources.list, src)
		sources.several.Store(len(sources.list) > 1)
	}
	src := sources.list[i]
	src.users++
	return src, nil
}

// newSource returns a source that is not open yet. A successor starts while another source may
// have newer data than the snapshot file, or writes it.
func newSource(wanted settings, successor bool) *source {
	trie := records.New()
	if wanted.covers {
		trie.EnableCovers()
	}
	if wanted.config.Zonal {
		trie.EnableZones()
	}
	src := &source{tries: informer.Tries{Services: trie}, settings: wanted}
	if wanted.config.MultiCluster {
		src.tries.Imports = records.NewClusterset()
	}
	config := wanted.config
	config.Successor = successor
	config.Transport, config.Log = instrument, sourceLogger(wanted.String())
	src.open = sync.OnceValue(func() (err error) {
		src.metrics = newSourceMetrics()
		config.Hooks = src.metrics.hooks(src.scheduleNotify)
		config.Hooks.Restored = func(is bool) {
			src.stale.Store(is)
			src.metrics.setFromSnapshot(is)
		}
		config.Hooks.Synced = src.logSynced
		if src.informer, err = informer.New(src.tries, config); err != nil {
			src.metrics.withdraw()
			return err
		}
		src.start = sync.OnceFunc(func() {
			src.started = time.Now()
			src.informer.Start()
		})
		sources.mu.Lock()
		defer sources.mu.Unlock()
		if src.opened = true; src.writesSnapshot {
			src.takeOverSnapshot()
		}
		return nil
	})
	return src
}

// release removes one user. The last release stops the source, and another source may take
// over its snapshot file.
func (s *source) release() {
	sources.mu.Lock()
	s.users--
	last, opened := s.users == 0, s.opened
	sources.mu.Unlock()
	if !last {
		return
	}
	s.stopped.Store(true)
	if opened {
		s.informer.Stop() // which writes the snapshot file a last time
		s.metrics.withdraw()
	}
	sources.mu.Lock()
	defer sources.mu.Unlock()
	sources.list = slices.DeleteFunc(sources.list, func(other *source) bool { return other == s })
	sources.several.Store(len(sources.list) > 1)
	if next := snapshotWriter(s.settings.config.Snapshot); next != nil {
		next.takeOverSnapshot()
	}
}

// scheduleNotify schedules a NOTIFY to all secondaries. The informer calls it after each
// publication.
func (s *source) scheduleNotify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.notifiers {
		n.schedule()
	}
}

// addNotifier registers n for publications. If the source is synced, it schedules a NOTIFY.
func (s *source) addNotifier(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifiers = append(s.notifiers, n)
	if s.synced() {
		n.schedule()
	}
}

// removeNotifier unregisters n.
func (s *source) removeNotifier(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifiers = slices.DeleteFunc(s.notifiers, func(other *notifier) bool { return other == n })
}

// synced reports whether there is something to serve. It stays true after the source has
// stopped: the last state answers a query that comes late.
func (s *source) synced() bool {
	select {
	case <-s.informer.Synced():
		return true
	default:
		return false
	}
}
