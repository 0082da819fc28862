package headless

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/caddy"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pauseReload starts a reload and returns when OnStartup of the plugin "early" or "late" runs
// in it. The returned function lets the reload continue with a failure, or "", and returns its
// error.
func (r *rig) pauseReload(to caddy.Input, at string) (finish func(failure string) error) {
	paused, unpause, result := make(chan struct{}), make(chan struct{}), make(chan error)
	pause := sync.OnceFunc(func() {
		close(paused)
		<-unpause
	})
	atStartup = func(name string) {
		if name == at {
			pause()
		}
	}
	go func() {
		next, err := restart(r.instance, to)
		if next != nil && err == nil { // both are nil after a panic
			r.instance = next
		}
		result <- err
	}()
	<-paused
	return func(failure string) error {
		fails = failure
		close(unpause)
		err := <-result
		fails, atStartup = "", func(string) {}
		return err
	}
}

// TestConcurrentReloads reloads while another reload is under way, as a signal and the reload
// plugin may. The first reload continues as if alone. The guard refuses the second, also if it
// comes too late: then its instance is replaced.
func TestConcurrentReloads(t *testing.T) {
	bad := caddy.CaddyfileInput{Contents: []byte("bad {"), Filepath: "Corefile", ServerTypeName: "dns"}
	for _, at := range []string{"early", "late"} {
		for _, failure := range []string{"", "late startup", "late panic in startup", "early shutdown", "late shutdown"} {
			for _, to := range []string{"", "labels app", "none", "bad"} {
				t.Run(fmt.Sprintf("%s, %q, to %q", at, failure, to), func(t *testing.T) {
					r := newRig(t)
					second := caddy.Input(bad)
					if to != "bad" {
						second = r.corefile(to)
					}
					refuse := func(old *caddy.Instance, what string) {
						t.Helper()
						const want = "reload: another reload"
						fails = "early restart" // this callback runs after the guard's
						defer func() { fails = "" }()
						if i, err := restart(old, second); i != old || err == nil || !strings.Contains(err.Error(), want) {
							t.Errorf("%s: got error %v, want %q", what, err, want)
						}
					}
					r.start(t, "")
					old := r.instance
					finish := r.pauseReload(r.corefile("ttl 30\nlabels app"), at)
					refuse(old, "the second reload")
					refuse(old, "the third reload")
					err := finish(failure)
					if got := err == nil; got != (failure == "" || strings.Contains(failure, "panic")) {
						t.Fatalf("the first reload: got error %v with failure %q", err, failure)
					}
					if strings.Contains(failure, "shutdown") { // caddy returns the old instance, but the new one serves
						r.instance = caddy.Instances()[0]
					}
					checkLive(t, "after the first reload", 1, 2)
					r.checkUpToDate(t)
					if r.instance != old {
						// Reload the new instance, and meanwhile the old one again.
						finish = r.pauseReload(r.corefile("ttl 7\nlabels app"), at)
						refuse(old, "a reload of the replaced instance")
						if err := finish(""); err != nil {
							t.Error(err)
						}
						r.checkUpToDate(t)
					}
					r.reload(t, r.corefile("ttl 9"), "")
					checkLive(t, "after a single reload", 1, 2)
					r.checkUpToDate(t)
				})
			}
		}
	}
}

// TestZonal serves the names of a topology zone once a reload adds the option.
func TestZonal(t *testing.T) {
	r := newRig(t)
	name, address := r.put()
	r.api.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{corev1.LabelTopologyZone: "eu-1a"}}},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "nginx"}},
			Spec:       corev1.PodSpec{NodeName: "node-1", Hostname: name, Subdomain: "nginx"},
			Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: address}},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	r.start(t, "")
	const zone = "eu-1a.pin._zone.nginx.default.svc.cluster.local."
	await(t, func() string { return r.ask("nginx.default.svc.cluster.local.") }, address)
	if got := r.ask(zone); got != "NXDOMAIN" {
		t.Errorf("without the option: got %s, want NXDOMAIN", got)
	}
	r.reload(t, r.corefile("zonal"), "")
	if got := r.ask(zone); got != address {
		t.Errorf("with the option: got %s, want %s", got, address)
	}
	r.stop(t)
}
