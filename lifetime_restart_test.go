package headless

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/caddy"
)

// hold starts a reload, and returns when the plugin, "early" or "late", starts in it. The
// function that it returns lets the reload go on, with a failure unless that is "", and
// returns its error.
func (r *rig) hold(to caddy.Input, at string) (finish func(failure string) error) {
	arrived, release, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	stop := sync.OnceFunc(func() {
		close(arrived)
		<-release
	})
	atStartup = func(name string) {
		if name == at {
			stop()
		}
	}
	go func() {
		next, err := r.instance.Restart(to)
		if next != nil && err == nil { // neither is there after a panic
			r.instance = next
		}
		ended <- err
	}()
	<-arrived
	return func(failure string) error {
		fails = failure
		close(release)
		err := <-ended
		fails, atStartup = "", func(string) {}
		return err
	}
}

// TestReloadsAtOnce reloads while another reload has not come to its end, as a signal and
// the reload plugin may. The first goes on as if alone, and the second is refused, also
// when it comes too late: its instance was replaced.
func TestReloadsAtOnce(t *testing.T) {
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
						fails = "early restart" // which comes behind
						defer func() { fails = "" }()
						if i, err := old.Restart(second); i != old || err == nil || !strings.Contains(err.Error(), want) {
							t.Errorf("%s returned %v, want %q", what, err, want)
						}
					}
					r.start(t, "")
					old := r.instance
					finish := r.hold(r.corefile("ttl 30\nlabels app"), at)
					refuse(old, "the second reload")
					refuse(old, "the third reload")
					err := finish(failure)
					if got := err == nil; got != (failure == "" || strings.Contains(failure, "panic")) {
						t.Fatalf("the first reload returned %v", err)
					}
					if strings.Contains(failure, "shutdown") { // caddy does not return the new instance, which serves
						r.instance = caddy.Instances()[0]
					}
					checkLiving(t, "after the first reload", 1, 2)
					r.checkFed(t)
					if r.instance != old {
						// The new instance is reloaded, and meanwhile the old one once more.
						finish = r.hold(r.corefile("ttl 7\nlabels app"), at)
						refuse(old, "a reload of what was replaced")
						if err := finish(""); err != nil {
							t.Error(err)
						}
						r.checkFed(t)
					}
					r.reload(t, r.corefile("ttl 9"), "")
					checkLiving(t, "after a reload alone", 1, 2)
					r.checkFed(t)
				})
			}
		}
	}
}
