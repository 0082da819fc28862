package informer

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/internal/apiserver"
	"github.com/headless-dns/headless/records"
)

// probe is an informer under test, with the calls of its hooks and its log.
type probe struct {
	*Informer
	trie    *records.Trie
	imports *records.Trie
	api     *apiserver.Server

	mu        sync.Mutex
	changed   *sync.Cond
	published []int
	received  map[object.Kind]int
	rejected  []error
	bad       []int // manifests
	restored  []bool
	wrote     []error
	due       []time.Time
	failing   map[object.Kind]int
	broken    map[object.Kind]int
	logged    []string
}

func newProbe(c Config) (*probe, error) {
	p := &probe{trie: records.New(), imports: records.NewClusterset(), received: map[object.Kind]int{}, failing: map[object.Kind]int{}, broken: map[object.Kind]int{}}
	p.changed = sync.NewCond(&p.mu)
	p.trie.EnableZones()
	note := func(f func()) {
		p.mu.Lock()
		defer p.mu.Unlock()
		f()
		p.changed.Broadcast()
	}
	c.Log = funcr.New(func(_, args string) { note(func() { p.logged = append(p.logged, args) }) }, funcr.Options{})
	c.Hooks = Hooks{
		Synced:    func(records.Stats) {},
		Received:  func(k object.Kind, _ string) { note(func() { p.received[k]++ }) },
		Published: func(n int, _ records.Stats, _ []time.Duration) { note(func() { p.published = append(p.published, n) }) },
		Rejected:  func(err error) { note(func() { p.rejected = append(p.rejected, err) }) },

		BadManifests: func(n int) { note(func() { p.bad = append(p.bad, n) }) },

		Restored: func(is bool) { note(func() { p.restored = append(p.restored, is) }) },
		Failing: func(k object.Kind, is bool) {
			note(func() { p.failing[k] += map[bool]int{true: 1, false: -1}[is] })
		},
		Broken: func(k object.Kind, n int) { note(func() { p.broken[k] = n }) },
		Wrote:  func(_ int64, err error) { note(func() { p.wrote = append(p.wrote, err) }) },
		Due:    func(at time.Time) { note(func() { p.due = append(p.due, at) }) },
	}
	var err error
	p.Informer, err = New(Tries{p.trie, p.imports}, c)
	return p, err
}

// server is a kind of API server.
type server struct {
	apiserver.Options
	fault apiserver.Fault
}

// noLists is the fault of a server that refuses lists. A reflector then needs the initial
// events of a watch.
var noLists = apiserver.Fault{Code: http.StatusForbidden, Lists: true}

// newServer starts a stand-in API server that has some objects.
func newServer(t *testing.T, o server, objects ...apiserver.Object) *apiserver.Server {
	t.Helper()
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	api.Options = o.Options
	api.SetFault(o.fault)
	api.Put(objects...)
	return api
}

// gone returns the changes that remove an object.
func gone(o apiserver.Object) []apiserver.Change { return []apiserver.Change{{Object: o, Gone: true}} }

// watchServer starts an informer on a stand-in API server.
func watchServer(t *testing.T, c Config, o server, objects ...apiserver.Object) *probe {
	t.Helper()
	api := newServer(t, o, objects...)
	c.Cluster.Endpoint = api.URL
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.api = api
	p.start(t)
	return p
}

func (p *probe) start(t *testing.T) {
	t.Helper()
	p.Start()
	t.Cleanup(p.Stop)
	select {
	case <-p.Synced():
	case <-time.After(30 * time.Second):
		t.Fatal("not synced")
	}
}

// await waits until a name has an answer. It looks after every publication.
func (p *probe) await(t *testing.T, name string, rrtype uint16, want string) {
	t.Helper()
	late := time.AfterFunc(30*time.Second, func() { p.changed.Broadcast() })
	defer late.Stop()
	deadline := time.Now().Add(30 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.answer(name, rrtype) != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s %s is %q, want %q; the log has %q", name, dns.TypeToString[rrtype], p.answer(name, rrtype), want, p.logged)
		}
		p.changed.Wait()
	}
}

// answer returns the answer of the trie for the name.
func (p *probe) answer(name string, rrtype uint16) string {
	if strings.HasSuffix(name, clustersetSuffix) {
		return answer(p.imports, name, rrtype)
	}
	return answer(p.trie, name, rrtype)
}

const nginxName = "nginx.default.svc.cluster.local."

// awaitThat waits until a condition holds. It looks after every hook and log line.
func (p *probe) awaitThat(t *testing.T, what string, is func() bool) {
	t.Helper()
	late := time.AfterFunc(30*time.Second, func() { p.changed.Broadcast() })
	defer late.Stop()
	deadline := time.Now().Add(30 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s; the log has %q", what, p.logged)
		}
		p.changed.Wait()
	}
}

// hasLine reports whether a log line contains all parts. The caller holds the lock.
func (p *probe) hasLine(parts ...string) bool {
	return slices.ContainsFunc(p.logged, func(line string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
	})
}
