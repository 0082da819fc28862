package records

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestPortions publishes a large commit as Commit does. The snapshots of a portion must
// be the only ones built, and must be released before the next portion.
func TestPortions(t *testing.T) {
	trie := New()
	update := trie.Update()
	pod := func(s, i int) (ServiceKey, Endpoint) {
		return ServiceKey{"default", fmt.Sprint("s-", s)}, Endpoint{Host: fmt.Sprint("web-", i), Addr: ipv4(7*s + i)}
	}
	sizes := make([]int, 3000)
	for s := range sizes {
		if sizes[s] = s % 4; s == 1000 {
			sizes[s] = 4 * portionSize
		}
		for i := range sizes[s] {
			key, e := pod(s, i)
			update.Create(key)
			update.Add(key, e)
		}
	}
	update.Commit()
	update = trie.Update()
	for s := range sizes { // every address moves to the next service
		for i := range sizes[s] {
			key, e := pod(s, i)
			update.Remove(key, e)
			key.Name = fmt.Sprint("s-", s+1)
			update.Create(key)
			update.Add(key, e)
		}
	}
	changed := update.netChanges()
	steps, portions := plan(changed), 0
	for rest := steps; len(rest) > 0; portions++ {
		n, size := portionOf(rest), 0
		for _, s := range rest[:n] {
			size += s.cost()
		}
		if n == 0 || size > portionSize && n > 1 {
			t.Fatalf("portion %d has %d steps that cost %d", portions, n, size)
		}
		for _, s := range steps {
			if s.next != nil {
				t.Fatalf("before portion %d, %s has its next snapshot", portions, s.key.Name)
			}
		}
		update.publish(rest[:n])
		for _, s := range rest[:n] {
			if !s.interim && (s.old != nil || s.base != nil || s.next != nil || cap(s.change.hosts) > maxSpareList) {
				t.Fatalf("after portion %d, %s keeps its snapshots", portions, s.key.Name)
			}
		}
		rest = rest[n:]
	}
	update.removeEmptied()
	if node, result := trie.FindAddr(ipv4(7 * 999)); result != Found || node.names[0].service.name != "s-1000" {
		t.Errorf("the lookup of an address that moved is %v", result)
	}
}

// TestPublishAll checks the number of portions of a commit.
func TestPublishAll(t *testing.T) {
	for _, test := range []struct{ services, pods, size, want int }{
		{1, 5000, 2048, 1},
		{1000, 1, 2048, 1},
		{2000, 1, 2048, 2}, // a service costs one, and so does its endpoint
		{2000, 1, 1, 2000},
		{0, 0, 1, 0},
	} {
		setPortionSize(t, test.size)
		update := New().Update()
		for s := range test.services {
			key := ServiceKey{"default", fmt.Sprint("s-", s)}
			update.Create(key)
			for i := range test.pods {
				update.Add(key, Endpoint{Host: fmt.Sprint("web-", i), Addr: ipv4(i)})
			}
		}
		if got := update.publishAll(plan(update.netChanges())); got != test.want {
			t.Errorf("%d services of %d pods are published in %d portions of cost %d, want %d", test.services, test.pods, got, test.size, test.want)
		}
	}
}

// TestDeletedCost checks that a deleted service costs as much as it has hosts.
func TestDeletedCost(t *testing.T) {
	trie := New()
	key := func(s int) ServiceKey { return ServiceKey{"default", fmt.Sprint("s-", s)} }
	for s := range 3 {
		update := trie.Update()
		update.Create(key(s))
		for i := range portionSize/2 + 1 {
			update.Add(key(s), Endpoint{Host: fmt.Sprint("web-", i), Addr: ipv4(i)})
		}
		update.Commit()
	}
	update := trie.Update()
	for s := range 3 {
		update.Delete(key(s))
	}
	if got := update.publishAll(plan(update.netChanges())); got != 3 {
		t.Errorf("three services are deleted in %d portions, want 3", got)
	}
}

// TestAddressedCost checks that a ready pod that hides many others costs as much as they do.
func TestAddressedCost(t *testing.T) {
	const n = 20
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		update.Add(key, Endpoint{Host: "web-0", Addr: ipv4(i), Withheld: NotReady, Addressed: true})
	}
	update.Commit()
	update = trie.Update()
	update.Add(key, Endpoint{Host: "web-0", Addr: ipv4(n)})
	if got := update.netChanges()[0].cost(); got < 2*n {
		t.Errorf("the cost is %d, want at least %d", got, 2*n)
	}
}

// TestNamesAbove checks that a name with others below it before and after a commit also
// exists between its portions.
func TestNamesAbove(t *testing.T) {
	setPortionSize(t, 1)
	blue, green, away := ServiceKey{"shop", "blue"}, ServiceKey{"shop", "green"}, ServiceKey{"away", "blue"}
	one, two := Endpoint{Host: "web-0", Addr: ipv4(1)}, Endpoint{Host: "web-0", Addr: netip.MustParseAddr("fd00::1")}
	for _, test := range []struct {
		what   string
		change func(*Update)
		gone   string // a namespace that is empty after the commit
	}{
		{"pods move", func(u *Update) {
			for _, e := range []Endpoint{one, two} {
				u.Remove(blue, e)
				u.Add(green, e)
			}
		}, ""},
		{"a service is renamed", func(u *Update) {
			u.Delete(blue)
			u.Delete(green)
			for _, e := range []Endpoint{one, two} {
				u.Create(ServiceKey{"shop", "red"})
				u.SetExternal(ServiceKey{"shop", "red"}, true)
				u.Add(ServiceKey{"shop", "red"}, e)
			}
		}, ""},
		{"services exchange their pods", func(u *Update) {
			u.Remove(blue, one)
			u.Add(green, one)
			u.Remove(green, Endpoint{Host: "db-0", Addr: ipv4(2)})
			u.Add(blue, Endpoint{Host: "db-0", Addr: ipv4(2)})
		}, ""},
		{"a service moves to another namespace", func(u *Update) {
			u.Delete(blue)
			u.Delete(green)
			u.Create(away)
			u.SetExternal(away, true)
			u.Add(away, one)
			u.Add(away, two)
		}, "shop"},
	} {
		trie := New()
		trie.EnableCovers()
		update := trie.Update()
		update.Create(blue)
		update.Create(green)
		update.SetExternal(blue, true)
		update.SetExternal(green, true)
		update.Add(blue, one)
		update.Add(blue, two)
		if test.what == "services exchange their pods" {
			update.Add(green, Endpoint{Host: "db-0", Addr: ipv4(2)})
		}
		update.Commit()
		update = trie.Update()
		test.change(update)
		check := func(after int) {
			t.Helper()
			if !trie.HasNamespace(clusterLocal, []byte("shop")) {
				t.Errorf("%s: after %d portions, the namespace is missing", test.what, after)
			}
			if !trie.HasNamespace(exampleOrg, []byte("shop")) {
				t.Errorf("%s: after %d portions, the namespace is missing in the external zone", test.what, after)
			}
			if trie.Empty() {
				t.Errorf("%s: after %d portions, the trie is empty", test.what, after)
			}
			for _, prefix := range []string{"10.0.0.0/8", "fd00::/16"} {
				if !trie.Covers(netip.MustParsePrefix(prefix)) {
					t.Errorf("%s: after %d portions, no address is in %s", test.what, after, prefix)
				}
			}
		}
		portions := 0
		for steps := plan(update.netChanges()); len(steps) > 0; {
			n := portionOf(steps)
			update.publish(steps[:n])
			steps = steps[n:]
			portions++
			check(portions)
		}
		update.removeEmptied()
		if portions < 2 {
			t.Errorf("%s: there are %d portions, want several", test.what, portions)
		}
		if test.gone == "" {
			check(portions)
		} else if trie.HasNamespace(exampleOrg, []byte(test.gone)) || namespaceOf(trie.external.namespaces.Load(), []byte(test.gone)) != nil {
			t.Errorf("%s: after the commit, the namespace exists in the external zone", test.what)
		} else if trie.HasNamespace(clusterLocal, []byte(test.gone)) || namespaceOf(trie.all.namespaces.Load(), []byte(test.gone)) != nil {
			t.Errorf("%s: after the commit, the namespace exists", test.what)
		}
		update = trie.Update()
		for _, key := range []ServiceKey{blue, green, {"shop", "red"}, away} {
			update.Delete(key)
		}
		update.Commit()
		if n := trie.external.namespaces.Load().n; n != 0 || trie.external.populated.Load() != 0 {
			t.Errorf("%s: a trie without services has %d namespaces with external ones", test.what, n)
		}
		if !trie.Empty() || trie.all.namespaces.Load().n != 0 || trie.Covers(netip.MustParsePrefix("0.0.0.0/0")) || trie.Covers(netip.MustParsePrefix("::/0")) {
			t.Errorf("%s: a trie without services has %d namespaces", test.what, trie.all.namespaces.Load().n)
		}
	}
}
