package records

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestPlan checks the steps of random updates. No address may be at a name that it leaves
// and, at the same time, at a name of another service that it enters.
func TestPlan(t *testing.T) {
	moved, exchanged := 0, 0
	for seed := range uint64(400) {
		u := universe{Rand: rand.New(rand.NewPCG(seed, 3)), long: seed%2 == 1, zonal: seed%4 > 1, external: map[ServiceKey]bool{}, clusterset: seed >= 300}
		trie, o := u.trie(), oracle{}
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
		t.Errorf("%d addresses moved and %d services exchanged addresses, want some of both", moved, exchanged)
	}
}

// planFor returns the steps that the commit of an update would publish.
func planFor(update *Update) []step {
	update.netChanges()
	return plan(update.changed)
}

// hostName is a host of a service within an update.
type hostName struct {
	service *pending
	host    string
}

// hostNames returns the names of each address in a snapshot of the service.
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

// checkSteps checks the invariants of a plan. It returns how many addresses move from one
// service to another.
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
		p, published := of[s.service], s.build()
		checkTargets(t, published)
		checkClusters(t, published)
		before := now[p]
		now[p], last[p] = p.hostNames(published), s
		if count[p]++; count[p] > 2 {
			t.Errorf("%v has %d steps", p.key, count[p])
		}
		if host, addr, ok := p.missingAddr(published); ok {
			t.Errorf("%s of %v lacks %v in the interim", host, p.key, addr)
		}
		if target, ok := p.missingTarget(published); ok {
			t.Errorf("%v lacks the target %s in the interim", p.key, target)
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
						t.Errorf("%v enters %s of %v before it leaves %s of %v", a, n.host, p.key, l.host, l.service.key)
					}
				}
			}
		}
	}
	for _, p := range changed {
		if s, ok := last[p]; !ok || s.interim {
			t.Errorf("the last step of %v does not publish its next snapshot", p.key)
		}
	}
	return moved
}

// missingAddr returns an address that a host has before and after the update, but not in
// the snapshot now.
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

// missingTarget returns a target that the service has before and after the update, but not in the
// snapshot now, although the host is there.
func (p *pending) missingTarget(now *snapshot) (target string, ok bool) {
	if !p.existed || !p.exists {
		return "", false
	}
	targets := func(s *snapshot) map[string]string {
		out := map[string]string{}
		node := Node{snapshot: s}
		_, all := node.uniqueTargets()
		for h, port := range all {
			out[fmt.Sprint(h.label, ":", port)] = h.label
		}
		return out
	}
	before, next, is := targets(p.old), targets(p.next), targets(now)
	for target, host := range before {
		if next[target] != "" && is[target] == "" && now.hostByLabel([]byte(host)) != nil {
			return target, true
		}
	}
	return "", false
}

// checkTargets checks that each SRV record of the service and of its ports points to a
// host of the snapshot, which a reader may find between two steps.
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
				t.Errorf("an SRV record points to %s, which has no address", host)
			}
		}
	}
}

// TestPlanKeepsNames replaces a pod under its name, and gives its address to a pod of
// another service in the same update. The first name must always have an address.
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
		t.Fatalf("the plan is %v, want nginx before mariadb", steps)
	}
	if addrs := steps[0].build().hostByLabel([]byte("web-0")).addrs(); !addrs.has(reused) {
		t.Errorf("after the first step, web-0 lacks %v", reused)
	}
}

// TestPlanKeepsRecreated deletes a service and creates it again in one update, in which it
// exchanges addresses with another. The interim snapshot must have what the service has
// before and after.
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
	interim := steps[0].build()
	if h := interim.hostByLabel([]byte("web-0")); interim.hosts.n != 1 || h == nil {
		t.Fatalf("the interim snapshot has %d hosts, want web-0 alone", interim.hosts.n)
	}
	if p := interim.portNamed([]byte("tcp"), []byte("web")); p == nil || p.set.len() != 1 || p.set.first().port() != 80 {
		t.Errorf("in the interim, the port is %+v", p)
	} else if p.endpoints != 1 {
		t.Errorf("in the interim, %d endpoints have the port, want 1", p.endpoints)
	}
}

// TestPlanKeepsAddressed is TestPlanKeepsRecreated for a host whose pod becomes ready: it keeps its
// address, and the service has none before the host is ready.
func TestPlanKeepsAddressed(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	for _, recreated := range []bool{false, true} {
		trie := New()
		update := trie.Update()
		update.Create(nginx)
		update.Create(mariadb)
		early, ready := Endpoint{Host: "web-0", Addr: ipv4(0), Withheld: NotReady, Addressed: true}, Endpoint{Host: "web-0", Addr: ipv4(0)}
		update.Add(nginx, early)
		update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(1)})
		update.Add(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
		update.Commit()

		update = trie.Update()
		if recreated {
			update.Delete(nginx)
			update.Create(nginx)
		} else {
			update.Remove(nginx, early)
			update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(1)})
		}
		update.Add(nginx, ready)
		update.Add(nginx, Endpoint{Host: "web-2", Addr: ipv4(2)})
		update.Remove(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
		update.Add(mariadb, Endpoint{Host: "db-1", Addr: ipv4(1)})
		steps := planFor(update)
		if len(steps) != 3 || steps[0].service.name != "nginx" {
			t.Fatalf("recreated %v: the plan is %v", recreated, steps)
		}
		interim := steps[0].build()
		if h := interim.hostByLabel([]byte("web-0")); interim.hosts.n != 1 || h == nil || h.one[0].key.addr() != ipv4(0).As4() {
			t.Errorf("recreated %v: the interim snapshot has %d hosts, and web-0 is %v", recreated, interim.hosts.n, h)
		}
		if n := interim.allAddrs.v4.len(); n != 0 {
			t.Errorf("recreated %v: in the interim, the service has %d addresses, want none", recreated, n)
		}
	}
}

// TestPlanMovesAtOnce checks that a service that gains an address comes just after the one
// that loses it, because the address has no name in between.
func TestPlanMovesAtOnce(t *testing.T) {
	const n = 10
	key := func(s int) ServiceKey { return ServiceKey{"default", fmt.Sprint("s-", s)} }
	trie := New()
	update := trie.Update()
	for s := range 2 * n {
		update.Create(key(s))
	}
	for s := range n {
		update.Add(key(s), Endpoint{Host: "web-0", Addr: ipv4(s)})
	}
	update.Commit()
	update = trie.Update()
	for s := range n {
		update.Remove(key(s), Endpoint{Host: "web-0", Addr: ipv4(s)})
	}
	for s := range n {
		update.Add(key(n+s), Endpoint{Host: "web-0", Addr: ipv4(s)})
	}
	steps := plan(update.netChanges())
	for i := 0; i < len(steps); i += 2 {
		if loser, gainer := steps[i].service.name, steps[i+1].service.name; loser != fmt.Sprint("s-", i/2) || gainer != fmt.Sprint("s-", n+i/2) {
			t.Errorf("steps %d and %d are of %s and %s, want s-%d and s-%d", i, i+1, loser, gainer, i/2, n+i/2)
		}
	}
}
