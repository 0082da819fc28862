package records

import (
	"net/netip"
	"testing"
)

func TestCommit(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	web0 := Endpoint{Host: "web-0", Hostname: true, Addr: netip.MustParseAddr("10.244.0.1"), Ports: universePorts[1]}
	web1 := Endpoint{Host: "web-1", Hostname: true, Addr: netip.MustParseAddr("10.244.0.2"), Ports: universePorts[1]}
	trie := New()
	for _, step := range []struct {
		what   string
		update func(*Update)
		want   int // services published
	}{
		{"two services come", func(u *Update) { u.Create(nginx); u.Create(mariadb); u.Add(nginx, web0); u.Add(nginx, web1) }, 2},
		{"nothing", func(*Update) {}, 0},
		{"a service is created again", func(u *Update) { u.Create(nginx) }, 0},
		{"an endpoint leaves and comes back", func(u *Update) { u.Remove(nginx, web0); u.Add(nginx, web0) }, 0},
		{"several endpoints of one service change", func(u *Update) { u.Remove(nginx, web0); u.Remove(nginx, web1) }, 1},
		{"an endpoint is known twice", func(u *Update) { u.Add(nginx, web0); u.Add(nginx, web0) }, 1},
		{"it is known once less", func(u *Update) { u.Remove(nginx, web0) }, 1},
		{"a service that is not there leaves", func(u *Update) { u.Delete(ServiceKey{"none", "none"}) }, 0},
		{"an endpoint of a service that is not there comes", func(u *Update) { u.Add(ServiceKey{"none", "none"}, web0) }, 0},
		{"a service comes and leaves", func(u *Update) {
			key := ServiceKey{"none", "none"}
			u.Create(key)
			u.Add(key, web0)
			u.Delete(key)
		}, 0},
		{"services leave", func(u *Update) { u.Delete(nginx); u.Delete(mariadb) }, 2},
	} {
		update := trie.Update()
		step.update(update)
		if got := update.Commit(); got != step.want {
			t.Errorf("%s: %d services are published, want %d", step.what, got, step.want)
		}
	}
}
