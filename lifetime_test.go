package headless

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/coredns/caddy"
)

// TestReloadOrders reloads with every failure that another plugin or the server can
// cause, from and to Corefiles with the plugin, with other settings and without it.
// Which Corefile is in force afterwards is caddy's doing (Instance.Restart); it must
// be served by a source that is up to date, and nothing else may be left.
func TestReloadOrders(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	failures := []struct {
		fails string
		err   string
		stays bool // the old Corefile is in force
	}{
		{"", "", false},
		{"early restart", "early restart", true},
		{"late restart", "late restart", true},
		{"early setup", "early setup", true},
		{"late setup", "late setup", true},
		{"early startup", "early startup", true},
		{"late startup", "late startup", true},
		{"early panic in setup", "", true}, // caddy recovers, and returns no error
		{"late panic in setup", "", true},
		{"late panic in startup", "", true},
		{"listen", "address already in use", true},
		{"early shutdown", "early shutdown", false},
		{"late shutdown", "late shutdown", false},
	}
	for _, from := range []string{"", "none"} {
		for _, to := range []string{"", "labels app", "none"} {
			for _, f := range failures {
				t.Run(fmt.Sprintf("%q to %q, %s", from, to, f.fails), func(t *testing.T) {
					r := newRig(t)
					name, address := r.put()
					r.start(t, from)
					old := livingPlugins()
					input := r.corefile(to)
					if fails = f.fails; fails == "listen" {
						input = caddy.CaddyfileInput{Filepath: "Corefile", ServerTypeName: "dns", Contents: fmt.Appendf(input.Body(),
							"example.org:%s {\nbind 127.0.0.1\n}\n", portOf(taken.Addr()))}
					}
					next, err := r.instance.Restart(input)
					if fails = ""; f.err == "" && err != nil || f.err != "" && (err == nil || !strings.Contains(err.Error(), f.err)) {
						t.Fatalf("the reload returned %v, want %q", err, f.err)
					}
					if err == nil && !f.stays {
						r.instance = next
					}
					inForce := to
					if f.stays {
						inForce = from
					}
					if inForce == "none" {
						checkLiving(t, "after the reload", 0, 0)
					} else {
						checkLiving(t, "after the reload", 1, 2)
						if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
							t.Errorf("after the reload, %s has %s, want %s", name, got, address)
						}
						r.checkFed(t)
					}
					if f.stays {
						return
					}
					for _, h := range old {
						if to != from && h.serving() {
							t.Error("a plugin of the old Corefile still serves")
						}
					}
				})
			}
		}
	}
}

// TestReadyOfFailed checks that a plugin whose instance has failed to start answers for
// those that serve: the ready plugin goes on to ask it, if the old Corefile has none.
func TestReadyOfFailed(t *testing.T) {
	for _, from := range []string{"none", ""} {
		r := newRig(t)
		r.start(t, from)
		var failed []*Headless
		atStartup = func(string) { failed = livingPlugins() }
		fails = "late startup"
		r.reload(t, r.corefile("labels app"), fails)
		fails, atStartup = "", func(string) {}
		for _, h := range failed {
			if !h.Ready() {
				t.Errorf("from %q, a plugin that nobody asks any more is not ready", from)
			}
		}
		if len(failed) < 2 {
			t.Errorf("from %q, %d plugins were started", from, len(failed))
		}
		r.stop(t)
		r.api.Close()
	}
}

// TestLameduck checks that a server is fed until it ends: the health plugin waits while
// the process is told to end, and its servers answer meanwhile.
func TestLameduck(t *testing.T) {
	r := newRig(t)
	r.start(t, "")
	calls := 0
	atShutdown = func(name string) {
		if name == "early" {
			calls++
			r.checkFed(t)
		}
	}
	defer func() { atShutdown = func(string) {} }()
	r.instance.ShutdownCallbacks()
	if calls != 2 {
		t.Errorf("%d plugins were shut down, want 2", calls)
	}
	checkLiving(t, "when the process ends", 0, 0)
}

// TestReloadsInARow fails and succeeds again and again. The instance that serves
// must not gather callbacks.
func TestReloadsInARow(t *testing.T) {
	r := newRig(t)
	r.start(t, "none")
	for range 3 {
		fails = "late startup"
		r.reload(t, r.corefile(""), fails)
		fails = ""
		checkLiving(t, "after a failed reload", 0, 0)
	}
	if n, failed := len(r.instance.OnRestart), len(r.instance.OnRestartFailed); n != 1+2*2 || failed != 1 {
		t.Errorf("the instance has %d callbacks of a restart, 4 of them of others, and %d of one that failed, want 5 and 1", n, failed)
	}
	r.reload(t, r.corefile(""), "")
	for range 3 {
		fails = "early restart"
		r.reload(t, r.corefile(""), fails)
		fails = "early setup"
		r.reload(t, r.corefile("labels app"), fails)
		fails = ""
		r.reload(t, caddy.CaddyfileInput{Contents: []byte("bad {"), Filepath: "Corefile", ServerTypeName: "dns"}, "Corefile:1")
		checkLiving(t, "after failed reloads", 1, 2)
		r.checkFed(t)
		r.reload(t, r.corefile(""), "")
		checkLiving(t, "after a good reload", 1, 2)
		r.checkFed(t)
	}
}

// TestFirstStartFails checks that what a failed first start leaves is found by the
// next one, as caddy calls no callback for it.
func TestFirstStartFails(t *testing.T) {
	r := newRig(t)
	fails = "late startup"
	if _, err := caddy.Start(r.corefile("labels app")); err == nil {
		t.Fatal("the start succeeded")
	}
	fails = ""
	r.start(t, "")
	checkLiving(t, "after the second start", 1, 2)
}

// TestReloadWithoutAPIServer checks that a reload never answers worse than none.
func TestReloadWithoutAPIServer(t *testing.T) {
	const refused = "reload: not every kind of object was listed within startup_timeout, 500ms; the old Corefile stays in force"
	for _, test := range []struct {
		from, to string
		away     bool   // also at the start
		panics   bool   // a reload before this one
		want     string // error
	}{
		{from: "", to: "ttl 30"},
		{from: "", to: "labels app", want: refused},
		{from: "", to: "authoritative", want: refused},
		{from: "none", to: "", want: refused},
		{from: "", to: "labels app", away: true}, // there is nothing to lose
		{from: "", to: "labels app", away: true, panics: true},
		{from: "", to: "none"},
	} {
		t.Run(fmt.Sprintf("%q to %q, away at the start %t", test.from, test.to, test.away), func(t *testing.T) {
			r := newRig(t)
			name, address := r.put()
			if test.away {
				r.api.Close()
			}
			r.start(t, test.from)
			if !test.away {
				r.api.Close()
			}
			if test.panics { // caddy keeps the instance
				fails = "early panic in setup"
				if _, err := r.instance.Restart(r.corefile("none")); err != nil {
					t.Fatal(err)
				}
				fails = ""
			}
			r.reload(t, r.corefile(test.to), test.want)
			inForce := test.to
			if test.want != "" {
				inForce = test.from
			}
			if inForce == "none" {
				checkLiving(t, "without the plugin", 0, 0)
				return
			}
			if !test.away {
				checkLiving(t, "without the API server", 1, 2)
				if got := r.ask(name + ".nginx.default.svc.cluster.example."); got != address {
					t.Errorf("%s has %s, want %s", name, got, address)
				}
			}
			if err := r.api.Start(); err != nil {
				t.Fatal(err)
			}
			r.checkFed(t)
			checkLiving(t, "when the API server is back", 1, 2)
		})
	}
}

// TestReloadWithUnsyncedSource reloads a Corefile one of whose sources never synced.
// Nothing gets worse, so the reload succeeds.
func TestReloadWithUnsyncedSource(t *testing.T) {
	r := newRig(t)
	r.put()
	var err error
	if r.instance, err = caddy.Start(r.corefiles("", "kubeconfig testdata/nobody.kubeconfig")); err != nil {
		t.Fatal(err)
	}
	r.reload(t, r.corefiles("ttl 30", "kubeconfig testdata/nobody.kubeconfig"), "")
	r.reload(t, r.corefiles("ttl 30", "kubeconfig testdata/nobody.kubeconfig\nlabels app"), "reload: ")
	if n := len(livingPlugins()); n != 2 {
		t.Errorf("%d plugins live, want 2", n)
	}
}
