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

// TestSnapshots reads while the writer moves a service between states. In each state,
// all addresses and ports carry its number, so a reply that mixes two states shows.
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
				a, srv := lookupRecords(trie, "nginx.default.svc.cluster.local.", dns.TypeA), []dns.RR(nil)
				if rng.IntN(2) == 0 {
					answer := lookupAnswer(trie, "_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV)
					srv, a = answer.Records, answer.Glue
				}
				state := int(a[0].(*dns.A).A[1])
				if len(a) != size(state) {
					t.Errorf("a reply of state %d has %d addresses, want %d", state, len(a), size(state))
				}
				for _, rr := range a {
					if s := int(rr.(*dns.A).A[1]); s != state {
						t.Errorf("a reply mixes states %d and %d", state, s)
					}
				}
				for _, rr := range srv {
					if p := rr.(*dns.SRV).Port; p != uint16(1000+state) {
						t.Errorf("a reply of state %d has port %d", state, p)
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
		if n := update.Commit(); n != 1 {
			t.Errorf("state %d publishes %d services, want 1", to, n)
		}
		if t.Failed() {
			break
		}
	}
	stop.Store(true)
	readers.Wait()
}

// TestReaders commits random updates while readers look up all that a trie has, also
// with hashes that collide and one service in each portion. An image must have the same
// addresses by name and by reverse name. The race detector checks that nothing a reader
// got is written.
func TestReaders(t *testing.T) {
	for _, mask := range []uint32{^uint32(0), 3} {
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			setHashMask(t, mask)
			if mask == 3 {
				setPortionSize(t, 1)
			}
			u := universe{Rand: rand.New(rand.NewPCG(1, uint64(mask))), long: true, zonal: true, external: map[ServiceKey]bool{}}
			trie, o, names := u.trie(), oracle{}, u.names()
			for _, name := range names {
				names = append(names, externalName(name))
			}
			trie.EnableCovers()
			var stop atomic.Bool
			var images, readers sync.WaitGroup
			for r := range 3 {
				images.Add(20)
				readers.Go(func() {
					u := universe{Rand: rand.New(rand.NewPCG(2, uint64(r))), long: true, zonal: true}
					for round := 0; !stop.Load(); round++ {
						for range 20 {
							name, rrtype := pick(u, names...), pick(u, allTypes...)
							result, data, _ := lookup(trie, name, rrtype)
							if result != Found && len(data) > 0 {
								t.Errorf("%s %s is %v with records %q", name, dns.TypeToString[rrtype], result, data)
							}
						}
						denial(trie, pick(u, names...), pick(u, allTypes...))
						trie.HasNamespace(clusterLocal, []byte("prod"))
						trie.HasNamespace(exampleOrg, []byte("prod"))
						trie.Covers(netip.PrefixFrom(u.addr(), 28))
						trie.Serial()
						checkImage(t, trie.Image())
						if round < 20 {
							images.Done()
						}
					}
				})
			}
			var enough atomic.Bool
			readers.Go(func() { images.Wait(); enough.Store(true) })
			for round := 0; round < 300 || !enough.Load(); round++ {
				randomUpdate(u, trie, o)
			}
			stop.Store(true)
			readers.Wait()
			compare(t, trie, o, u.names())
			compareExternal(t, u, trie, o)
		})
	}
}

// checkImage checks that the hosts and the reverse names of an image agree.
func checkImage(t *testing.T, i *Image) {
	t.Helper()
	addrs := map[netip.Addr]map[string]bool{}
	for name, node := range i.Names(clusterLocal) {
		if node.host == nil {
			continue
		}
		has := node.addrs()
		for a := range has.all {
			if addrs[a] == nil {
				addrs[a] = map[string]bool{}
			}
			addrs[a][name] = true
		}
	}
	for a, node := range i.Addrs() {
		answer := node.Answer(&Query{Type: dns.TypePTR, Zone: "cluster.local.", Size: 1 << 20})
		if len(answer.Records) == 0 {
			t.Errorf("%v has a reverse name without records", a)
		}
		for _, rr := range answer.Records {
			if name := rr.(*dns.PTR).Ptr; !addrs[a][name] {
				t.Errorf("%v has the name %s, which lacks the address", a, name)
			}
		}
		delete(addrs, a)
	}
	for a := range addrs {
		t.Errorf("%v has no reverse name", a)
	}
}
