package records

import (
	"reflect"
	"slices"
	"testing"
)

// TestUpdateRecycled checks that a recycled update references no memory of the trie, and
// that the memory of a large one is freed.
func TestUpdateRecycled(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	web0 := Endpoint{Host: "web-0", Addr: ipv4(1), Ports: universePorts[1]}
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.SetExternal(nginx, true)
	update.Add(nginx, web0)
	update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(2)})
	update.Commit()
	if trie.update == nil || len(trie.update.pending)+len(trie.update.created)+len(trie.update.changed) > 0 {
		t.Fatalf("after the commit, the update has %+v", trie.update)
	}
	checkRecycled(t, trie.update)

	// The lists of one service and those of the reverse index are large.
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
		t.Errorf("the trie keeps the memory of %d changes", maxSpare)
	}

	// An update that is not committed changes nothing.
	trie.Update().Delete(nginx)
	if n := trie.Update().Commit(); n != 0 {
		t.Errorf("%d services are published, want none", n)
	}
}

// checkRecycled checks that the memory that the update keeps is small and empty.
func checkRecycled(t *testing.T, u *Update) {
	t.Helper()
	if u == nil {
		t.Fatal("the trie drops the memory of the update")
	}
	checkReusable(t, u.entries4)
	checkReusable(t, u.entries6)
	checkReusable(t, u.emptied)
	checkReusable(t, u.vacated)
	for _, p := range u.spare {
		checkReusable(t, p.change.hosts)
		checkReusable(t, p.change.ports)
		checkReusable(t, p.change.withheld)
		p := *p
		p.change = change{}
		if !reflect.DeepEqual(p, pending{}) {
			t.Errorf("the memory for the next service has %+v", p)
		}
	}
}

func checkReusable[T comparable](t *testing.T, list []T) {
	t.Helper()
	if cap(list) > maxSpareList {
		t.Errorf("the memory of a list has room for %d values, want at most %d", cap(list), maxSpareList)
	}
	var none T
	if i := slices.IndexFunc(list[:cap(list)], func(x T) bool { return x != none }); i >= 0 {
		t.Errorf("the memory of a list has %+v", list[:cap(list)][i])
	}
}
