package headless

import (
	"slices"
	"sync"
	"time"

	"github.com/coredns/caddy"
)

// A lifetime is that of the plugins of one caddy instance, which is one Corefile
// as it was read. Everything that a plugin needs to serve belongs to it: the shares
// of the sources, the notifiers, and through the sources the snapshot files.
//
// A lifetime ends when its instance is shut down. But caddy does not always say so:
// it drops an instance that fails to start without a word to its plugins, and it
// skips the remaining OnShutdown callbacks of an old instance once one of them
// fails. In both cases it calls OnRestartFailed of the old instance, whichever of
// the two serves from then on. So that callback decides nothing by itself: it ends
// the lifetimes whose instances caddy no longer runs. See "A reload" in docs/design.md.
type lifetime struct {
	plugins []*Headless
	began   time.Time // the first OnStartup
}

// lifetimes are those that have not ended.
var lifetimes struct {
	mu  sync.Mutex
	all []*lifetime
}

// lifetimeOf returns the lifetime of the instance that c sets up. It also ends those
// of instances that are gone, and sees to it that a failing reload is noticed:
// the instance that it would replace need not have this plugin.
func lifetimeOf(c *caddy.Controller) *lifetime {
	all := livingLifetimes() // before a look at the instances: one may be added meanwhile
	current, ok := c.Get(lifetimeKey{}).(*lifetime)
	if !ok {
		current = new(lifetime)
		c.Set(lifetimeKey{}, current)
	}
	current.begin()
	running := make(map[*lifetime]bool)
	for _, i := range caddy.Instances() {
		running[storedLifetime(i)] = true
		guardRestarts(i)
	}
	running[current] = true // a controller of a test has an instance of its own
	endLifetimes(all, running)
	return current
}

// begin adds the lifetime to those that have not ended.
func (l *lifetime) begin() {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	if !slices.Contains(lifetimes.all, l) {
		lifetimes.all = append(lifetimes.all, l)
	}
}

func storedLifetime(i *caddy.Instance) *lifetime {
	i.StorageMu.RLock()
	defer i.StorageMu.RUnlock()
	l, _ := i.Storage[lifetimeKey{}].(*lifetime)
	return l
}

func livingLifetimes() []*lifetime {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	return slices.Clone(lifetimes.all)
}

// endLifetimes ends those of all that are not to be kept.
func endLifetimes(all []*lifetime, keep map[*lifetime]bool) {
	for _, l := range all {
		if !keep[l] {
			l.end()
		}
	}
}

// add makes h a plugin of the instance.
func (l *lifetime) add(h *Headless) {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	l.plugins = append(l.plugins, h)
}

// livingPlugins returns the plugins of all lifetimes that have not ended.
func livingPlugins() []*Headless {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	var out []*Headless
	for _, l := range lifetimes.all {
		out = append(out, l.plugins...)
	}
	return out
}

// start starts the sources of all plugins of the instance, so that they list at the
// same time. The time until which each waits for its first sync counts from here.
func (l *lifetime) start() {
	if !l.began.IsZero() {
		return
	}
	l.began = time.Now()
	for _, h := range l.plugins {
		h.source.start()
	}
}

// end stops all plugins of the instance. The callbacks of each of them call it, and only
// the first call does anything: secondaries are not notified again.
func (l *lifetime) end() {
	lifetimes.mu.Lock()
	i := slices.Index(lifetimes.all, l)
	if i >= 0 {
		lifetimes.all = slices.Delete(lifetimes.all, i, i+1)
	}
	lifetimes.mu.Unlock()
	if i < 0 {
		return
	}
	for _, h := range l.plugins {
		h.stop()
	}
	// What the others send in transfers may differ from what l sent, with the same objects.
	for _, h := range livingPlugins() {
		if h.notifier != nil {
			h.trie.AdvanceSerial()
			h.notifier.note()
		}
	}
}

// shutDown ends the lifetime unless the process is about to end. Then its servers
// still answer, for as long as the health plugin's lameduck says, and final shuts down.
func (l *lifetime) shutDown() error {
	if !slices.ContainsFunc(caddy.Instances(), func(i *caddy.Instance) bool { return storedLifetime(i) == l }) {
		l.end()
	}
	return nil
}

// final ends the lifetime with the process.
func (l *lifetime) final() error {
	l.end()
	return nil
}

// isNew reports whether no plugin of another instance uses the source.
func (l *lifetime) isNew(s *source) bool {
	return !slices.ContainsFunc(livingPlugins(), func(h *Headless) bool {
		return h.source == s && !slices.Contains(l.plugins, h)
	})
}

// replacesReady reports whether the start of the instance is a reload that would
// replace something better than a plugin that has nothing to serve: an instance
// with a plugin that is ready, or one without the plugin, whose answers come from
// elsewhere.
func (l *lifetime) replacesReady() bool {
	return slices.ContainsFunc(caddy.Instances(), func(i *caddy.Instance) bool {
		old := storedLifetime(i)
		if old == l || len(i.Servers()) == 0 {
			return false
		}
		return old == nil || slices.ContainsFunc(old.plugins, (*Headless).serving)
	})
}
