package headless

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/coredns/caddy"
)

// TestReloadFailures reloads with every failure that another plugin or the server can cause. The
// old and the new Corefile have the plugin, the plugin with other settings, or not the plugin.
// Caddy decides which Corefile is in force afterwards (Instance.Restart). A source must keep
// that one up to date, and the other must leave nothing behind.
func TestReloadFailures(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	failures := []struct {
		fails string
		err   string
		stays bool // the old Corefile stays in force
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
					old := livePlugins()
					input := r.corefile(to)
					if fails = f.fails; fails == "listen" {
						input = caddy.CaddyfileInput{Filepath: "Corefile", ServerTypeName: "dns", Contents: fmt.Appendf(input.Body(),
							"example.org:%s {\nbind 127.0.0.1\n}\n", portOf(taken.Addr()))}
					}
					next, err := restart(r.instance, input)
					if fails = ""; f.err == "" && err != nil || f.err != "" && (err == nil || !strings.Contains(err.Error(), f.err)) {
						t.Fatalf("reload: got error %v, want %q", err, f.err)
					}
					if err == nil && !f.stays {
						r.instance = next
					}
					inForce := to
					if f.stays {
						inForce = from
					}
					if inForce == "none" {
						checkLive(t, "after the reload", 0, 0)
					} else {
						checkLive(t, "after the reload", 1, 2)
						if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
							t.Errorf("after the reload: %s: got %s, want %s", name, got, address)
						}
						r.checkUpToDate(t)
					}
					if f.stays {
						return
					}
					for _, h := range old {
						if to != from && h.serving() {
							t.Error("a plugin of the old Corefile is serving")
						}
					}
				})
			}
		}
	}
}

// TestReadyAfterFailedStart checks that a plugin whose instance failed to start reports whether
// the live plugins are ready. The ready plugin keeps asking it.
func TestReadyAfterFailedStart(t *testing.T) {
	for _, from := range []string{"none", ""} {
		r := newRig(t)
		r.start(t, from)
		var failed []*Headless
		atStartup = func(string) { failed = livePlugins() }
		fails = "late startup"
		r.reload(t, r.corefile("labels app"), fails)
		fails, atStartup = "", func(string) {}
		for _, h := range failed {
			if !h.Ready() {
				t.Errorf("from %q: a plugin of the failed instance is not ready", from)
			}
		}
		if len(failed) < 2 {
			t.Errorf("from %q: got %d plugins started, want at least 2", from, len(failed))
		}
		r.stop(t)
		r.api.Close()
	}
}

// TestLameduck checks that answers stay up to date until the process exits. The health plugin
// delays the exit, and the servers answer meanwhile.
func TestLameduck(t *testing.T) {
	r := newRig(t)
	r.start(t, "")
	calls := 0
	atShutdown = func(name string) {
		if name == "early" {
			calls++
			r.checkUpToDate(t)
		}
	}
	defer func() { atShutdown = func(string) {} }()
	r.instance.ShutdownCallbacks()
	if calls != 2 {
		t.Errorf("got %d plugins shut down, want 2", calls)
	}
	checkLive(t, "after the final shutdown", 0, 0)
}

// TestRepeatedReloads reloads many times, with and without failures. The instance that serves
// must not accumulate callbacks.
func TestRepeatedReloads(t *testing.T) {
	r := newRig(t)
	r.start(t, "none")
	for range 3 {
		fails = "late startup"
		r.reload(t, r.corefile(""), fails)
		fails = ""
		checkLive(t, "after a failed reload", 0, 0)
	}
	// The plugins early and late of two server blocks have one OnRestart each.
	if n, failed := len(r.instance.OnRestart), len(r.instance.OnRestartFailed); n != 1+2*2 || failed != 1 {
		t.Errorf("got %d callbacks OnRestart and %d OnRestartFailed, want 5 and 1", n, failed)
	}
	r.reload(t, r.corefile(""), "")
	for range 3 {
		fails = "early restart"
		r.reload(t, r.corefile(""), fails)
		fails = "early setup"
		r.reload(t, r.corefile("labels app"), fails)
		fails = ""
		r.reload(t, caddy.CaddyfileInput{Contents: []byte("bad {"), Filepath: "Corefile", ServerTypeName: "dns"}, "Corefile:1")
		checkLive(t, "after failed reloads", 1, 2)
		r.checkUpToDate(t)
		r.reload(t, r.corefile(""), "")
		checkLive(t, "after a reload", 1, 2)
		r.checkUpToDate(t)
	}
}

// TestFailedFirstStart checks that a start ends the lifetime that a failed first start left
// behind. Caddy calls no callback of the latter.
func TestFailedFirstStart(t *testing.T) {
	r := newRig(t)
	fails = "late startup"
	if _, err := caddy.Start(r.corefile("labels app")); err == nil {
		t.Fatal("the start succeeded")
	}
	fails = ""
	r.start(t, "")
	checkLive(t, "after the second start", 1, 2)
}

// TestReloadWithoutAPIServer checks that a reload never makes answers worse.
func TestReloadWithoutAPIServer(t *testing.T) {
	const refused = "reload: not every kind of object was listed within startup_timeout, 500ms; the old Corefile stays in force"
	for _, test := range []struct {
		from, to string
		apiDown  bool   // there is no API server at the start either
		panics   bool   // an earlier reload panics in a setup
		want     string // the error of the reload
	}{
		{from: "", to: "ttl 30"},
		{from: "", to: "labels app", want: refused},
		{from: "", to: "authoritative", want: refused},
		{from: "none", to: "", want: refused},
		{from: "", to: "labels app", apiDown: true}, // the old instance has nothing to serve
		{from: "", to: "labels app", apiDown: true, panics: true},
		{from: "", to: "none"},
	} {
		t.Run(fmt.Sprintf("%q to %q, no API server at the start %t", test.from, test.to, test.apiDown), func(t *testing.T) {
			r := newRig(t)
			name, address := r.put()
			if test.apiDown {
				r.api.Close()
			}
			r.start(t, test.from)
			if !test.apiDown {
				r.api.Close()
			}
			if test.panics { // caddy keeps the instance in its list
				fails = "early panic in setup"
				if _, err := restart(r.instance, r.corefile("none")); err != nil {
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
				checkLive(t, "without the plugin", 0, 0)
				return
			}
			if !test.apiDown {
				checkLive(t, "without the API server", 1, 2)
				if got := r.ask(name + ".nginx.default.svc.cluster.example."); got != address {
					t.Errorf("%s: got %s, want %s", name, got, address)
				}
			}
			if err := r.api.Start(); err != nil {
				t.Fatal(err)
			}
			r.checkUpToDate(t)
			checkLive(t, "with the API server again", 1, 2)
		})
	}
}

// TestReloadWithUnsyncedSource reloads a Corefile of which one source never syncs. The reload
// fails only if it adds a source that does not sync.
func TestReloadWithUnsyncedSource(t *testing.T) {
	r := newRig(t)
	r.put()
	var err error
	if r.instance, err = caddy.Start(r.corefiles("", "kubeconfig testdata/nobody.kubeconfig")); err != nil {
		t.Fatal(err)
	}
	r.reload(t, r.corefiles("ttl 30", "kubeconfig testdata/nobody.kubeconfig"), "")
	r.reload(t, r.corefiles("ttl 30", "kubeconfig testdata/nobody.kubeconfig\nlabels app"), "reload: ")
	if n := len(livePlugins()); n != 2 {
		t.Errorf("got %d live plugins, want 2", n)
	}
}
