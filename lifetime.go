package headless

import (
	"slices"
	"sync"
	"time"

	"github.com/coredns/caddy"
)

// A lifetime holds the plugins of one caddy instance, which serves one Corefile as it was read.
// Its end stops each plugin: the plugin's notifier stops, and its source is released. The last
// release stops the source, which then writes its snapshot file a last time.
//
// Caddy tells the plugins of an instance that it shuts down. It does not tell those of an
// instance that fails to start. It also skips the remaining OnShutdown callbacks of an old
// instance once one of them fails. In both cases it calls OnRestartFailed of the old instance,
// whichever instance serves from then on. So these end a lifetime:
//
//	onShutdown       of its instance, which a reload replaced
//	onFinalShutdown  of its instance, when the process exits
//	onRestartFailed  of the old instance, if this lifetime's instance does not serve (reload.go)
//	lifetimeOf       at the next setup, if caddy no longer lists its instance
//
// "A reload" in docs/design.md lists the ways in which a reload can fail, and what ends which
// lifetime.
type lifetime struct {
	plugins []*Headless
	started time.Time // the first OnStartup; zero before it
}

// lifetimes are the live ones: those that have not ended.
var lifetimes struct {
	mu   sync.Mutex
	live []*lifetime
}

// lifetimeKey is the key of the *lifetime in the storage of a caddy instance.
type lifetimeKey struct{}

// lifetimeOf returns the lifetime of the instance that c sets up. It ends the lifetimes of
// instances that are gone. It guards the reloads of every instance, as the one that this reload
// would replace need not have the plugin.
func lifetimeOf(c *caddy.Controller) *lifetime {
	live := liveLifetimes() // before caddy.Instances: an instance may be added meanwhile
	current, ok := c.Get(lifetimeKey{}).(*lifetime)
	if !ok {
		current = new(lifetime)
		c.Set(lifetimeKey{}, current)
	}
	current.register()
	keep := make(map[*lifetime]bool)
	for _, i := range caddy.Instances() {
		keep[storedLifetime(i)] = true
		guardReloads(i)
	}
	keep[current] = true // the instance of a test's controller is not in caddy.Instances
	endOthers(live, keep)
	return current
}

// register adds l to the live lifetimes.
func (l *lifetime) register() {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	if !slices.Contains(lifetimes.live, l) {
		lifetimes.live = append(lifetimes.live, l)
	}
}

// storedLifetime returns the lifetime of an instance, or nil if the instance has none.
func storedLifetime(i *caddy.Instance) *lifetime {
	i.StorageMu.RLock()
	defer i.StorageMu.RUnlock()
	l, _ := i.Storage[lifetimeKey{}].(*lifetime)
	return l
}

func liveLifetimes() []*lifetime {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	return slices.Clone(lifetimes.live)
}

// endOthers ends the given lifetimes, except for those to keep.
func endOthers(ls []*lifetime, keep map[*lifetime]bool) {
	for _, l := range ls {
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

// livePlugins returns the plugins of the live lifetimes.
func livePlugins() []*Headless {
	lifetimes.mu.Lock()
	defer lifetimes.mu.Unlock()
	var out []*Headless
	for _, l := range lifetimes.live {
		out = append(out, l.plugins...)
	}
	return out
}

// startSources starts the sources of all plugins of the instance, so that they list at the same
// time. Only the first call does anything. The startup_timeout of each plugin counts from it.
func (l *lifetime) startSources() {
	if !l.started.IsZero() {
		return
	}
	l.started = time.Now()
	for _, h := range l.plugins {
		h.source.start()
	}
}

// end stops the plugins of the instance. Only the first call does anything: every plugin
// registers the callbacks that lead here.
func (l *lifetime) end() {
	lifetimes.mu.Lock()
	i := slices.Index(lifetimes.live, l)
	if i >= 0 {
		lifetimes.live = slices.Delete(lifetimes.live, i, i+1)
	}
	lifetimes.mu.Unlock()
	if i < 0 {
		return
	}
	l.releaseSockets() // their plugins and servers answer until then
	for _, h := range l.plugins {
		h.stop()
	}
	// The transfers of the live plugins may differ from those of l, though no object changed.
	for _, h := range livePlugins() {
		if h.notifier != nil {
			h.trie.AdvanceSerial()
			if h.imports != nil {
				h.imports.AdvanceSerial()
			}
			h.notifier.schedule()
		}
	}
}

// onShutdown ends the lifetime unless the process exits. During an exit the servers still
// answer for the lameduck time of the health plugin, and onFinalShutdown ends the lifetime.
func (l *lifetime) onShutdown() error {
	if !slices.ContainsFunc(caddy.Instances(), func(i *caddy.Instance) bool { return storedLifetime(i) == l }) {
		l.end()
	}
	return nil
}

func (l *lifetime) onFinalShutdown() error {
	l.end()
	return nil
}

// usesAlone reports whether no plugin of another live lifetime uses the source.
func (l *lifetime) usesAlone(s *source) bool {
	return !slices.ContainsFunc(livePlugins(), func(h *Headless) bool {
		return h.source == s && !slices.Contains(l.plugins, h)
	})
}

// replacesServing reports whether the instance starts in a reload of an instance that answers
// queries: one with a serving plugin, or one without this plugin, where other plugins answer.
func (l *lifetime) replacesServing() bool {
	return slices.ContainsFunc(caddy.Instances(), func(i *caddy.Instance) bool {
		old := storedLifetime(i)
		if old == l || len(i.Servers()) == 0 {
			return false
		}
		return old == nil || slices.ContainsFunc(old.plugins, (*Headless).serving)
	})
}
