package headless

import (
	"context"
	"time"

	"github.com/headless-dns/headless/records"
)

// A notifier sends NOTIFY to the secondaries of each zone after changes (RFC 1996). Each zone
// has its own goroutine, as a NOTIFY takes seconds if a secondary does not answer.
type notifier struct {
	pending []chan struct{} // of each zone: holds a token while a NOTIFY is due
	ctx     context.Context
	cancel  context.CancelFunc
}

// startNotifier returns a running notifier for the zones. trieOf returns the trie of a zone. It sends
// with notify, which is [transfer.Transfer.Notify].
func startNotifier(notify func(zone string) error, zones records.Zones, trieOf func(*records.Zone) *records.Trie) *notifier {
	ctx, cancel := context.WithCancel(context.Background())
	n := &notifier{ctx: ctx, cancel: cancel}
	for i := range zones {
		pending := make(chan struct{}, 1)
		n.pending = append(n.pending, pending)
		go n.run(notify, zones[i].Name, pending, trieOf(&zones[i]))
	}
	return n
}

func (n *notifier) run(notify func(zone string) error, zone string, pending <-chan struct{}, trie *records.Trie) {
	var notified uint32 // the last serial that a NOTIFY was sent for
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-pending:
		}
		// Before that a secondary would see the serial that it already has.
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(trie.SerialDelay()):
		}
		// Each second has one serial, so a zone sends at most one NOTIFY a second.
		serial := trie.Serial()
		if serial == notified {
			continue
		}
		notified = serial
		if err := notify(zone); err != nil && n.ctx.Err() == nil {
			warnf("%v", err)
		}
	}
}

// schedule makes a NOTIFY due for every zone. It does not block.
func (n *notifier) schedule() {
	for _, pending := range n.pending {
		select {
		case pending <- struct{}{}:
		default:
		}
	}
}

// stop stops the notifier. It does not wait for a NOTIFY under way, which takes seconds if a
// secondary does not answer.
func (n *notifier) stop() { n.cancel() }
