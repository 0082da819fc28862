package headless

import (
	"errors"
	"slices"
	"sync"

	"github.com/coredns/caddy"
)

// A reloadGuard lets one reload of a caddy instance run at a time. Caddy calls a reload a
// restart. It runs several at once, as a signal and the reload plugin may both ask for one:
//
//   - Each reload that succeeds leaves a serving instance that nothing stops.
//   - Each reload that fails calls OnRestartFailed of the old instance. That callback can't tell
//     an instance that is still starting from one that failed to start.
//
// So the first reload continues, and the others fail before they set up anything.
type reloadGuard struct {
	mu      sync.Mutex
	closed  bool // a reload is under way, or has replaced the instance
	refused int  // refused reloads whose OnRestartFailed is still to come
}

// reloadGuardKey is the key of the *reloadGuard in the storage of a caddy instance.
type reloadGuardKey struct{}

// guardReloads gives an instance a reloadGuard, unless it has one.
func guardReloads(i *caddy.Instance) {
	i.StorageMu.Lock()
	defer i.StorageMu.Unlock()
	if i.Storage[reloadGuardKey{}] != nil {
		return
	}
	g := new(reloadGuard)
	i.Storage[reloadGuardKey{}] = g
	// The guard is the first callback: once one fails, caddy skips the later ones.
	i.OnRestart = slices.Insert(i.OnRestart, 0, g.onRestart)
	i.OnRestartFailed = append(i.OnRestartFailed, func() error {
		g.onRestartFailed(i)
		return nil
	})
}

// onRestart fails unless it starts the only reload of the instance.
func (g *reloadGuard) onRestart() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		g.refused++
		return errors.New("reload: another reload of this Corefile is under way, or has replaced it")
	}
	g.closed = true
	return nil
}

// onRestartFailed ends what the failed reload leaves behind, unless the guard refused it.
func (g *reloadGuard) onRestartFailed(i *caddy.Instance) {
	if !g.reopen(i) {
		return
	}
	live := liveLifetimes()
	serving := make(map[*lifetime]bool)
	for _, i := range caddy.Instances() {
		// No other reload is under way. So an instance without servers is not starting: caddy
		// lists one whose setup panicked.
		if len(i.Servers()) > 0 {
			serving[storedLifetime(i)] = true
		}
	}
	endOthers(live, serving)
}

// reopen allows another reload after one has failed, unless the guard refused that one. It
// reports whether the guard had let the failed reload run.
func (g *reloadGuard) reopen(i *caddy.Instance) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused > 0 {
		g.refused--
		return false
	}
	// The instance is already replaced if one of its OnShutdown callbacks fails.
	g.closed = !slices.Contains(caddy.Instances(), i)
	return true
}
