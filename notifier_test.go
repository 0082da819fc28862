package headless

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headless-dns/headless/records"
)

// TestStopWaitsForNobody checks that the source is released while a secondary is
// silent, and that zones do not wait for each other.
func TestStopWaitsForNobody(t *testing.T) {
	h := startAuthority(t)
	silent, told := make(chan struct{}), make(chan string)
	defer close(silent)
	h.notifier = startNotifier(func(zone string) error {
		if zone == "cluster.local." {
			<-silent
		} else {
			told <- zone
		}
		return nil
	}, h.zones, h.trie)
	h.source.addNotifier(h.notifier)
	for range len(h.zones) - 1 {
		<-told
	}
	h.stop() // would wait for ever
	if h.serving() {
		t.Error("the plugin serves after its end")
	}
	if _, ok := <-h.notifier.ctx.Done(); ok {
		t.Error("the notifications go on")
	}
}

// recordNotifications returns a notifier of one zone, and the serials that secondaries
// would see when they are notified.
func recordNotifications(trie *records.Trie) (*notifier, *[]uint32) {
	var serials []uint32
	return startNotifier(func(string) error {
		serials = append(serials, trie.Serial())
		return nil
	}, records.NewZones([]string{"cluster.local."}), trie), &serials
}

// TestNotifyAfterTheSecond checks that a change is notified when it has a serial of
// its own, and that a busy zone is notified once a second.
func TestNotifyAfterTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trie := records.New()
		n, serials := recordNotifications(trie)
		defer synctest.Wait()
		defer n.end()
		time.Sleep(300 * time.Millisecond)
		first := uint32(time.Now().Unix())
		for i := range 30 { // for three seconds
			u := trie.Update()
			u.Create(records.ServiceKey{Namespace: "default", Name: fmt.Sprint("s-", i)})
			u.Commit()
			n.note()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []uint32{first, first + 1, first + 2, first + 3}
		if last := (*serials)[len(*serials)-1]; !slices.Equal(*serials, want) || last != trie.Serial() {
			t.Errorf("notified at serials %d, want %d; the last is %d", *serials, want, trie.Serial())
		}
	})
}

// TestEndNotifies checks that secondaries learn of a reload: with another ttl or other
// zones, a transfer differs though no object has changed.
func TestEndNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trie := records.New()
		time.Sleep(5 * time.Second)
		n, serials := recordNotifications(trie)
		defer synctest.Wait()
		defer n.end()
		stops := 0
		now := &lifetime{plugins: []*Headless{{trie: trie, notifier: n}}}
		old := &lifetime{plugins: []*Headless{{release: func() { stops++ }}, {release: func() { stops++ }}}}
		now.begin()
		old.begin() // the instance that is replaced
		defer func() {
			lifetimes.mu.Lock()
			defer lifetimes.mu.Unlock()
			lifetimes.all = slices.DeleteFunc(lifetimes.all, func(l *lifetime) bool { return l == now })
		}()
		want := []uint32{uint32(time.Now().Unix())}
		// Each stanza has callbacks for it. What is between them may take a while.
		for range 2 {
			if err := old.shutDown(); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if !slices.Equal(*serials, want) || stops != 2 {
				t.Errorf("notified at serials %d, want %d; two plugins were stopped %d times", *serials, want, stops)
			}
		}
	})
}
