package informer

import (
	"sync"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
)

// queue passes events from the sources to the writer. It is unbounded: slim objects are
// small, and a blocked source would keep the full ones in memory.
type queue struct {
	onReceived func(object.Kind, string)
	filled     chan struct{} // holds a token while there are events

	mu     sync.Mutex
	events []event
}

func newQueue(received func(object.Kind, string)) *queue {
	return &queue{onReceived: received, filled: make(chan struct{}, 1)}
}

func (q *queue) push(events ...event) {
	now := time.Now()
	q.mu.Lock()
	for _, e := range events {
		e.received = now
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	for _, e := range events {
		if e.snapshot == nil && (e.covered == nil || e.list) {
			q.onReceived(e.Kind, e.Namespace)
		}
	}
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// drain returns all queued events. The queue then reuses the memory of used, the batch
// drained before, unless that was exceptionally large.
func (q *queue) drain(used []event) []event {
	if cap(used) > 1024 {
		used = nil
	}
	clear(used)
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = used[:0]
	return events
}
