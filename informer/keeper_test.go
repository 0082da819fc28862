package informer

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/snapshot"
	"github.com/headless-dns/headless/internal/apiserver"
)

// gate is a server in front of an API server that may fail instead of it.
type gate struct {
	*httptest.Server
	fault atomic.Pointer[http.HandlerFunc] // instead of the API server, if not nil
}

func newGate(t *testing.T, api *apiserver.Server) *gate {
	g := new(gate)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := g.fault.Load(); f != nil {
			(*f)(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gate) set(f http.HandlerFunc) {
	if f == nil {
		g.fault.Store(nil)
	} else {
		g.fault.Store(&f)
	}
}

// Faults of an API server.
func refuses(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
func breaks(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "etcd is away", http.StatusServiceUnavailable)
}
func forbids(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }
func hangs(_ http.ResponseWriter, r *http.Request)   { <-r.Context().Done() }

// writeSnapshot writes a snapshot with three pods, and returns its configuration.
func writeSnapshot(t *testing.T) Config {
	t.Helper()
	c := Config{Snapshot: filepath.Join(t.TempDir(), "snapshot"), SnapshotInterval: time.Hour}
	p := watchServer(t, c, server{}, fixture.Nginx(), fixture.Web(0), fixture.Web(1), fixture.Web(2),
		fixture.Slice("by-hand"), fixture.Nginx(func(s *corev1.Service) { s.Name = "gone" }))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3")
	p.Stop()
	if len(p.wrote) != 1 || p.wrote[0] != nil || len(p.restored) != 0 {
		t.Fatalf("written: %v, restored: %v", p.wrote, p.restored)
	}
	return c
}

// TestRestore starts while the API server fails in some way, and then ends the fault.
func TestRestore(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{"refuses": refuses, "breaks": breaks, "forbids": forbids, "hangs": hangs} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := writeSnapshot(t)
			// Meanwhile web-1 was deleted, web-2 got another address, and web-3 was created.
			api := newServer(t, server{}, fixture.Nginx(), fixture.Web(0), fixture.Web(3), fixture.Web(5, func(p *corev1.Pod) { p.Name, p.Spec.Hostname = "web-2", "web-2" }))
			g := newGate(t, api)
			g.set(fault)
			c.Cluster.Endpoint = g.URL
			rewriteSettings(t, c)
			p, err := newProbe(c)
			if err != nil {
				t.Fatal(err)
			}
			p.start(t)
			p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3")
			p.await(t, "gone.default.svc.cluster.local.", dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3")
			p.awaitThat(t, "the hook reports the snapshot", func() bool { return slices.Equal(p.restored, []bool{true}) })
			p.awaitThat(t, "it is logged", func() bool { return p.hasLine("answers come from the snapshot") })

			// From here on, no answer may be empty.
			done := make(chan struct{})
			empty := make(chan string, 1)
			go func() {
				for {
					select {
					case <-done:
						close(empty)
						return
					default:
					}
					for name, want := range map[string]string{nginxName: "10.244.0.1, ", "web-0." + nginxName: "10.244.0.1"} {
						if got := answer(p.trie, name, dns.TypeA); !strings.HasPrefix(got, want) {
							empty <- name + " was " + got
							close(empty)
							return
						}
					}
				}
			}()
			// Requests that hang are cut when the fault is over. The retries follow at
			// once, and must not hang as well.
			g.set(nil)
			g.CloseClientConnections()
			p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.4, 10.244.0.6")
			p.await(t, "web-1."+nginxName, dns.TypeA, "missing")
			p.await(t, "gone.default.svc.cluster.local.", dns.TypeA, "outside")
			p.awaitThat(t, "the hook reports the end of the snapshot", func() bool { return slices.Equal(p.restored, []bool{true, false}) })
			close(done)
			if what, ok := <-empty; ok {
				t.Error(what)
			}
			<-p.complete
			p.Stop()
			if len(p.wrote) != 1 || p.wrote[0] != nil {
				t.Errorf("written: %v", p.wrote)
			}
		})
	}
}

// TestRestoreImports starts from a snapshot with imports while the API server fails, and then has none
// for a while. One look that finds none is not enough.
func TestRestoreImports(t *testing.T) {
	c := Config{Snapshot: filepath.Join(t.TempDir(), "snapshot"), SnapshotInterval: time.Hour, MultiCluster: true}
	objects := []apiserver.Object{fixture.Nginx(), fixture.Web(0), fixture.Import("nginx"), fixture.Import("vip", clusterSetIP),
		fixture.Imported("c1-a", "nginx", "EU.c1", hostAt("web-0", "10.1.0.1"), hostAt("web-1", "10.1.0.2", notReadyEndpoint))}
	api := newServer(t, server{}, objects...)
	api.ServeImports("v1beta1")
	c.Cluster.Endpoint = api.URL
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.start(t)
	p.await(t, importName, dns.TypeA, "10.1.0.1")
	p.Stop()
	if got := len(p.joiner.objects()); got != len(objects) {
		t.Fatalf("%d objects are stored, want %d", got, len(objects))
	}

	api = newServer(t, server{}, append(objects, fixture.Web(1))...)
	g := newGate(t, api)
	g.set(refuses)
	c.Cluster.Endpoint = g.URL
	rewriteSettings(t, c)
	if p, err = newProbe(c); err != nil {
		t.Fatal(err)
	}
	source := p.source.(*cluster)
	source.clock, source.backoff = fast{times: 20, ahead: new(atomic.Int64)}, fastBackoff
	p.start(t)
	p.await(t, importName, dns.TypeA, "10.1.0.1")
	p.await(t, "web-0.eu.c1."+importName, dns.TypeA, "10.1.0.1")
	g.set(nil)
	g.CloseClientConnections()
	p.awaitThat(t, "the first look finds nothing", func() bool { return p.hasLine(hasNone) })
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")
	if got := p.answer(importName, dns.TypeA); got != "10.1.0.1" {
		t.Errorf("after one look, the import has %q", got)
	}
	p.await(t, importName, dns.TypeA, "outside")
	<-p.complete

	// Without the option, the file is one of other settings.
	c.MultiCluster = false
	if p, err = newProbe(c); err != nil {
		t.Fatal(err)
	}
	if s := p.keeper.read(); s != nil {
		t.Error("without the option, the snapshot is used")
	}
}

// rewriteSettings rewrites the snapshot with the settings of c, which has another
// endpoint.
func rewriteSettings(t *testing.T, c Config) {
	t.Helper()
	s, err := snapshot.Read(c.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := s.Objects()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Write(c.Snapshot, s.Taken, newKeeper(&c).settings, slices.Concat(objects[:]...)); err != nil {
		t.Fatal(err)
	}
}

// TestNotRestored starts with an API server that responds, and has newer objects than the
// snapshot.
func TestNotRestored(t *testing.T) {
	c := writeSnapshot(t)
	api := newServer(t, server{}, fixture.Nginx(), fixture.Web(4))
	c.Cluster.Endpoint = api.URL
	rewriteSettings(t, c)
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.start(t)
	if got := answer(p.trie, nginxName, dns.TypeA); got != "10.244.0.5" {
		t.Errorf("the first answer is %q", got)
	}
	p.Stop()
	if len(p.restored) != 0 {
		t.Errorf("restored: %v", p.restored)
	}
	s, err := snapshot.Read(c.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if objects, err := s.Objects(); err != nil || len(objects[object.Pods]) != 1 {
		t.Errorf("the snapshot now has %v, %v", objects, err)
	}
}

// TestRejectedSnapshot starts with a file that can't be used.
func TestRejectedSnapshot(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, c *Config){
		"changed": func(t *testing.T, c *Config) {
			b, err := os.ReadFile(c.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2]++
			if err := os.WriteFile(c.Snapshot, b, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"other settings": func(_ *testing.T, c *Config) { c.Namespaces = []string{"default"} },
		"a folder": func(t *testing.T, c *Config) {
			if err := os.Remove(c.Snapshot); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(c.Snapshot, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := writeSnapshot(t)
			change(t, &c)
			api := newServer(t, server{}, fixture.Nginx(), fixture.Web(4))
			g := newGate(t, api)
			g.set(breaks)
			c.Cluster.Endpoint = g.URL
			p, err := newProbe(c)
			if err != nil {
				t.Fatal(err)
			}
			p.Start()
			t.Cleanup(p.Stop)
			p.awaitThat(t, "it is logged", func() bool {
				return p.hasLine("snapshot is not used", c.Snapshot+".rejected")
			})
			if _, err := os.Stat(c.Snapshot + ".rejected"); err != nil {
				t.Errorf("the file is not kept: %v", err)
			}
			if got := answer(p.trie, nginxName, dns.TypeA); got != "outside" {
				t.Errorf("the answer is %q", got)
			}
			g.set(nil)
			p.await(t, nginxName, dns.TypeA, "10.244.0.5")
			<-p.complete
			p.Stop()
			if _, err := snapshot.Read(c.Snapshot); err != nil || len(p.restored) != 0 {
				t.Errorf("afterwards: %v, restored: %v", err, p.restored)
			}
		})
	}
}

// TestSnapshotFails starts without the folder. The informer serves, and logs the fault
// once.
func TestSnapshotFails(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "volume")
	c := Config{Snapshot: filepath.Join(folder, "snapshot"), SnapshotInterval: 10 * time.Millisecond}
	p := watchServer(t, c, server{}, fixture.Nginx(), fixture.Web(0))
	p.awaitThat(t, "three tries failed", func() bool { return len(p.wrote) >= 3 })
	p.api.Put(fixture.Web(1))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p.awaitThat(t, "it is written", func() bool { return p.wrote[len(p.wrote)-1] == nil })
	p.awaitThat(t, "it is logged", func() bool {
		return p.hasLine("is written again")
	})
	p.Stop()
	failures := 0
	for _, line := range p.logged {
		if strings.Contains(line, "snapshot is not written") {
			failures++
		}
	}
	if failures != 1 || p.wrote[0] == nil {
		t.Errorf("got %d log lines of %v", failures, p.wrote)
	}
	// Nothing is written without a change.
	tries := len(p.wrote)
	if s, err := snapshot.Read(c.Snapshot); err != nil || p.wrote[tries-1] != nil {
		t.Errorf("%v, %v, %v", s, err, p.wrote)
	}
}

// TestUnwritten checks when a snapshot is due: an interval after the first change that is
// not written, even if writing fails.
func TestUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var reported []time.Duration // since the start, or none
		const none = -time.Hour
		u := unwritten{interval: time.Minute, hook: func(at time.Time) {
			if at.IsZero() {
				reported = append(reported, none)
			} else {
				reported = append(reported, at.Sub(start))
			}
		}}
		step := func(what string, do func(), want ...time.Duration) {
			t.Helper()
			if do(); !slices.Equal(reported, want) {
				t.Errorf("%s: due at %v, want %v", what, reported, want)
			}
			reported = nil
			time.Sleep(time.Second)
		}
		take := func() {
			if !u.begin() {
				t.Error("there is nothing to write")
			}
		}
		step("while the first lists are missing", u.add)
		step("while the first lists are missing", u.add)
		step("when they have arrived", u.enable, none, 62*time.Second)
		step("the first snapshot", take)
		step("is written", func() { u.finish(true) }, none)
		step("a change", u.add, 65*time.Second)
		step("and another", u.add)
		step("a snapshot", take)
		step("a change meanwhile", u.add)
		step("it fails", func() { u.finish(false) })
		step("the next", take)
		step("a change meanwhile", u.add)
		step("it is written, without the last change", func() { u.finish(true) }, 71*time.Second)
		step("the next", take)
		step("it is written", func() { u.finish(true) }, none)
		if u.begin() {
			t.Error("there is something to write")
		}
	})
}

// TestSnapshotIsDue checks that the hook is called when changes wait for the snapshot.
func TestSnapshotIsDue(t *testing.T) {
	c := Config{Snapshot: filepath.Join(t.TempDir(), "snapshot"), SnapshotInterval: time.Hour}
	p := watchServer(t, c, server{}, fixture.Nginx(), fixture.Web(0))
	p.awaitThat(t, "the first is written", func() bool { return len(p.due) == 3 && p.due[2].IsZero() })
	before := time.Now()
	p.api.Put(fixture.Web(1))
	p.awaitThat(t, "the second is due", func() bool { return len(p.due) == 4 })
	if wait := p.due[3].Sub(before); wait < time.Hour || wait > time.Hour+time.Minute {
		t.Errorf("the snapshot is due in %v", wait)
	}
	p.Stop()
	if !p.due[len(p.due)-1].IsZero() {
		t.Errorf("at the end, it is due at %v", p.due)
	}
}
