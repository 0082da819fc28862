package informer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/headless-dns/headless/informer/internal/snapshot"
)

// keeper writes the objects of an informer to a snapshot file, and reads it at a start
// without an API server.
type keeper struct {
	path     string
	settings string
	interval time.Duration
	log      logr.Logger
	wrote    func(size int64, err error) // Wrote of Hooks

	unwritten unwritten

	successor bool          // it never reads the file
	mayWrite  chan struct{} // closed once the file may be written
	takeOver  func()        // closes mayWrite, once

	// Closed at the first successful response, and at the first request that gets no response
	// or a status that indicates a fault.
	reached, failed chan struct{}
	once            struct{ reached, failed sync.Once }
}

func newKeeper(c *Config) *keeper {
	mayWrite := make(chan struct{})
	options := ""
	if c.Zonal { // only then, so that files of versions without the option stay valid
		options = "; zonal"
	}
	if c.MultiCluster {
		options += "; multicluster"
	}
	return &keeper{
		successor: c.Successor,
		mayWrite:  mayWrite,
		takeOver:  sync.OnceFunc(func() { close(mayWrite) }),

		path: c.Snapshot,
		// A snapshot of other settings has other objects, some of which would never be
		// listed and so never be removed.
		settings: fmt.Sprintf("API server %q, context %q; namespaces %q, of labels %q; labels %q; slices %t%s",
			c.Cluster.Kubeconfig+c.Cluster.Endpoint, c.Cluster.Context, c.Namespaces, c.NamespaceLabels, c.Labels, c.Slices, options),
		interval:  c.SnapshotInterval,
		log:       c.Log,
		wrote:     c.Hooks.Wrote,
		unwritten: unwritten{interval: c.SnapshotInterval, hook: c.Hooks.Due},
		reached:   make(chan struct{}),
		failed:    make(chan struct{}),
	}
}

// observe wraps a transport to see responses and failures.
func (k *keeper) observe(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		switch {
		case err == nil && resp.StatusCode < http.StatusBadRequest:
			k.once.reached.Do(func() { close(k.reached) })
		case r.Context().Err() != nil: // the informer cancelled it
		case err != nil || resp.StatusCode >= http.StatusInternalServerError,
			resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden,
			resp.StatusCode == http.StatusTooManyRequests:
			k.once.failed.Do(func() { close(k.failed) })
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// unwritten tracks how long the snapshot has lacked a change.
type unwritten struct {
	interval time.Duration
	hook     func(time.Time) // Due of Hooks

	mu             sync.Mutex
	enabled        bool      // set before the first snapshot is written; none is due earlier
	since, writing time.Time // the first change that is not written, and the first that is being written
	due            time.Time // as last reported
}

// add records a change.
func (u *unwritten) add() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since.IsZero() {
		u.since = time.Now()
		u.report()
	}
}

// enable starts to report when the snapshot is due.
func (u *unwritten) enable() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.enabled = true
	if !u.since.IsZero() {
		u.since = time.Now()
	}
	u.hook(time.Time{})
	u.report()
}

// begin reports whether there are changes. The caller writes them all and calls finish.
func (u *unwritten) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since, u.writing = time.Time{}, u.since
	return !u.writing.IsZero()
}

// finish records whether the changes were written.
func (u *unwritten) finish(written bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !written {
		u.since = u.writing
	}
	u.writing = time.Time{}
	u.report()
}

// report calls the hook if the due time changed. The caller holds the lock.
func (u *unwritten) report() {
	first := u.since
	if !u.writing.IsZero() {
		first = u.writing
	}
	var due time.Time
	if !first.IsZero() {
		due = first.Add(u.interval)
	}
	if u.enabled && due != u.due {
		u.due = due
		u.hook(due)
	}
}

// responsePatience is how long the keeper waits for the first response of the API server
// before it uses the snapshot.
const responsePatience = 300 * time.Millisecond

// run restores the snapshot if the API server does not respond. Once every list has
// arrived, it writes a snapshot at each interval if an object changed, and at the end.
func (k *keeper) run(ctx context.Context, i *Informer) {
	if k.successor {
		select {
		case <-ctx.Done():
			return
		case <-k.mayWrite:
		}
	}
	if err := snapshot.RemoveTemporary(k.path); err != nil {
		k.log.Error(err, "temporary files of snapshots are not removed", "file", k.path)
	}
	if !k.successor {
		if s := k.read(); s != nil {
			k.restore(ctx, i, s)
		}
	}
	select {
	case <-ctx.Done():
	case <-i.complete:
	}
	select {
	case <-i.complete:
	default:
		return // the objects are incomplete
	}
	tick := time.NewTicker(k.interval)
	defer tick.Stop()
	k.unwritten.enable()
	failing := false
	for done := false; ; {
		if k.unwritten.begin() {
			err := k.write(i)
			k.unwritten.finish(err == nil)
			switch {
			case err == nil:
				if failing {
					k.log.Info("snapshot is written again", "file", k.path)
				}
			case !failing: // once, as the next attempt is likely to fail, too
				k.log.Error(err, "snapshot is not written", "file", k.path)
			}
			failing = err != nil
		}
		if done {
			return
		}
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
	}
}

func (k *keeper) write(i *Informer) error {
	size, err := snapshot.Write(k.path, time.Now(), k.settings, i.joiner.objects())
	k.wrote(size, err)
	return err
}

// read returns the snapshot in the file if it was written with these settings. It renames
// a file that can't be used, so that it is not overwritten.
func (k *keeper) read() *snapshot.Snapshot {
	s, err := snapshot.Read(k.path)
	if err == nil && s.Settings != k.settings {
		err = fmt.Errorf("it was written with other settings: %s", s.Settings)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		aside := k.path + ".rejected"
		if moved := os.Rename(k.path, aside); moved != nil {
			err = errors.Join(err, moved)
		}
		k.log.Error(err, "snapshot is not used", "file", k.path, "kept as", aside)
		return nil
	}
	return s
}

// restore queues the objects of the snapshot, unless the API server responds: its lists
// are newer.
func (k *keeper) restore(ctx context.Context, i *Informer, s *snapshot.Snapshot) {
	began := time.Now()
	if k.listed(ctx, i, responsePatience/3) {
		return
	}
	// The API server is late, so the objects are likely to be needed. Decoding takes a
	// while.
	objects, err := s.Objects()
	if err != nil {
		k.log.Error(err, "snapshot is not used", "file", k.path)
		return
	}
	if k.listed(ctx, i, responsePatience-time.Since(began)) {
		return
	}
	k.log.Info("API server can't be reached; answers come from the snapshot", "file", k.path, "taken", s.Taken)
	i.queue.push(event{snapshot: &objects})
}

// listed waits until every list has arrived or ctx is done, and returns true. It returns
// false if the API server fails, or has not responded within the limit.
func (k *keeper) listed(ctx context.Context, i *Informer, limit time.Duration) bool {
	reached, late := k.reached, time.After(limit)
	for {
		select {
		case <-ctx.Done():
			return true
		case <-i.complete:
			return true
		case <-reached:
			reached, late = nil, nil
		case <-late:
			return false
		case <-k.failed:
			return false
		}
	}
}
