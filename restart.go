package headless

import (
	"errors"
	"slices"
	"sync"

	"github.com/coredns/caddy"
)

// restarts guards the restarts of one caddy instance. Caddy runs several at once, as a
// signal and the reload plugin may ask for them. Of these, each that succeeds leaves an
// instance that serves and that nobody stops; and each that fails calls OnRestartFailed of
// the old instance, where an instance that is still starting can't be told from one that
// failed. So the first goes on, and others are refused before they set up anything.
type restarts struct {
	mu       sync.Mutex
	underWay bool // or the instance was replaced
	refused  int  // their OnRestartFailed is to come
}

// Keys of what is stored in a caddy instance.
type (
	lifetimeKey struct{} // its *lifetime
	restartsKey struct{} // present once its restarts are guarded
)

// guardRestarts guards the restarts of an instance, unless that was done.
func guardRestarts(i *caddy.Instance) {
	i.StorageMu.Lock()
	defer i.StorageMu.Unlock()
	if i.Storage[restartsKey{}] != nil {
		return
	}
	r := new(restarts)
	i.Storage[restartsKey{}] = r
	// It is the first: where another one fails, caddy skips those behind.
	i.OnRestart = slices.Insert(i.OnRestart, 0, r.begin)
	i.OnRestartFailed = append(i.OnRestartFailed, func() error {
		if r.fail(i) {
			endFailed()
		}
		return nil
	})
}

// begin begins a restart.
func (r *restarts) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay {
		r.refused++
		return errors.New("reload: another reload of this Corefile is under way, or has replaced it")
	}
	r.underWay = true
	return nil
}

// fail notes that a restart of the instance has failed, and reports whether it had begun.
func (r *restarts) fail(i *caddy.Instance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused > 0 {
		r.refused--
		return false
	}
	// It fails late if a callback of the replaced instance does.
	r.underWay = !slices.Contains(caddy.Instances(), i)
	return true
}

// endFailed ends what a failed restart leaves behind. No other restart is under way, so an
// instance without servers is not one that starts: caddy keeps one whose setup panicked.
func endFailed() {
	all := livingLifetimes()
	serving := make(map[*lifetime]bool)
	for _, i := range caddy.Instances() {
		if len(i.Servers()) > 0 {
			serving[storedLifetime(i)] = true
		}
	}
	endLifetimes(all, serving)
}
