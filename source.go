package headless

import (
	"crypto/sha256"
	"os"
	"reflect"
	"slices"
	"sync"

	"github.com/headless-dns/headless/informer"
	"github.com/headless-dns/headless/records"
)

// A source is a trie and the informer that keeps it up to date. Stanzas that want
// the same one share it: those of several server blocks, and, while a Corefile is
// reloaded, those of before and after. So a reload that leaves the settings of the
// source alone lists nothing again, and takes over what is held.
type source struct {
	trie     *records.Trie
	informer *informer.Informer
	start    func() // once, whoever is first
	forget   func() // takes what is held out of the gauges

	settings settings
	users    int // guarded by sources.mu

	mu        sync.Mutex
	notifiers []*notifier // of the users that have secondaries
}

// settings are what two stanzas must have in common to share a source.
type settings struct {
	config  informer.Config // without hooks
	ordered bool            // the trie keeps order
	// files are the checksums of those that are read once, at the start.
	files [2][sha256.Size]byte
}

func newSettings(s *stanza) settings {
	out := settings{config: s.config, ordered: s.authoritative}
	for i, path := range []string{s.config.Cluster.Kubeconfig, s.config.Cluster.CA} {
		if b, err := os.ReadFile(path); err == nil { // else the informer tells
			out.files[i] = sha256.Sum256(b)
		}
	}
	return out
}

// sources are those in use.
var sources struct {
	mu  sync.Mutex
	all []*source
	// recent are the plugins that were made since the last reload began. If it
	// fails, CoreDNS drops the new instance without a word to its plugins.
	recent []*Headless
}

// acquire returns the source that a stanza wants, which may have been started
// already, and a function that gives it back. The last one who does ends it.
func acquire(s *stanza) (*source, func(), error) {
	sources.mu.Lock()
	defer sources.mu.Unlock()
	wanted := newSettings(s)
	var src *source
	if i := slices.IndexFunc(sources.all, func(s *source) bool { return reflect.DeepEqual(s.settings, wanted) }); i >= 0 {
		src = sources.all[i]
	} else {
		var err error
		if src, err = newSource(wanted); err != nil {
			return nil, nil, err
		}
		sources.all = append(sources.all, src)
	}
	src.users++
	return src, sync.OnceFunc(func() { release(src) }), nil
}

func newSource(wanted settings) (*source, error) {
	src := &source{trie: records.New(), settings: wanted}
	if wanted.ordered {
		src.trie.KeepOrder()
	}
	config := wanted.config
	config.Transport, config.Log = instrument, logger()
	config.Hooks, src.forget = hooks(src.changed)
	var err error
	if src.informer, err = informer.New(src.trie, config); err != nil {
		return nil, err
	}
	src.start = sync.OnceFunc(src.informer.Start)
	return src, nil
}

func release(src *source) {
	sources.mu.Lock()
	src.users--
	last := src.users == 0
	if last {
		sources.all = slices.DeleteFunc(sources.all, func(s *source) bool { return s == src })
	}
	sources.mu.Unlock()
	if last {
		src.informer.Stop()
		src.forget()
	}
}

// made is called for each new plugin.
func made(h *Headless) {
	sources.mu.Lock()
	defer sources.mu.Unlock()
	sources.recent = append(sources.recent, h)
}

// reloading is called when a reload begins, and returns what was made since the
// last one did.
func reloading() []*Headless {
	sources.mu.Lock()
	defer sources.mu.Unlock()
	recent := sources.recent
	sources.recent = nil
	return recent
}

// reloadFailed ends what the new instance made.
func reloadFailed() {
	for _, h := range reloading() {
		h.stop()
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

// notify begins to tell a notifier of publications; what is there is news to it.
func (s *source) notify(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifiers = append(s.notifiers, n)
	if s.synced() {
		n.note()
	}
}

// synced tells whether there is something to serve.
func (s *source) synced() bool {
	select {
	case <-s.informer.Synced():
		return true
	default:
		return false
	}
}

// notifyNot ends what notify began.
func (s *source) notifyNot(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifiers = slices.DeleteFunc(s.notifiers, func(other *notifier) bool { return other == n })
}
