package informer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/internal/apiserver"
)

// importServer is a stand-in API server with an informer that is not started, and a clock that runs
// 40 times as fast. It has an import of the cluster c1 with one address.
type importServer struct {
	*probe
	refusal  atomic.Pointer[refusal] // of some requests, or nil
	silent   atomic.Pointer[string]  // requests for a path with this part have no reply, or nil
	requests atomic.Int64
	events   int
}

// refusal is the status of the reply to requests for a path with some part.
type refusal struct {
	part   string
	status *apierrors.StatusError
	body   string // instead of the status, if not empty
}

func (s *importServer) refuse(part string, status *apierrors.StatusError) {
	s.refusal.Store(&refusal{part: part, status: status})
}

func (f *refusal) reply(r *http.Request) (*http.Response, error) {
	f.status.ErrStatus.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("Status"))
	body, err := json.Marshal(&f.status.ErrStatus)
	if f.body != "" {
		body = []byte(f.body)
	}
	return &http.Response{
		StatusCode: int(f.status.ErrStatus.Code), Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)),
	}, err
}

func newImportServer(t *testing.T, c Config, o server, versions ...string) *importServer {
	t.Helper()
	s := new(importServer)
	api := newServer(t, o, fixture.Nginx(), fixture.Web(0), fixture.Import("nginx"), fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1")))
	api.ServeImports(versions...)
	c.Cluster.Endpoint, c.MultiCluster = api.URL, true
	c.Transport = func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			s.requests.Add(1)
			if part := s.silent.Load(); part != nil && strings.Contains(r.URL.Path, *part) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			if f := s.refusal.Load(); f != nil && strings.Contains(r.URL.Path, f.part) {
				return f.reply(r)
			}
			return next.RoundTrip(r)
		})
	}
	var err error
	if s.probe, err = newProbe(c); err != nil {
		t.Fatal(err)
	}
	s.api = api
	source := s.source.(*cluster)
	source.clock, source.backoff = patient{fast{times: 40, ahead: new(atomic.Int64)}}, fastBackoff
	return s
}

// patient is a fast clock on which requests have as much time as on a real one: on a busy machine, a
// reply may take a second.
type patient struct{ fast }

func (p patient) AfterFunc(d time.Duration, g func()) clock.Timer { return p.RealClock.AfterFunc(d, g) }

// heard waits until each watch of imports has had an event. The end of a watch that had none and
// lasted less than a second counts as a fault, and the clock is fast. The first event may arrive in a
// list, the second one arrives after it.
func (s *importServer) heard(t *testing.T) {
	t.Helper()
	for range 2 {
		s.events++
		for _, ns := range []string{"default", "prod"} {
			name := fmt.Sprint("event-", s.events)
			s.api.Put(fixture.Import(name, func(i *mcsv1beta1.ServiceImport) { i.Namespace = ns }))
			s.await(t, name+"."+ns+".svc"+clustersetSuffix, dns.TypeA, "missing")
		}
	}
}

// quiet checks that no watch fails or failed, and that the log has the given number of lines.
func (s *importServer) quiet(t *testing.T, lines int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failing) > 0 || len(s.logged) != lines {
		t.Errorf("failing: %v, and the log has %q", s.failing, s.logged)
	}
}

const hasNone = "API server has no ServiceImports"

// explainsNone checks whether the reason why an import is missing is that there are none at all.
func (s *importServer) explainsNone(t *testing.T, want bool) {
	t.Helper()
	const none = "the API server has no ServiceImports, so there are no multi-cluster services; install their CustomResourceDefinition, of multicluster.x-k8s.io"
	got := s.Explain(Subject{Namespace: "default", Service: "absent", Clusterset: true})
	if len(got) != 1 || (got[0] == none) != want || !want && !strings.HasPrefix(got[0], "default/absent: no ServiceImport that this server watches; ") {
		t.Errorf("an absent import has the reasons %q, and %t is whether that is because there are none", got, want)
	}
}

// TestImportWatch watches imports and their slices on every kind of server, in every version.
func TestImportWatch(t *testing.T) {
	for name, o := range servers {
		for _, versions := range [][]string{{"v1alpha1"}, {"v1beta1"}, {"v1alpha1", "v1beta1"}} {
			t.Run(name+" "+strings.Join(versions, " "), func(t *testing.T) {
				t.Parallel()
				s := newImportServer(t, Config{}, o, versions...)
				s.start(t)
				s.await(t, importName, dns.TypeA, "10.1.0.1")
				s.await(t, nginxName, dns.TypeA, "10.244.0.1")
				s.api.Put(fixture.Imported("c2-a", "nginx", "c2", hostAt("web-0", "10.2.0.1")))
				s.await(t, "web-0.c2."+importName, dns.TypeA, "10.2.0.1")
				s.api.Put(fixture.Import("nginx", clusterSetIP))
				s.await(t, importName, dns.TypeA, "outside")
				s.api.Put(fixture.Import("nginx"))
				s.await(t, importName, dns.TypeA, "10.1.0.1, 10.2.0.1")
				s.api.Apply(gone(fixture.Imported("c1-a", "nginx", "c1")))
				s.await(t, importName, dns.TypeA, "10.2.0.1")

				// The slice moves to an ordinary Service, and back.
				moved := fixture.Slice("c2-a", hostAt("web-7", "10.2.0.1"))
				s.api.Put(moved)
				s.await(t, importName, dns.TypeA, "missing")
				s.await(t, nginxName, dns.TypeA, "10.2.0.1, 10.244.0.1")
				s.api.Put(fixture.Imported("c2-a", "nginx", "c2", hostAt("web-0", "10.2.0.1")))
				s.await(t, importName, dns.TypeA, "10.2.0.1")
				s.await(t, nginxName, dns.TypeA, "10.244.0.1")

				s.api.Fail("serviceimports", apierrors.NewResourceExpired("too old"))
				s.api.Apply(gone(fixture.Import("nginx")))
				s.await(t, importName, dns.TypeA, "outside")
				s.quiet(t, 0)
				for _, r := range s.api.Asked("/serviceimports") {
					if want := "/apis/multicluster.x-k8s.io/" + versions[len(versions)-1] + "/"; !strings.HasPrefix(r, want) {
						t.Errorf("requested: %q, want it below %q", r, want)
					}
				}
			})
		}
	}
}

// TestImportNone starts on a server without ServiceImports, which has them later, loses them, and has
// them again.
func TestImportNone(t *testing.T) {
	for name, o := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newImportServer(t, Config{Namespaces: []string{"default", "prod"}}, o)
			s.start(t)
			s.await(t, nginxName, dns.TypeA, "10.244.0.1")
			s.api.SetFault(apiserver.Fault{}) // by this clock, watches are soon silent for long, and resume after a list
			clock := s.source.(*cluster).clock
			began := clock.Now() // at or after the first look
			s.awaitThat(t, "it has looked three more times, and that is a sign of life", func() bool { return s.received[object.ServiceImports] >= 2*4 })
			if took := clock.Since(began); took < 2*absencePause {
				t.Errorf("three looks took %v", took)
			}
			if got := s.answer(importName, dns.TypeA); got != "outside" {
				t.Errorf("without ServiceImports, the import has %q", got)
			}
			s.quiet(t, 1)
			s.explainsNone(t, true)
			if asked := s.api.Asked("/serviceimports"); len(asked) > 0 {
				t.Errorf("requested: %q", asked)
			}

			s.api.ServeImports("v1alpha1")
			s.await(t, importName, dns.TypeA, "10.1.0.1")
			s.explainsNone(t, false)
			s.api.ServeImports("v1alpha1", "v1beta1") // no reason to list anew
			s.api.Put(fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.2")), fixture.Import("db"))
			s.await(t, importName, dns.TypeA, "10.1.0.2")
			s.await(t, "db.default.svc.clusterset.local.", dns.TypeA, "missing")
			s.heard(t)
			if asked := s.api.Asked("/v1beta1/serviceimports"); len(asked) > 0 {
				t.Errorf("while v1alpha1 is served, %q are requested", asked)
			}

			s.api.ServeImports("v1beta1")
			s.api.Put(fixture.Import("web"))
			s.await(t, "web.default.svc.clusterset.local.", dns.TypeA, "missing")
			s.heard(t)
			s.quiet(t, 2)
			s.mu.Lock()
			before := s.received[object.ServiceImports]
			s.mu.Unlock()
			s.api.ServeImports()
			s.await(t, importName, dns.TypeA, "outside")
			s.explainsNone(t, true)
			s.await(t, nginxName, dns.TypeA, "10.244.0.1")
			s.awaitThat(t, "each namespace has an empty list", func() bool { return s.received[object.ServiceImports] >= before+2 })
			s.api.ServeImports("v1beta1")
			s.await(t, importName, dns.TypeA, "10.1.0.2")
			s.quiet(t, 3)
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, line := range s.logged {
				if !strings.Contains(line, hasNone) {
					t.Errorf("logged: %s", line)
				}
			}
		})
	}
}

// TestImportLate loses the resource for less than two looks, as a server that starts does, twice. The
// imports stay.
func TestImportLate(t *testing.T) {
	t.Parallel()
	s := newImportServer(t, Config{}, server{}, "v1beta1")
	s.start(t)
	s.await(t, importName, dns.TypeA, "10.1.0.1")
	for n := range 2 {
		s.heard(t)
		lists := len(s.api.Asked("/serviceimports"))
		s.api.ServeImports()
		s.awaitThat(t, "the first look found nothing", func() bool { return strings.Count(strings.Join(s.logged, ""), hasNone) == n+1 })
		s.api.ServeImports("v1beta1")
		s.heard(t)
		if len(s.api.Asked("/serviceimports")) == lists {
			t.Error("the imports are not listed again")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failing) > 0 {
		t.Errorf("failing: %v", s.failing)
	}
	for _, n := range s.published { // an empty list would take several services away at once
		if n > 2 {
			t.Errorf("publications: %v", s.published)
		}
	}
}

// TestImportUnlisted has a server that announces ServiceImports and does not list them. The list
// counts as empty, and the looks for it have pauses.
func TestImportUnlisted(t *testing.T) {
	t.Parallel()
	s := newImportServer(t, Config{}, server{}, "v1beta1")
	s.refuse("/serviceimports", apierrors.NewNotFound(schema.GroupResource{Group: "multicluster.x-k8s.io", Resource: "serviceimports"}, ""))
	s.start(t)
	clock := s.source.(*cluster).clock
	began := clock.Now()
	s.awaitThat(t, "it has looked three more times", func() bool { return s.received[object.ServiceImports] >= 4 })
	if took := clock.Since(began); took < 2*absencePause {
		t.Errorf("three looks took %v", took)
	}
	s.quiet(t, 1)
}

// TestImportOtherResource has a server with another resource of the API group. It is asked for no
// ServiceImports.
func TestImportOtherResource(t *testing.T) {
	t.Parallel()
	s := newImportServer(t, Config{}, server{}, "v1beta1")
	s.refuse("/apis/multicluster.x-k8s.io/", &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusOK}})
	s.refusal.Load().body = `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "multicluster.x-k8s.io/v1beta1", "resources": [{"name": "serviceexports"}]}`
	s.start(t)
	s.quiet(t, 1)
	s.refusal.Store(nil)
	s.await(t, importName, dns.TypeA, "10.1.0.1")

	s = newImportServer(t, Config{}, server{}, "v1beta1")
	s.refuse("/apis/multicluster.x-k8s.io/", &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusOK}})
	s.refusal.Load().body = `{"kind": `
	s.Start()
	t.Cleanup(s.Stop)
	s.awaitThat(t, "text that is cut off is a fault", func() bool {
		return s.hasLine("can't watch serviceimports", "find the resources of multicluster.x-k8s.io/v1beta1")
	})
}

// TestImportForbidden starts without a right: to list imports, to list their slices, or to find the
// resources. The informer is not ready, the log says why, and it recovers.
func TestImportForbidden(t *testing.T) {
	for path, kind := range map[string]object.Kind{
		"/serviceimports": object.ServiceImports, "/apis/multicluster.x-k8s.io/v1beta1": object.ServiceImports, "/endpointslices": object.ImportedSlices,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := newImportServer(t, Config{}, server{}, "v1beta1")
			s.refuse(path, apierrors.NewForbidden(schema.GroupResource{Resource: "any"}, "", errors.New("no right")))
			s.Start()
			t.Cleanup(s.Stop)
			s.awaitThat(t, "the fault is reported", func() bool {
				return s.failing[kind] == 1 && s.hasLine("can't watch", "no right", "nothing to serve yet")
			})
			select {
			case <-s.Synced():
				t.Error("the informer is synced without the list")
			default:
			}
			s.refusal.Store(nil)
			s.await(t, importName, dns.TypeA, "10.1.0.1")
			s.awaitThat(t, "it works again", func() bool { return s.failing[kind] == 0 && s.hasLine("watch works again") })
		})
	}
}

// TestImportSilent starts while the search for the resources has no reply. The informer gives up, says
// so, and recovers.
func TestImportSilent(t *testing.T) {
	t.Parallel()
	s := newImportServer(t, Config{}, server{}, "v1beta1")
	source := s.source.(*cluster)
	source.clock = source.clock.(patient).fast
	path := "/apis/multicluster.x-k8s.io/v1beta1"
	s.silent.Store(&path)
	s.Start()
	t.Cleanup(s.Stop)
	s.awaitThat(t, "the fault is reported", func() bool {
		return s.failing[object.ServiceImports] == 1 && s.hasLine("can't watch", "find the resources of multicluster.x-k8s.io/v1beta1: no answer within 10s", "nothing to serve yet")
	})
	s.silent.Store(nil)
	s.await(t, importName, dns.TypeA, "10.1.0.1")
	s.awaitThat(t, "it works again", func() bool { return s.failing[object.ServiceImports] == 0 })
}

// TestImportFault begins a fault of the server while it has no ServiceImports, and while it has them.
func TestImportFault(t *testing.T) {
	t.Parallel()
	s := newImportServer(t, Config{}, server{})
	s.start(t)
	s.api.SetFault(apiserver.Fault{Code: http.StatusServiceUnavailable})
	s.awaitThat(t, "the fault is reported", func() bool { return s.failing[object.ServiceImports] == 1 })
	s.api.SetFault(apiserver.Fault{})
	s.awaitThat(t, "it works again", func() bool { return s.failing[object.ServiceImports] == 0 })
	s.api.ServeImports("v1alpha1")
	s.await(t, importName, dns.TypeA, "10.1.0.1")
	s.api.SetFault(apiserver.Fault{Code: http.StatusServiceUnavailable})
	s.api.DropWatches()
	s.awaitThat(t, "the fault is reported", func() bool { return s.failing[object.ServiceImports] == 1 })
	if got := s.answer(importName, dns.TypeA); got != "10.1.0.1" {
		t.Errorf("during the fault, the import has %q", got)
	}
	s.api.ServeImports() // the fault hides it
	s.api.SetFault(apiserver.Fault{})
	s.await(t, importName, dns.TypeA, "outside")
	s.awaitThat(t, "it works again", func() bool { return s.failing[object.ServiceImports] == 0 })
}

// TestImportBroken damages an import. Its last good state is served.
func TestImportBroken(t *testing.T) {
	t.Parallel()
	s := newImportServer(t, Config{}, server{}, "v1beta1")
	s.start(t)
	s.await(t, importName, dns.TypeA, "10.1.0.1")
	for range 2 {
		s.api.Damage(fixture.Import("nginx"), true)
		s.awaitThat(t, "it counts as broken", func() bool { return s.broken[object.ServiceImports] == 1 })
		s.api.Put(fixture.Import("db"))
		s.api.Expire() // the list has the broken one, too
		s.await(t, "db.default.svc.clusterset.local.", dns.TypeA, "missing")
		if got := s.answer(importName, dns.TypeA); got != "10.1.0.1" {
			t.Errorf("the import has %q", got)
		}
		s.api.Apply(gone(fixture.Import("db")))
		s.await(t, "db.default.svc.clusterset.local.", dns.TypeA, "outside")
		s.api.Put(fixture.Import("nginx"))
		s.awaitThat(t, "none is broken", func() bool { return s.broken[object.ServiceImports] == 0 })
	}
}

// TestImportLabels checks what Labels selects: imports, and all of their slices.
func TestImportLabels(t *testing.T) {
	labelled := func(i *mcsv1beta1.ServiceImport) { i.Labels = map[string]string{"env": "prod"} }
	s := newImportServer(t, Config{Labels: "env=prod"}, server{}, "v1beta1")
	s.start(t)
	s.api.Put(fixture.Import("web", labelled))
	s.await(t, "web.default.svc.clusterset.local.", dns.TypeA, "missing")
	if got := s.answer(importName, dns.TypeA); got != "outside" {
		t.Errorf("an import without the label has %q", got)
	}
	s.api.Put(fixture.Import("nginx", labelled))
	s.await(t, importName, dns.TypeA, "10.1.0.1")
	for _, r := range s.api.Asked("labelSelector=multicluster.kubernetes.io%2Fservice-name") {
		if !strings.Contains(r, "service-name&") {
			t.Errorf("imported slices are requested with %q", r)
		}
	}
}

// TestWithoutImports checks that a server is asked for nothing that the option needs, without it.
func TestWithoutImports(t *testing.T) {
	api := newServer(t, server{}, fixture.Nginx(), fixture.Web(0), fixture.Import("nginx"), fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1")))
	api.ServeImports("v1beta1")
	p, err := newProbe(Config{Cluster: Cluster{Endpoint: api.URL}})
	if err != nil {
		t.Fatal(err)
	}
	p.start(t)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")
	if asked := append(api.Asked("multicluster.x-k8s.io"), api.Asked("labelSelector=multicluster")...); len(asked) > 0 {
		t.Errorf("requested: %q", asked)
	}
	for _, r := range api.Asked("/endpointslices") {
		if !strings.Contains(r, "%21multicluster.kubernetes.io%2Fservice-name") && strings.Contains(r, "labelSelector") {
			t.Errorf("slices are requested with %q", r)
		}
	}
	if _, err := New(Tries{Services: p.trie}, Config{MultiCluster: true}); err == nil || !strings.Contains(err.Error(), "no trie for them") {
		t.Errorf("without a trie, the error is %v", err)
	}
}
