package records

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"
)

// shape is an update in which services take addresses from each other. In a shape of
// size n, the functions before and after call has for each address of each host.
type shape struct {
	what          string
	circles       int // the most services with two steps
	before, after func(n int, has func(service, host, addr int))
	recreated     func(service int) bool
}

const many = math.MaxInt // no limit

var shapes = []shape{
	{
		what:    "two services exchange their pods",
		circles: 1,
		before:  func(n int, has func(_, _, _ int)) { two(n, 0, has) },
		after:   func(n int, has func(_, _, _ int)) { two(n, 1, has) },
	},
	{
		what:      "two services exchange their pods, one is created again",
		circles:   1,
		before:    func(n int, has func(_, _, _ int)) { two(n, 0, has) },
		after:     func(n int, has func(_, _, _ int)) { two(n, 1, has) },
		recreated: func(s int) bool { return s == 1 },
	},
	{
		what:    "a ring",
		circles: 1,
		before:  func(n int, has func(_, _, _ int)) { ring(n, 0, has) },
		after:   func(n int, has func(_, _, _ int)) { ring(n, 1, has) },
	},
	{
		what:      "a ring of services that are created again",
		circles:   1,
		before:    func(n int, has func(_, _, _ int)) { ring(n, 0, has) },
		after:     func(n int, has func(_, _, _ int)) { ring(n, 1, has) },
		recreated: func(int) bool { return true },
	},
	{
		what: "a chain from its end",
		before: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 0, i)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 0, i+1)
			}
		},
	},
	{
		what: "an address moves from half of the services to the others",
		before: func(n int, has func(_, _, _ int)) {
			for i := range n / 2 {
				has(i, 0, 0)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n / 2 {
				has(n-1-i, 0, 0)
			}
		},
	},
	{
		what:    "an address changes its host in every service",
		circles: many,
		before: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 0, 0)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 1, 0)
			}
		},
	},
	{
		what:    "an address changes its host in every service of a ring",
		circles: many,
		before: func(n int, has func(_, _, _ int)) {
			ring(n, 0, has)
			for i := range n {
				has(i, n, n)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, n+1, n)
			}
			ring(n, 1, has)
		},
		recreated: func(s int) bool { return s%3 == 0 },
	},
	{
		what:    "each of the services gives an address to each other",
		circles: many,
		before: func(n int, has func(_, _, _ int)) {
			exchange(n, func(i, j int) { has(i, j, n*i+j) })
		},
		after: func(n int, has func(_, _, _ int)) {
			exchange(n, func(i, j int) { has(j, i, n*i+j) })
		},
	},
	{
		what:    "one service exchanges a pod with each other",
		circles: 2,
		before: func(n int, has func(_, _, _ int)) {
			for i := range n - 1 {
				has(0, i, i)
				has(1+i, 0, n+i)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n - 1 {
				has(0, i, n+i)
				has(1+i, 0, i)
			}
		},
	},
	{
		what:    "every service of a chain takes an address from the last, too",
		circles: many,
		before: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 0, i)
				has(n-1, 1+i, n+i)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n - 1 {
				has(i, 0, i+1)
				has(i, 1, n+i)
			}
		},
	},
	{
		what:    "the last service of a chain takes an address from every other",
		circles: many,
		before: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 0, i)
				has(i, 1, n+i)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n - 1 {
				has(i, 0, i+1)
				has(n-1, 1+i, n+i)
			}
		},
	},
	{
		what:    "services that wait for an address that the next one gains, too",
		circles: many,
		before: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 0, 0)
				has(i, 1, 1+i)
			}
		},
		after: func(n int, has func(_, _, _ int)) {
			for i := range n {
				has(i, 2, 0)
				has(i, 3, 1+(i+1)%n)
			}
		},
	},
}

func two(n, turn int, has func(service, host, addr int)) {
	for i := range n {
		has(turn, i, i)
		has(1-turn, i, n+i)
	}
}

func ring(n, turn int, has func(service, host, addr int)) {
	for i := range n {
		has(i, 0, (i+turn)%n)
	}
}

func exchange(n int, gives func(i, j int)) {
	for i := range n {
		for j := range n {
			if i != j {
				gives(i, j)
			}
		}
	}
}

// update returns an update of a new trie from before to after, and the number of
// addresses lost and gained. It names the services in the order given.
func (s *shape) update(n int, order []int) (update *Update, moves int) {
	key := func(service int) ServiceKey { return ServiceKey{"default", fmt.Sprint("s-", service)} }
	endpoint := func(host, addr int) Endpoint {
		return Endpoint{Host: fmt.Sprint("web-", host), Addr: ipv4(addr), Ports: universePorts[1]}
	}
	trie := New()
	update = trie.Update()
	s.before(n, func(service, host, addr int) {
		update.Create(key(service))
		update.Add(key(service), endpoint(host, addr))
	})
	update.Commit()
	update = trie.Update()
	recreated := func(service int) bool { return s.recreated != nil && s.recreated(service) }
	for _, service := range order {
		if recreated(service) {
			update.Delete(key(service))
		}
		update.Create(key(service))
	}
	s.before(n, func(service, host, addr int) {
		moves++
		if !recreated(service) {
			update.Remove(key(service), endpoint(host, addr))
		}
	})
	s.after(n, func(service, host, addr int) {
		moves++
		update.Add(key(service), endpoint(host, addr))
	})
	return update, moves
}

// TestPlanShapes bounds the steps of a plan and the losers it visits: in proportion to
// the addresses lost and gained, whatever the shape.
func TestPlanShapes(t *testing.T) {
	for _, s := range shapes {
		for _, n := range []int{2, 3, 10, 60} {
			rng := rand.New(rand.NewPCG(uint64(n), 4))
			order := make([]int, n)
			for i := range order {
				order[i] = i
			}
			for range 5 {
				update, moves := s.update(n, order)
				changed := update.netChanges()
				p := newPlanner(changed)
				checkSteps(t, changed, p.steps)
				if twice := len(p.steps) - len(changed); twice > s.circles {
					t.Errorf("%s, of %d: %d services have two steps, want at most %d", s.what, n, twice, s.circles)
				}
				if most := 3*moves + 3*len(changed); p.visits > most {
					t.Errorf("%s, of %d: %d visits of losers, want at most %d", s.what, n, p.visits, most)
				}
				if t.Failed() {
					t.Fatalf("%s, of %d, in the order %v", s.what, n, order)
				}
				rng.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
			}
		}
	}
}

// TestPlanBudget bounds what a plan allocates for each address lost or gained, where
// many services have one address and where two services have many.
func TestPlanBudget(t *testing.T) {
	for _, s := range shapes[:6] {
		for _, n := range []int{100, 1000, 4000} {
			order := make([]int, n)
			for i := range order {
				order[i] = i
			}
			update, moves := s.update(n, order)
			changed := update.netChanges()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			plan(changed)
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / uint64(moves); each > 256 {
				t.Errorf("%s, of %d: the plan allocates %d bytes for each address, want at most 256", s.what, n, each)
			}
		}
	}
}

// TestPlanChain checks that the planner walks a long chain without a recursion.
func TestPlanChain(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	const n = 100_000
	chain := make([]*pending, n)
	for i := range chain {
		chain[i] = &pending{service: new(service), old: new(snapshot), base: new(snapshot), next: new(snapshot)}
		chain[i].change.hosts = []delta[hostAddr]{{hostAddr{addr: ipv4(i)}, -1}, {hostAddr{addr: ipv4(i + 1)}, 1}}
	}
	p := newPlanner(chain)
	if len(p.steps) != n || p.steps[0].service != chain[n-1].service || p.visits > 2*n {
		t.Errorf("the plan of %d services has %d steps, with %d visits of losers", n, len(p.steps), p.visits)
	}
}
