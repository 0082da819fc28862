package records

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// clocked is a trie whose only address encodes the number of changes.
type clocked struct {
	*Trie
	changes int
}

func (c *clocked) change() {
	key := ServiceKey{"default", "nginx"}
	update := c.Update()
	update.Create(key)
	if c.changes > 0 {
		update.Remove(key, Endpoint{Host: "web-0", Addr: ipv4(c.changes)})
	}
	c.changes++
	update.Add(key, Endpoint{Host: "web-0", Addr: ipv4(c.changes)})
	update.Commit()
}

// secondary is a server that transfers the zone.
type secondary struct {
	serial  uint32
	changes int // that the transferred zone has
}

func (s *secondary) transfer(c *clocked) {
	image := c.Image()
	s.serial, s.changes = image.Serial, 0
	for addr := range image.Addrs() {
		a := addr.As4()
		s.changes = int(a[1])<<16 | int(a[2])<<8 | int(a[3])
	}
}

// refresh transfers the zone if the trie has a later serial (RFC 1982).
func (s *secondary) refresh(c *clocked) {
	if int32(c.Serial()-s.serial) > 0 {
		s.transfer(c)
	}
}

// clockStarts are times at which a test starts: an ordinary one, and one just before the
// serial wraps around.
var clockStarts = map[string]time.Time{
	"2026": time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC),
	"2106": time.Unix(1<<32-20, 0),
}

// atClockStarts runs a test in a synctest bubble at each of the times.
func atClockStarts(t *testing.T, test func(*testing.T)) {
	for name, start := range clockStarts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(start))
				test(t)
			})
		})
	}
}

// ahead returns by how many seconds a serial is ahead of the clock.
func ahead(serial uint32) int32 { return int32(serial - uint32(time.Now().Unix())) }

// TestSecondaryFollows lets a secondary transfer and refresh at random times. It must have
// all changes once the serial covers them, and a serial must be before the present second.
func TestSecondaryFollows(t *testing.T) {
	atClockStarts(t, func(t *testing.T) {
		for seed := range uint64(40) {
			rng := rand.New(rand.NewPCG(seed, 11))
			c := clocked{Trie: New()}
			var s secondary
			s.transfer(&c)
			before := c.Serial()
			for range 300 {
				switch rng.IntN(6) {
				case 0, 1:
					c.change()
				case 2:
					s.transfer(&c)
				case 3:
					s.refresh(&c)
				default:
					time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond)
				}
				serial := c.Serial()
				if ahead(serial) >= 0 || int32(serial-before) < 0 {
					t.Fatalf("seed %d: the serial is %d after %d, and %d s ahead of the clock", seed, serial, before, ahead(serial))
				}
				before = serial
				if c.SerialDelay() == 0 {
					s.refresh(&c)
					if s.changes != c.changes {
						t.Fatalf("seed %d: the secondary has %d of %d changes", seed, s.changes, c.changes)
					}
				}
			}
		}
	})
}

// TestSerialOfChanges checks that the serial is the time of the last change, however many
// there are and whoever reads it between them. A new trie must not be behind.
func TestSerialOfChanges(t *testing.T) {
	atClockStarts(t, func(t *testing.T) {
		c := clocked{Trie: New()}
		if got := ahead(c.Serial()); got != -1 {
			t.Errorf("the serial of a new trie is %d s ahead of the clock, want -1", got)
		}
		const changes, perSecond = 100_000, 5_000
		for i := range changes {
			c.change()
			serial := c.Serial()
			if ahead(serial) != -1 {
				t.Fatalf("after %d changes, the serial is %d s ahead of the clock, want -1", i, ahead(serial))
			}
			time.Sleep(time.Second / perSecond)
		}
		seen := c.Serial()
		if restarted := New().Serial(); int32(restarted-seen) < 0 {
			t.Errorf("a new trie has the serial %d, behind %d", restarted, seen)
		}

		c.change()
		last := uint32(time.Now().Unix())
		time.Sleep(c.SerialDelay() - time.Nanosecond)
		if got := c.Serial(); got != last-1 {
			t.Errorf("in the second of a change, the serial is %d, want %d", got, last-1)
		}
		time.Sleep(time.Nanosecond)
		for range 3 {
			if got := c.Serial(); got != last || c.SerialDelay() != 0 {
				t.Errorf("after the second of a change, the serial is %d with a delay of %s, want %d", got, c.SerialDelay(), last)
			}
			c.Update().Commit() // changes nothing
			time.Sleep(time.Hour)
		}
	})
}

// TestSerialWraps checks that a change keeps its serial when the clock passes the highest
// serial.
func TestSerialWraps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1<<32-5, 0)))
		c := clocked{Trie: New()}
		c.change()
		for range 10 {
			time.Sleep(time.Second)
			if got := c.Serial(); got != 1<<32-5 || c.SerialDelay() != 0 {
				t.Fatalf("after %d s, the serial is %d with a delay of %s", -ahead(1<<32-5), got, c.SerialDelay())
			}
		}
	})
}

// TestSerialIgnoresClockSteps steps the wall clock after the trie has read it. The serial
// must follow the monotonic clock.
func TestSerialIgnoresClockSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, step := range []time.Duration{-time.Hour, time.Hour} {
			c := clocked{Trie: New()}
			c.serial.unix -= int64(step) // as if the wall clock stepped
			time.Sleep(10 * time.Second)
			c.change()
			time.Sleep(time.Second)
			if got, want := ahead(c.Serial()), int32(-step/time.Second)-1; got != want {
				t.Errorf("after a step of %s, the serial is %d s ahead of the clock, want %d", step, got, want)
			}
		}
	})
}

// TestReadersTakeNoLock does what queries do while a commit holds the lock.
func TestReadersTakeNoLock(t *testing.T) {
	trie := podTrie(3)
	trie.EnableCovers()
	trie.mu.Lock()
	defer trie.mu.Unlock()
	for _, name := range []string{"nginx.default.svc.cluster.local.", "1.0.0.10.in-addr.arpa."} {
		if result, _, _ := lookup(trie, name, dns.TypeSRV); result != Found {
			t.Errorf("the lookup of %s is %v", name, result)
		}
	}
	trie.Serial()
	trie.SerialDelay()
	trie.HasNamespace(clusterLocal, []byte("default"))
	denial(trie, "web-9.nginx.default.svc.cluster.local.", dns.TypeA)
}

func BenchmarkSerial(b *testing.B) {
	trie := New()
	b.ReportAllocs()
	for b.Loop() {
		trie.Serial()
	}
}
