package headless

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/apiserver"
	"github.com/headless-dns/headless/internal/cluster"
)

// The plugin "early" is before headless in every chain, and "late" is after it.
var (
	// fails names the plugin and the callback that fails, as "early restart" or "late panic in
	// setup".
	fails string
	// atShutdown is called in OnFinalShutdown of both plugins, with the plugin's name.
	atShutdown = func(string) {}
	// atStartup is called in OnStartup of both plugins, with the plugin's name.
	atStartup = func(string) {}
)

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

// rig is a server under test, with an API server. Tests reload its Corefile.
type rig struct {
	api      *apiserver.Server
	port     string
	instance *caddy.Instance // the one that serves
	pods     int             // created so far
}

func newRig(t *testing.T) *rig {
	t.Helper()
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{api: api, port: cluster.MustFreePort(t)}
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
		checkLive(t, "at the end", 0, 0)
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

// corefile returns a Corefile of two server blocks with equal stanzas. If the settings are "none",
// the server blocks have no stanza.
func (r *rig) corefile(settings string) caddy.Input { return r.corefiles(settings, settings) }

// corefiles returns a Corefile of two server blocks with different stanzas.
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

// stop stops the server as a signal to the process does.
func (r *rig) stop(t *testing.T) {
	t.Helper()
	if errs := r.instance.ShutdownCallbacks(); errs != nil {
		t.Fatal(errs)
	}
	if err := r.instance.Stop(); err != nil {
		t.Fatal(err)
	}
}

// reload reloads as the reload plugin does. It fails the test unless the error contains want, or
// is nil if want is "".
func (r *rig) reload(t *testing.T, to caddy.Input, want string) {
	t.Helper()
	next, err := restart(r.instance, to)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Fatalf("reload: got error %v, want %q", err, want)
	}
	if err == nil {
		r.instance = next
	}
}

// ask returns the addresses of a name, or the rcode if it has none.
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

// checkUpToDate creates a pod and waits until the server answers for it in both zones.
func (r *rig) checkUpToDate(t *testing.T) {
	t.Helper()
	name, address := r.put()
	for _, zone := range []string{"cluster.local.", "cluster.example."} {
		await(t, func() string { return r.ask(name + ".nginx.default.svc." + zone) }, address)
	}
}

// await waits until f returns want.
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
			t.Fatalf("after 30 seconds: got %v, want %v", got, want)
		}
	}
}

// checkLive checks how many sources exist and how many live plugins use them. All of these must
// be ready, and the metrics empty without sources.
func checkLive(t *testing.T, when string, wantSources, wantPlugins int) {
	t.Helper()
	live := livePlugins()
	for _, h := range live {
		if !h.serving() || !h.Ready() {
			t.Errorf("%s: a live plugin is not ready", when)
		}
	}
	sources.mu.Lock()
	defer sources.mu.Unlock()
	users := 0
	for _, s := range sources.list {
		users += s.users
	}
	if len(sources.list) != wantSources || users != wantPlugins || len(live) != wantPlugins {
		t.Errorf("%s: got %d sources with %d users and %d live plugins, want %d sources and %d plugins",
			when, len(sources.list), users, len(live), wantSources, wantPlugins)
	}
	if wantSources == 0 {
		if n := testutil.ToFloat64(namesByKind.WithLabelValues("service")); n != 0 {
			t.Errorf("%s: got %v services in the metrics, want 0", when, n)
		}
	}
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// restart is instance.Restart, with a client without which it may wait forever.
func restart(instance *caddy.Instance, to caddy.Input) (*caddy.Instance, error) {
	var addrs []net.Addr
	for _, server := range instance.Servers() {
		addrs = append(addrs, server.Addr(), server.LocalAddr())
	}
	defer cluster.Knock(addrs...)()
	return instance.Restart(to)
}
