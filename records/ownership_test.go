package records

import (
	"reflect"
	"slices"
	"testing"
)

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
