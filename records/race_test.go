package records

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestSnapshots reads while a writer moves a service between states in which all
// parts agree: n hosts, each with the address of that state. A reply that mixes
// two states shows.
func TestSnapshots(t *testing.T) {
	const rounds = 300
	key := ServiceKey{"default", "nginx"}
	trie := New()
	endpoint := func(state, i int) Endpoint {
		return Endpoint{
			Host: fmt.Sprint("web-", i), Hostname: true,
			Addr:  netip.AddrFrom4([4]byte{10, byte(state), byte(i >> 8), byte(i)}),
			Ports: NewPortList([]Port{{"web", "tcp", uint16(1000 + state)}}),
		}
	}
	size := func(state int) int { return 1 + state%200 }
	update := trie.Update()
	update.Create(key)
	update.Add(key, endpoint(0, 0))
	update.Commit()

	var stop atomic.Bool
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(r)))
			for !stop.Load() {
				a, srv := lookupRaw(trie, "nginx.default.svc.cluster.local.", dns.TypeA), []dns.RR(nil)
				if rng.IntN(2) == 0 {
					answer := lookupAnswer(trie, "_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV)
					srv, a = answer.Records, answer.Glue
				}
				state := int(a[0].(*dns.A).A[1])
				if len(a) != size(state) {
					t.Errorf("state %d has %d addresses, want %d", state, len(a), size(state))
				}
				for _, rr := range a {
					if s := int(rr.(*dns.A).A[1]); s != state {
						t.Errorf("one reply has states %d and %d", state, s)
					}
				}
				for _, rr := range srv {
					if p := rr.(*dns.SRV).Port; p != uint16(1000+state) {
						t.Errorf("one reply has state %d and port %d", state, p)
					}
				}
				if t.Failed() {
					return
				}
			}
		})
	}
	for round := range rounds {
		from, to := round%250, (round+1)%250
		update := trie.Update()
		for i := range size(from) {
			update.Remove(key, endpoint(from, i))
		}
		for i := range size(to) {
			update.Add(key, endpoint(to, i))
		}
		if update.Commit() != 1 || t.Failed() {
			break
		}
	}
	stop.Store(true)
	readers.Wait()
}

func lookupAnswer(trie *Trie, name string, rrtype uint16) Answer {
	_, _, a := lookup(trie, name, rrtype)
	return a
}

func lookupRaw(trie *Trie, name string, rrtype uint16) []dns.RR {
	return lookupAnswer(trie, name, rrtype).Records
}
