package records

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestPlan goes through the steps of random updates: no address may be at a name
// that it leaves and, at the same time, at a name that it enters.
func TestPlan(t *testing.T) {
	moved, exchanged := 0, 0
	for seed := range uint64(300) {
		u := universe{rand.New(rand.NewPCG(seed, 3))}
		trie, o := New(), oracle{}
		for range 20 {
			update := trie.Update()
			draw(u, update, o)
			var changed []*pending
			now := map[*service]*snapshot{}
			for _, p := range update.order {
				if p.change.net(); p.exists || p.existed {
					p.next = p.base.with(&p.change)
					changed = append(changed, p)
					now[p.service] = p.before
				}
			}
			steps := plan(changed)
			if len(steps) > len(changed) {
				exchanged++
			}
			for _, s := range steps {
				now[s.service] = s.next
				for _, p := range changed {
					if host, addr, ok := p.absent(now[p.service]); ok {
						t.Fatalf("seed %d: %s of %v is without %v for a moment", seed, host, p.key, addr)
					}
					for a := range p.next.all.each {
						if p.before.holds(a) || !now[p.service].holds(a) {
							continue // it does not enter p, or not yet
						}
						for _, q := range changed {
							if q != p && q.before.holds(a) && !q.next.holds(a) {
								moved++
								if now[q.service].holds(a) {
									t.Fatalf("seed %d: %v is at %v and %v", seed, a, q.key, p.key)
								}
							}
						}
					}
				}
			}
			for _, p := range changed {
				if now[p.service] != p.next {
					t.Fatalf("seed %d: the last state of %v is not its next", seed, p.key)
				}
			}
			for _, p := range changed {
				p.state = unvisited // Commit plans again
			}
			update.Commit()
		}
	}
	if moved == 0 || exchanged == 0 {
		t.Errorf("%d addresses moved, %d services exchanged some: the test tests nothing", moved, exchanged)
	}
}

// absent returns an address that a host has before and after an update, but not now.
func (p *pending) absent(now *snapshot) (host string, addr netip.Addr, ok bool) {
	if !p.existed || !p.exists {
		return "", netip.Addr{}, false
	}
	has := func(s *snapshot, host string, a netip.Addr) bool {
		h := s.host([]byte(host))
		if h == nil {
			return false
		}
		addrs := h.addrs()
		return addrs.has(a)
	}
	for h := range p.next.hosts.all {
		addrs := h.addrs()
		for a := range addrs.each {
			if has(p.before, h.label, a) && !has(now, h.label, a) {
				return h.label, a, true
			}
		}
	}
	return "", netip.Addr{}, false
}

func (s *snapshot) holds(a netip.Addr) bool { return s.all.has(a) }

// A pod that is replaced under its name, and a pod of another service that gets
// its address, in one update: the first name changes over without a moment of
// absence.
func TestPlanKeepsNames(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	trie := New()
	old, reused := addr4th(1), addr4th(2)
	update := trie.Update()
	update.Create(nginx)
	update.Create(mariadb)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: old})
	update.Commit()

	update = trie.Update()
	update.Add(mariadb, Endpoint{Host: "db-0", Addr: old})
	update.Remove(nginx, Endpoint{Host: "web-0", Addr: old})
	update.Add(nginx, Endpoint{Host: "web-0", Addr: reused})
	steps := planOf(update)
	if len(steps) != 2 || steps[0].service.name != "nginx" || steps[1].service.name != "mariadb" {
		t.Fatalf("the plan is %v", steps)
	}
	if addrs := steps[0].next.host([]byte("web-0")).addrs(); !addrs.has(reused) {
		t.Errorf("web-0 has no address for a moment")
	}
}

// planOf is what the commit of an update would publish.
func planOf(update *Update) []step {
	for _, p := range update.order {
		p.change.net()
		p.next = p.base.with(&p.change)
	}
	return plan(update.order)
}

// A service that is deleted and made anew in one update, in which it exchanges
// addresses with another one, keeps what it has before and after.
func TestPlanKeepsRecreated(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	web, other := []Port{{Name: "web", Protocol: "tcp", Number: 80}}, []Port{{Name: "web", Protocol: "tcp", Number: 81}}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Create(mariadb)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: addr4th(0), Ports: web})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: addr4th(1), Ports: web})
	update.Add(mariadb, Endpoint{Host: "db-0", Addr: addr4th(2)})
	update.Commit()

	update = trie.Update()
	update.Delete(nginx)
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: addr4th(0), Ports: web})
	update.Add(nginx, Endpoint{Host: "web-0", Addr: addr4th(0), Ports: other}) // a new port
	update.Add(nginx, Endpoint{Host: "web-2", Addr: addr4th(2), Ports: web})
	update.Remove(mariadb, Endpoint{Host: "db-0", Addr: addr4th(2)})
	update.Add(mariadb, Endpoint{Host: "db-1", Addr: addr4th(1)})
	steps := planOf(update)
	if len(steps) != 3 || steps[0].service.name != "nginx" {
		t.Fatalf("the plan is %v", steps)
	}
	between := steps[0].next
	if h := between.host([]byte("web-0")); between.hosts.n != 1 || h == nil {
		t.Fatalf("between, there are %d hosts", between.hosts.n)
	}
	if p := between.port([]byte("tcp"), []byte("web")); p == nil || p.set.len() != 1 || p.set.first().port() != 80 {
		t.Errorf("between, the port is %+v", p)
	}
}

// The reverse index is published after the services. Between the two, an address
// that a service lost has no name any more.
func TestIndexBehind(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: addr4th(1)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: addr4th(2)})
	update.Commit()

	update = trie.Update()
	update.Remove(nginx, Endpoint{Host: "web-0", Addr: addr4th(1)})
	p := update.order[0]
	p.change.net()
	p.service.snapshot.Store(p.base.with(&p.change))
	if node, result := trie.FindAddr(addr4th(1)); result != Outside {
		t.Errorf("the address is still %v", node.owners)
	}
	if _, result := trie.FindAddr(addr4th(2)); result != Found {
		t.Errorf("the other address is %v", result)
	}

	update = trie.Update()
	update.Remove(nginx, Endpoint{Host: "web-1", Addr: addr4th(2)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: addr4th(3)})
	p = update.order[0]
	p.change.net()
	p.service.snapshot.Store(p.base.with(&p.change))
	if node, result := trie.FindAddr(addr4th(2)); result != Outside {
		t.Errorf("the address that web-1 had is still %v", node.owners)
	}
}

// An update keeps nothing of what it changed, and after a large one nothing of
// its memory.
func TestUpdateForgets(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	web0 := Endpoint{Host: "web-0", Addr: addr4th(1), Ports: universePorts[1]}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Add(nginx, web0)
	update.Commit()
	if trie.update == nil || len(trie.update.order)+len(trie.update.services)+len(trie.update.changed) > 0 {
		t.Fatalf("the update holds %+v", trie.update)
	}
	for _, p := range trie.update.spare {
		if p.service != nil || p.before != nil || p.base != nil || p.next != nil || p.exists || p.existed {
			t.Errorf("the memory for another service holds %+v", p)
		}
		if hosts := p.change.hosts[:cap(p.change.hosts)]; hosts[0] != (delta[hostAddr]{}) {
			t.Errorf("the memory for another change holds %+v", hosts)
		}
	}

	update = trie.Update()
	for range spareSize {
		update.Add(nginx, web0)
	}
	update.Commit()
	if trie.update != nil {
		t.Errorf("the memory of %d changes is kept", spareSize)
	}

	// One that is not committed is as if it had not been.
	trie.Update().Delete(nginx)
	if n := trie.Update().Commit(); n != 0 {
		t.Errorf("%d services were published", n)
	}
}
