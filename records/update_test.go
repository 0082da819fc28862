package records

import (
	"net/netip"
	"testing"
)

// TestCommit checks how many services a commit publishes.
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
		{"two services are created", func(u *Update) { u.Create(nginx); u.Create(mariadb); u.Add(nginx, web0); u.Add(nginx, web1) }, 2},
		{"nothing changes", func(*Update) {}, 0},
		{"a service is created again", func(u *Update) { u.Create(nginx) }, 0},
		{"an endpoint is removed and added again", func(u *Update) { u.Remove(nginx, web0); u.Add(nginx, web0) }, 0},
		{"several endpoints of one service change", func(u *Update) { u.Remove(nginx, web0); u.Remove(nginx, web1) }, 1},
		{"an endpoint is added twice", func(u *Update) { u.Add(nginx, web0); u.Add(nginx, web0) }, 1},
		{"it is removed once", func(u *Update) { u.Remove(nginx, web0) }, 1},
		{"a service that does not exist is deleted", func(u *Update) { u.Delete(ServiceKey{"none", "none"}) }, 0},
		{"an endpoint is added to a service that does not exist", func(u *Update) { u.Add(ServiceKey{"none", "none"}, web0) }, 0},
		{"a service is created and deleted", func(u *Update) {
			key := ServiceKey{"none", "none"}
			u.Create(key)
			u.Add(key, web0)
			u.Delete(key)
		}, 0},
		{"services are deleted", func(u *Update) { u.Delete(nginx); u.Delete(mariadb) }, 2},
	} {
		update := trie.Update()
		step.update(update)
		if got := update.Commit(); got != step.want {
			t.Errorf("%s: %d services are published, want %d", step.what, got, step.want)
		}
	}
}
