package records

import (
	"sync/atomic"
	"time"
)

// serial derives the serial of the zones from the time of the last change.
//
// It reads the wall clock once and the monotonic clock from then on, so that a step of
// the wall clock does not change serials.
type serial struct {
	start time.Time
	unix  int64        // start in nanoseconds since 1970
	last  atomic.Int64 // the second since 1970 of the last change
	// over is the last change whose second was seen to be over: with it, a query needs no clock.
	over atomic.Int64
}

func (s *serial) init() {
	s.start = time.Now()
	s.unix = s.start.UnixNano()
	s.over.Store(-1)
	s.advance()
}

// now returns the time in nanoseconds since 1970.
func (s *serial) now() int64 { return s.unix + int64(time.Since(s.start)) }

func (s *serial) second() int64 { return s.now() / int64(time.Second) }

// advance records a change, which must be published already. So a reader that missed
// the change read the serial no later than in the second that the change gets.
func (s *serial) advance() { s.last.Store(s.second()) }

// Serial returns the serial of the zones (RFC 1035, section 3.3.13): the second of the
// last change or, if that is earlier, the second before the present one.
//
// The serial is always before the present second, so a change gets a later one than
// all that were returned before it. A change of the present second gets its serial
// when that second is over: only then does every secondary that compares serials see
// the change. [Trie.SerialDelay] returns the time until then.
//
// A caller that reads the serial and then the trie sees all changes up to that serial.
func (t *Trie) Serial() uint32 {
	last := t.serial.last.Load()
	if t.serial.over.Load() == last {
		return uint32(last)
	}
	if now := t.serial.second(); now <= last {
		return uint32(now - 1)
	}
	t.serial.over.Store(last)
	return uint32(last)
}

// AdvanceSerial gives the zones another serial, as a commit does. Zones may change
// without a commit, for example when their TTL does.
func (t *Trie) AdvanceSerial() { t.serial.advance() }

// SerialDelay returns the time until [Trie.Serial] covers the last change; zero if it
// does already.
func (t *Trie) SerialDelay() time.Duration {
	last, now := t.serial.last.Load(), t.serial.now()
	if now/int64(time.Second) > last {
		return 0
	}
	return time.Second - time.Duration(now%int64(time.Second))
}
