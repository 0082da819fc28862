package headless

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/plugin/apiserver"
	"github.com/headless-dns/headless/plugin/cluster"
	"github.com/headless-dns/headless/records"
)

// fails is the callback in which the plugins "early" and "late" fail, as "early
// restart". They stand before and behind headless in every chain.
var fails string

// atShutdown is called with the name of the plugin when the process is about to end.
var atShutdown = func(string) {}

// atStartup is called when the plugin starts.
var atStartup = func(string) {}

func init() {
	for _, name := range []string{"early", "late"} {
		plugin.Register(name, func(c *caddy.Controller) error {
			fail := func(callback string) func() error {
				return func() error {
					switch fails {
					case name + " " + callback:
						return errors.New(fails)
					case name + " panic in " + callback:
						panic(fails)
					}
					return nil
				}
			}
			c.OnStartup(func() error {
				atStartup(name)
				return fail("startup")()
			})
			c.OnRestart(fail("restart"))
			c.OnShutdown(fail("shutdown"))
			c.OnFinalShutdown(func() error {
				atShutdown(name)
				return nil
			})
			return fail("setup")()
		})
	}
	dnsserver.Directives = append(dnsserver.Directives, "early", "headless", "late")
	caddy.Quiet, dnsserver.Quiet = true, true
}

// rig is a server under test: its Corefile changes, and the API server stays.
type rig struct {
	api      *apiserver.Server
	port     string
	instance *caddy.Instance // that serves
	pods     int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	port, err := cluster.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{api: api, port: port}
	app := map[string]string{"app": "nginx"}
	api.Put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx", Labels: app},
		Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: app,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}},
	})
	t.Cleanup(func() {
		fails = ""
		for _, i := range slices.Clone(caddy.Instances()) {
			if errs := i.ShutdownCallbacks(); errs != nil {
				t.Error(errs)
			}
			if err := i.Stop(); err != nil {
				t.Error(err)
			}
		}
		api.Close()
		checkLiving(t, "at the end", 0, 0)
	})
	return r
}

// put creates another pod and returns its name and address.
func (r *rig) put() (name, address string) {
	r.pods++
	name, address = fmt.Sprint("web-", r.pods), fmt.Sprintf("10.244.%d.%d", r.pods/200, 1+r.pods%200)
	r.api.Put(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "nginx"}},
		Spec:       corev1.PodSpec{Hostname: name, Subdomain: "nginx"},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: address}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	})
	return name, address
}

// corefile returns a Corefile of two server blocks, each with the settings of a
// stanza, or without one if they are "none".
func (r *rig) corefile(settings string) caddy.Input { return r.corefiles(settings, settings) }

func (r *rig) corefiles(local, example string) caddy.Input {
	var b strings.Builder
	for i, zone := range []string{"cluster.local", "cluster.example"} {
		settings := []string{local, example}[i]
		fmt.Fprintf(&b, "%s:%s {\nbind 127.0.0.1\nearly\nlate\n", zone, r.port)
		if settings != "none" {
			fmt.Fprintf(&b, "headless {\nendpoint %s\nstartup_timeout 500ms\n%s\n}\n", r.api.URL, settings)
		}
		b.WriteString("}\n")
	}
	return caddy.CaddyfileInput{Contents: []byte(b.String()), Filepath: "Corefile", ServerTypeName: "dns"}
}

func (r *rig) start(t *testing.T, settings string) {
	t.Helper()
	var err error
	if r.instance, err = caddy.Start(r.corefile(settings)); err != nil {
		t.Fatal(err)
	}
}

// stop stops the server as a signal does.
func (r *rig) stop(t *testing.T) {
	t.Helper()
	if errs := r.instance.ShutdownCallbacks(); errs != nil {
		t.Fatal(errs)
	}
	if err := r.instance.Stop(); err != nil {
		t.Fatal(err)
	}
}

// reload reloads as the reload plugin does, and fails the test unless the error has
// the wanted text; "" wants none.
func (r *rig) reload(t *testing.T, to caddy.Input, want string) {
	t.Helper()
	next, err := r.instance.Restart(to)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Fatalf("the reload returned %v, want %q", err, want)
	}
	if err == nil {
		r.instance = next
	}
}

// ask returns the addresses of a name, or the rcode if there is none.
func (r *rig) ask(name string) string {
	m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), "127.0.0.1:"+r.port)
	if err != nil {
		return err.Error()
	}
	if len(m.Answer) == 0 {
		return dns.RcodeToString[m.Rcode]
	}
	var out []string
	for _, rr := range m.Answer {
		out = append(out, rr.(*dns.A).A.String())
	}
	return strings.Join(out, " ")
}

// checkFed creates a pod, which the server must answer for in both zones.
func (r *rig) checkFed(t *testing.T) {
	t.Helper()
	name, address := r.put()
	for _, zone := range []string{"cluster.local.", "cluster.example."} {
		await(t, func() string { return r.ask(name + ".nginx.default.svc." + zone) }, address)
	}
}

// await waits until f returns what is wanted.
func await[T comparable](t *testing.T, f func() T, want T) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		got := f()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is %v, want %v", got, want)
		}
	}
}

// checkLiving checks that there are as many sources, and plugins that use them, as
// the Corefile in force has.
func checkLiving(t *testing.T, when string, wantSources, wantPlugins int) {
	t.Helper()
	living := livingPlugins()
	plugins := len(living)
	for _, h := range living {
		if !h.serving() || !h.Ready() {
			t.Errorf("%s, a plugin of the Corefile in force is not ready", when)
		}
	}
	sources.mu.Lock()
	defer sources.mu.Unlock()
	users := 0
	for _, s := range sources.all {
		users += s.users
	}
	if len(sources.all) != wantSources || users != wantPlugins || plugins != wantPlugins {
		t.Errorf("%s, there are %d sources with %d users of %d plugins, want %d sources and %d plugins",
			when, len(sources.all), users, plugins, wantSources, wantPlugins)
	}
	if wantSources == 0 {
		if n := testutil.ToFloat64(names.WithLabelValues("service")); n != 0 {
			t.Errorf("%s, the metrics count %v services", when, n)
		}
	}
}

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

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
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
	if n := len(r.instance.OnRestartFailed); n != 1 {
		t.Errorf("the instance has %d callbacks, want 1", n)
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

// TestReloadKeepsSnapshot changes settings while a snapshot is kept. The file has one
// writer, which is the source in force.
func TestReloadKeepsSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.put()
	snapshot := "snapshot " + file
	r.start(t, snapshot+" 1h")
	written := func(labels string) func() bool {
		return func() bool {
			b, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(b), fmt.Sprintf("; labels %q;", labels))
		}
	}
	await(t, written(""), true)

	// A reload that is refused leaves the file, and who writes it, as they are.
	r.api.Close()
	r.reload(t, r.corefile(snapshot+" 1h\nlabels app"), "reload: ")
	if !written("")() {
		t.Error("a refused reload has changed the snapshot")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.rejected")); left != nil {
		t.Errorf("a refused reload has moved the snapshot to %s", left)
	}
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	r.checkFed(t) // so the old source has something to write when it ends

	r.reload(t, r.corefile(snapshot+" 1h\nlabels app"), "")
	await(t, written("app"), true)
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.local.") }, address)
	r.api.Close()
	r.stop(t)
	if !written("app")() {
		t.Fatal("at the end, the snapshot is that of other settings")
	}
	r.start(t, snapshot+" 1h\nlabels app")
	if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
		t.Errorf("after a start from the snapshot, %s has %s, want %s", name, got, address)
	}

	// Only the interval changes, and the API server is still away. The snapshot fits, but
	// it may be older than what is served.
	r.reload(t, r.corefile(snapshot+" 2h\nlabels app"), "reload: ")
	checkLiving(t, "from a snapshot", 1, 2)
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	r.checkFed(t)
}

// TestReloadIgnoresSnapshot adds a snapshot that another server left, while the API
// server is away. What is served is newer.
func TestReloadIgnoresSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.start(t, "snapshot "+file)
	await(t, func() bool { _, err := os.Stat(file); return err == nil }, true)
	r.stop(t)
	name, address := r.put()
	r.start(t, "")
	r.api.Close()
	r.reload(t, r.corefile("snapshot "+file), "reload: ")
	if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
		t.Errorf("%s has %s, want %s", name, got, address)
	}
}

// TestSnapshotHasOneWriter checks that two stanzas share a snapshot only if they share
// a source.
func TestSnapshotHasOneWriter(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "snapshot"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	for _, other := range []string{
		"snapshot " + file + "\nlabels app",
		"snapshot " + file + "\nauthoritative",
		"snapshot " + file + " 2m",
		"snapshot " + filepath.Join(dir, ".", "x", "..", "snapshot") + "\nlabels app",
		"snapshot " + filepath.Join(link, "snapshot") + "\nlabels app",
	} {
		_, err := caddy.Start(r.corefiles("snapshot "+file, other))
		if err == nil || !strings.Contains(err.Error(), "snapshot: ") || !strings.Contains(err.Error(), "another stanza writes this file") {
			t.Errorf("%q: the error is %v", other, err)
		}
	}
	var err error
	if r.instance, err = caddy.Start(r.corefiles("snapshot "+file, "ttl 9\nsnapshot "+file)); err != nil {
		t.Fatal(err)
	}
	r.reload(t, r.corefiles("labels app\nsnapshot "+file, "snapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("snapshot "+file, "labels app\nsnapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("labels a\nsnapshot "+file, "labels b\nsnapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("snapshot "+file, "labels app\nsnapshot "+file+"-2"), "")
	checkLiving(t, "with two files", 2, 2)
}

// TestStopWaitsForNobody checks that the source is released while a secondary is
// silent, and that zones do not wait for each other.
func TestStopWaitsForNobody(t *testing.T) {
	h := startAuthority(t)
	silent, told := make(chan struct{}), make(chan string)
	defer close(silent)
	h.notifier = startNotifier(func(zone string) error {
		if zone == "cluster.local." {
			<-silent
		} else {
			told <- zone
		}
		return nil
	}, h.zones, h.trie)
	h.source.addNotifier(h.notifier)
	for range len(h.zones) - 1 {
		<-told
	}
	h.stop() // would wait for ever
	if h.serving() {
		t.Error("the plugin serves after its end")
	}
	if _, ok := <-h.notifier.ctx.Done(); ok {
		t.Error("the notifications go on")
	}
}

// recordNotifications returns a notifier of one zone, and the serials that secondaries
// would see when they are notified.
func recordNotifications(trie *records.Trie) (*notifier, *[]uint32) {
	var serials []uint32
	return startNotifier(func(string) error {
		serials = append(serials, trie.Serial())
		return nil
	}, records.NewZones([]string{"cluster.local."}), trie), &serials
}

// TestNotifyAfterTheSecond checks that a change is notified when it has a serial of
// its own, and that a busy zone is notified once a second.
func TestNotifyAfterTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trie := records.New()
		n, serials := recordNotifications(trie)
		defer synctest.Wait()
		defer n.end()
		time.Sleep(300 * time.Millisecond)
		first := uint32(time.Now().Unix())
		for i := range 30 { // for three seconds
			u := trie.Update()
			u.Create(records.ServiceKey{Namespace: "default", Name: fmt.Sprint("s-", i)})
			u.Commit()
			n.note()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []uint32{first, first + 1, first + 2, first + 3}
		if last := (*serials)[len(*serials)-1]; !slices.Equal(*serials, want) || last != trie.Serial() {
			t.Errorf("notified at serials %d, want %d; the last is %d", *serials, want, trie.Serial())
		}
	})
}

// TestEndNotifies checks that secondaries learn of a reload: with another ttl or other
// zones, a transfer differs though no object has changed.
func TestEndNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trie := records.New()
		time.Sleep(5 * time.Second)
		n, serials := recordNotifications(trie)
		defer synctest.Wait()
		defer n.end()
		now := &lifetime{plugins: []*Headless{{trie: trie, notifier: n}}}
		lifetimes.mu.Lock()
		lifetimes.all = append(lifetimes.all, now)
		lifetimes.mu.Unlock()
		defer func() {
			lifetimes.mu.Lock()
			defer lifetimes.mu.Unlock()
			lifetimes.all = slices.DeleteFunc(lifetimes.all, func(l *lifetime) bool { return l == now })
		}()
		want := []uint32{uint32(time.Now().Unix())}
		new(lifetime).end() // of the instance that was replaced
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !slices.Equal(*serials, want) {
			t.Errorf("notified at serials %d, want %d", *serials, want)
		}
	})
}
