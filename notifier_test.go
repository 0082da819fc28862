package headless

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headless-dns/headless/records"
)

// TestSilentSecondary checks that a secondary that does not answer delays neither other zones
// nor the stop of the plugin.
func TestSilentSecondary(t *testing.T) {
	h := startAuthoritative(t)
	unblock, notified := make(chan struct{}), make(chan string)
	defer close(unblock)
	h.notifier = startNotifier(func(zone string) error {
		if zone == "cluster.local." {
			<-unblock
		} else {
			notified <- zone
		}
		return nil
	}, h.zones, h.trieOf)
	h.source.addNotifier(h.notifier)
	for range len(h.zones) - 1 {
		<-notified
	}
	h.stop() // hangs if it waits for the secondary
	if h.serving() {
		t.Error("the plugin is serving after its stop")
	}
	if h.notifier.ctx.Err() == nil {
		t.Error("the notifier runs after the stop of the plugin")
	}
}

// recordSerials returns a notifier of one zone, and the serials that a secondary would see at
// each NOTIFY.
func recordSerials(trie *records.Trie) (*notifier, *[]uint32) {
	var serials []uint32
	return startNotifier(func(string) error {
		serials = append(serials, trie.Serial())
		return nil
	}, records.NewZones([]string{"cluster.local."}), func(*records.Zone) *records.Trie { return trie }), &serials
}

// TestNotifyOncePerSecond checks that a NOTIFY waits until its change has a new serial, and
// that a busy zone sends one a second.
func TestNotifyOncePerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trie := records.New()
		n, serials := recordSerials(trie)
		defer synctest.Wait()
		defer n.stop()
		time.Sleep(300 * time.Millisecond)
		first := uint32(time.Now().Unix())
		for i := range 30 { // for three seconds
			u := trie.Update()
			u.Create(records.ServiceKey{Namespace: "default", Name: fmt.Sprint("s-", i)})
			u.Commit()
			n.schedule()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []uint32{first, first + 1, first + 2, first + 3}
		if last := (*serials)[len(*serials)-1]; !slices.Equal(*serials, want) || last != trie.Serial() {
			t.Errorf("got NOTIFY at serials %d, want %d; the trie has serial %d", *serials, want, trie.Serial())
		}
	})
}

// TestReloadNotifies checks that a reload sends NOTIFY once: with another ttl or other zones, a
// transfer differs though no object has changed.
func TestReloadNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trie := records.New()
		time.Sleep(5 * time.Second)
		n, serials := recordSerials(trie)
		defer synctest.Wait()
		defer n.stop()
		stops := 0
		current := &lifetime{plugins: []*Headless{{trie: trie, notifier: n}}}
		old := &lifetime{plugins: []*Headless{{release: func() { stops++ }}, {release: func() { stops++ }}}}
		current.register()
		old.register() // the reload replaces its instance
		defer func() {
			lifetimes.mu.Lock()
			defer lifetimes.mu.Unlock()
			lifetimes.live = slices.DeleteFunc(lifetimes.live, func(l *lifetime) bool { return l == current })
		}()
		want := []uint32{uint32(time.Now().Unix())}
		// Each of the two stanzas registers OnShutdown. Time may pass between the calls.
		for range 2 {
			if err := old.onShutdown(); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if !slices.Equal(*serials, want) || stops != 2 {
				t.Errorf("got NOTIFY at serials %d and %d plugins stopped, want %d and 2", *serials, stops, want)
			}
		}
	})
}
