package records

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestPlan goes through the steps of random updates. No address may be at a name
// that it leaves and, at the same time, at a name of another service that it enters.
func TestPlan(t *testing.T) {
	moved, exchanged := 0, 0
	for seed := range uint64(300) {
		u := universe{rand.New(rand.NewPCG(seed, 3)), seed%2 == 1}
		trie, o := New(), oracle{}
		for range 20 {
			update := trie.Update()
			randomChanges(u, update, o)
			steps := planFor(update)
			moved += checkSteps(t, update.changed, steps)
			if len(steps) > len(update.changed) {
				exchanged++
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			for _, p := range update.changed {
				p.progress, p.planned = unplanned, 0 // Commit plans again
			}
			update.Commit()
		}
	}
	if moved == 0 || exchanged == 0 {
		t.Errorf("%d addresses moved, %d services exchanged some: the test tests nothing", moved, exchanged)
	}
}

// planOf is what the commit of an update would publish.
func planFor(update *Update) []step {
	update.netChanges()
	return plan(update.changed)
}

// name is a host of a service within an update.
type hostName struct {
	service *pending
	host    string
}

// names returns the names of each address.
func (p *pending) hostNames(s *snapshot) map[netip.Addr]map[hostName]bool {
	out := map[netip.Addr]map[hostName]bool{}
	for h := range s.hosts.all {
		addrs := h.addrs()
		for a := range addrs.all {
			if out[a] == nil {
				out[a] = map[hostName]bool{}
			}
			out[a][hostName{p, h.label}] = true
		}
	}
	return out
}

// checkSteps verifies what every plan promises, and returns how many addresses
// moved from one service to another.
func checkSteps(t *testing.T, changed []*pending, steps []step) (moved int) {
	t.Helper()
	of := map[*service]*pending{}
	now := map[*pending]map[netip.Addr]map[hostName]bool{}
	leaving, entering := map[netip.Addr][]hostName{}, map[netip.Addr][]hostName{}
	for _, p := range changed {
		of[p.service] = p
		p.next = step{pending: p}.build()
		before, next := p.hostNames(p.old), p.hostNames(p.next)
		now[p] = before
		for a := range before {
			for n := range before[a] {
				if !next[a][n] {
					leaving[a] = append(leaving[a], n)
				}
			}
		}
		for a := range next {
			for n := range next[a] {
				if !before[a][n] {
					entering[a] = append(entering[a], n)
				}
			}
		}
	}
	last, count := map[*pending]step{}, map[*pending]int{}
	for _, s := range steps {
		p, made := of[s.service], s.build()
		checkTargets(t, made)
		before := now[p]
		now[p], last[p] = p.hostNames(made), s
		if count[p]++; count[p] > 2 {
			t.Errorf("%v has %d steps", p.key, count[p])
		}
		if host, addr, ok := p.missingAddr(made); ok {
			t.Errorf("%s of %v is without %v for a moment", host, p.key, addr)
		}
		for a := range now[p] {
			for _, n := range entering[a] {
				if n.service != p || !now[p][a][n] || before[a][n] {
					continue
				}
				for _, l := range leaving[a] {
					if l.service == p {
						continue
					}
					moved++
					if now[l.service][a][l] {
						t.Errorf("%v enters %s of %v, and is at %s of %v, which it leaves", a, n.host, p.key, l.host, l.service.key)
					}
				}
			}
		}
	}
	for _, p := range changed {
		if s, ok := last[p]; !ok || s.interim {
			t.Errorf("the last state of %v is not its next", p.key)
		}
	}
	return moved
}

// absent returns an address that a host has before and after an update, but not now.
func (p *pending) missingAddr(now *snapshot) (host string, addr netip.Addr, ok bool) {
	if !p.existed || !p.exists {
		return "", netip.Addr{}, false
	}
	has := func(s *snapshot, host string, a netip.Addr) bool {
		h := s.hostByLabel([]byte(host))
		if h == nil {
			return false
		}
		addrs := h.addrs()
		return addrs.has(a)
	}
	for h := range p.next.hosts.all {
		addrs := h.addrs()
		for a := range addrs.all {
			if has(p.old, h.label, a) && !has(now, h.label, a) {
				return h.label, a, true
			}
		}
	}
	return "", netip.Addr{}, false
}

// targetsResolve asks a snapshot for the targets of the service and of each port,
// as a reader would that finds it between two steps.
func checkTargets(t *testing.T, s *snapshot) {
	t.Helper()
	const base = "nginx.default.svc.cluster.local."
	query := Query{Name: base, Type: dns.TypeSRV, Size: math.MaxInt}
	nodes := []Node{{snapshot: s, suffixLen: len(base)}}
	for p := range s.ports.all {
		nodes = append(nodes, Node{snapshot: s, suffixLen: len(base), port: p.key})
	}
	for _, n := range nodes {
		for _, rr := range n.Answer(&query).Records {
			if host := strings.TrimSuffix(rr.(*dns.SRV).Target, "."+base); s.hostByLabel([]byte(host)) == nil {
				t.Errorf("the target %s has no address", host)
			}
		}
	}
}

// A pod that is replaced under its name, and a pod of another service that gets
// its address, in one update: the first name changes over without a moment of
// absence.
func TestPlanKeepsNames(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	trie := New()
	old, reused := ipv4(1), ipv4(2)
	update := trie.Update()
	update.Create(nginx)
	update.Create(mariadb)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: old})
	update.Commit()

	update = trie.Update()
	update.Add(mariadb, Endpoint{Host: "db-0", Addr: old})
	update.Remove(nginx, Endpoint{Host: "web-0", Addr: old})
	update.Add(nginx, Endpoint{Host: "web-0", Addr: reused})
	steps := planFor(update)
	if len(steps) != 2 || steps[0].service.name != "nginx" || steps[1].service.name != "mariadb" {
		t.Fatalf("the plan is %v", steps)
	}
	if addrs := steps[0].build().hostByLabel([]byte("web-0")).addrs(); !addrs.has(reused) {
		t.Errorf("web-0 has no address for a moment")
	}
}

// A service that is deleted and made anew in one update, in which it exchanges
// addresses with another one, keeps what it has before and after.
func TestPlanKeepsRecreated(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	web, other := NewPortList([]Port{{"web", "tcp", 80}}), NewPortList([]Port{{"web", "tcp", 81}})
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Create(mariadb)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: web})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: web})
	update.Add(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
	update.Commit()

	update = trie.Update()
	update.Delete(nginx)
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: web})
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: web})   // another endpoint
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: other}) // a new port
	update.Add(nginx, Endpoint{Host: "web-2", Addr: ipv4(2), Ports: web})
	update.Remove(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
	update.Add(mariadb, Endpoint{Host: "db-1", Addr: ipv4(1)})
	steps := planFor(update)
	if len(steps) != 3 || steps[0].service.name != "nginx" {
		t.Fatalf("the plan is %v", steps)
	}
	between := steps[0].build()
	if h := between.hostByLabel([]byte("web-0")); between.hosts.n != 1 || h == nil {
		t.Fatalf("between, there are %d hosts", between.hosts.n)
	}
	if p := between.portNamed([]byte("tcp"), []byte("web")); p == nil || p.set.len() != 1 || p.set.first().port() != 80 {
		t.Errorf("between, the port is %+v", p)
	} else if p.endpoints != 1 {
		t.Errorf("between, %d endpoints have the port", p.endpoints)
	}
}

// The reverse index is published after the services. Between the two, an address
// that a service lost has no name any more.
func TestIndexBehind(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(1)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Commit()

	update = trie.Update()
	update.Remove(nginx, Endpoint{Host: "web-0", Addr: ipv4(1)})
	p := update.pending[0]
	p.change.sum()
	p.service.snapshot.Store(p.base.with(&p.change))
	if node, result := trie.FindAddr(ipv4(1)); result != Outside {
		t.Errorf("the address is still %v", node.names)
	}
	if _, result := trie.FindAddr(ipv4(2)); result != Found {
		t.Errorf("the other address is %v", result)
	}

	update = trie.Update()
	update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(3)})
	p = update.pending[0]
	p.change.sum()
	p.service.snapshot.Store(p.base.with(&p.change))
	if node, result := trie.FindAddr(ipv4(2)); result != Outside {
		t.Errorf("the address that web-1 had is still %v", node.names)
	}
}

// An update keeps nothing of what it changed, and after a large one nothing of
// its memory.
func TestUpdateForgets(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	web0 := Endpoint{Host: "web-0", Addr: ipv4(1), Ports: universePorts[1]}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Add(nginx, web0)
	update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Commit()
	if trie.update == nil || len(trie.update.pending)+len(trie.update.created)+len(trie.update.changed) > 0 {
		t.Fatalf("the update holds %+v", trie.update)
	}
	checkRecycled(t, trie.update)

	// The lists of a service are large, and those of the index.
	update = trie.Update()
	for i := range maxSpare / 8 {
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(i), Ports: universePorts[4]})
		update.Add(nginx, Endpoint{Host: "web-0", Withheld: NotReady})
		update.Add(nginx, Endpoint{Host: "web-1", Withheld: NotReady})
		update.Remove(nginx, Endpoint{Host: "web-1", Withheld: NotReady})
	}
	update.Commit()
	checkRecycled(t, trie.update)
	update = trie.Update()
	update.Delete(nginx)
	update.Commit()
	checkRecycled(t, trie.update)
	update = trie.Update()
	update.Create(nginx)
	update.Commit()

	update = trie.Update()
	for range maxSpare {
		update.Add(nginx, web0)
	}
	update.Commit()
	if trie.update != nil {
		t.Errorf("the memory of %d changes is kept", maxSpare)
	}

	// One that is not committed is as if it had not been.
	trie.Update().Delete(nginx)
	if n := trie.Update().Commit(); n != 0 {
		t.Errorf("%d services were published", n)
	}
}

// shape is a batch in which services take addresses from each other: n is its
// size, and before and after name a host of a service that has the address then.
type shape struct {
	what          string
	circles       int // services that have two steps, at most
	before, after func(n int, has func(service, host, addr int))
	recreated     func(service int) bool
}

const many = math.MaxInt // as many as there are

var shapes = []shape{
	{
		what:    "two services exchange their pods",
		circles: 1,
		before:  func(n int, has func(_, _, _ int)) { two(n, 0, has) },
		after:   func(n int, has func(_, _, _ int)) { two(n, 1, has) },
	},
	{
		what:      "two services exchange their pods, one is created anew",
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
		what:      "a ring of services that are created anew",
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

// update returns an update of a new trie from before to after, with the number
// of addresses lost and gained. Its services are named in the order given.
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

// TestPlanShapes holds how many steps a plan has, and how much it looks at: in
// proportion to the addresses lost and gained, whoever gets them from whom.
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
					t.Errorf("%s, of %d: %d services have two steps, at most %d", s.what, n, twice, s.circles)
				}
				if most := 3*moves + 3*len(changed); p.visits > most {
					t.Errorf("%s, of %d: %d losers visited, at most %d", s.what, n, p.visits, most)
				}
				if t.Failed() {
					t.Fatalf("%s, of %d, in the order %v", s.what, n, order)
				}
				rng.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
			}
		}
	}
}

// TestPlanBudget holds what a plan allocates for each address lost or gained,
// where many services have one address and where two services have many.
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
				t.Errorf("%s, of %d: the plan allocates %d bytes for each, at most 256", s.what, n, each)
			}
		}
	}
}

// A plan goes along the longest chain without a recursion.
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
		t.Errorf("%d services are published in %d steps, with %d losers visited", n, len(p.steps), p.visits)
	}
}

// forgotten checks that the memory of an update is small and empty.
func checkRecycled(t *testing.T, u *Update) {
	t.Helper()
	if u == nil {
		t.Fatal("the memory of the update is not kept")
	}
	checkReusable(t, u.entries4)
	checkReusable(t, u.entries6)
	for _, p := range u.spare {
		checkReusable(t, p.change.hosts)
		checkReusable(t, p.change.ports)
		checkReusable(t, p.change.withheld)
		p := *p
		p.change = change{}
		if !reflect.DeepEqual(p, pending{}) {
			t.Errorf("the memory for another service has %+v", p)
		}
	}
}

func checkReusable[T comparable](t *testing.T, list []T) {
	t.Helper()
	if cap(list) > maxSpareList {
		t.Errorf("a list has room for %d", cap(list))
	}
	var none T
	if i := slices.IndexFunc(list[:cap(list)], func(x T) bool { return x != none }); i >= 0 {
		t.Errorf("a list has %+v", list[:cap(list)][i])
	}
}
