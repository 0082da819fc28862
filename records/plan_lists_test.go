package records

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// TestPlanKeepsLists checks the interim snapshot of a service that exchanges addresses
// with another. A host whose ports change keeps its old ones if a list is long.
func TestPlanKeepsLists(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	long, longer := manyPorts(17), manyPorts(18)
	for _, test := range []struct {
		what          string
		before, after *PortList
		want          int // SRV records of web-0
	}{
		{"the same list", long, long, 17},
		{"another list", long, longer, 17},
		{"from short to long", universePorts[4], long, 2},
		{"from long to short", long, universePorts[4], 17},
		{"from long to none", long, nil, 0},
		{"from none to long", nil, long, 0},
	} {
		trie := New()
		update := trie.Update()
		update.Create(nginx)
		update.Create(mariadb)
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: test.before})
		update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: long})
		update.Add(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
		update.Commit()

		update = trie.Update()
		update.Remove(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: test.before})
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: test.after})
		update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: long})
		update.Add(nginx, Endpoint{Host: "web-2", Addr: ipv4(2), Ports: longer})
		update.Remove(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
		update.Add(mariadb, Endpoint{Host: "db-1", Addr: ipv4(1)})
		steps := planFor(update)
		if len(steps) != 3 || steps[0].service.name != "nginx" {
			t.Fatalf("%s: the plan is %v, want nginx twice", test.what, steps)
		}
		steps[0].service.snapshot.Store(steps[0].build())
		for host, want := range map[string]int{"web-0": test.want, "web-1": 0, "web-2": 0} {
			if _, records, _ := lookup(trie, host+".nginx.default.svc.cluster.local.", dns.TypeSRV); len(records) != want {
				t.Errorf("%s: in the interim, %s has %q, want %d records", test.what, host, records, want)
			}
		}
	}
}

// TestPlanKeepsRecreatedLists checks that a service that is deleted and created again has
// in its interim snapshot the long lists that it has before and after.
func TestPlanKeepsRecreatedLists(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	long, longer := manyPorts(17), manyPorts(18)
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Create(mariadb)
	for i := range 3 {
		update.Add(nginx, Endpoint{Host: fmt.Sprint("web-", i), Addr: ipv4(i), Ports: long})
	}
	update.Add(mariadb, Endpoint{Host: "db-0", Addr: ipv4(3)})
	update.Commit()

	update = trie.Update()
	update.Delete(nginx)
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: manyPorts(17)})
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: manyPorts(17)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: longer})
	update.Add(nginx, Endpoint{Host: "web-3", Addr: ipv4(3), Ports: long})
	update.Remove(mariadb, Endpoint{Host: "db-0", Addr: ipv4(3)})
	update.Add(mariadb, Endpoint{Host: "db-1", Addr: ipv4(2)})
	steps := planFor(update)
	if len(steps) != 3 || steps[0].service.name != "nginx" {
		t.Fatalf("the plan is %v, want nginx twice", steps)
	}
	steps[0].service.snapshot.Store(steps[0].build())
	for host, want := range map[string]int{"web-0": 17, "web-1": 0, "web-2": 0, "web-3": 0} {
		_, records, _ := lookup(trie, host+".nginx.default.svc.cluster.local.", dns.TypeSRV)
		if len(records) != want || want > 0 && records[0] != "0 5 1 web-0.nginx.default.svc.cluster.local." {
			t.Errorf("in the interim, %s has %q, want %d records", host, records, want)
		}
	}
}
