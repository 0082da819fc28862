package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/apiserver"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestReload reloads a changed Corefile several times under load, like the reload plugin.
// Every query gets a right answer. Both server blocks keep the objects of the API server,
// so that a reload lists nothing and needs no API server. When CoreDNS closes a socket,
// connections that it has not accepted are reset, with any plugin. So the clients retry,
// as resolvers do (RFC 7766, section 6.2.4).
func TestReload(t *testing.T) {
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	app := map[string]string{"app": "nginx"}
	api.Put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx", Labels: app},
		Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: app,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}},
	})
	put := func(pod, ip string) {
		api.Put(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: pod, Labels: app},
			Spec:       corev1.PodSpec{Hostname: pod, Subdomain: "nginx"},
			Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: ip}},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
	put("web-0", "10.244.0.1")
	put("web-1", "10.244.0.2")
	port := cluster.MustFreePort(t)
	corefile := func(ttl int, setting, more string) caddy.Input {
		headless := fmt.Sprintf("bind 127.0.0.1\nheadless {\nendpoint %s\nttl %d\n%s\n}\n", api.URL, ttl, setting)
		return caddy.CaddyfileInput{
			Contents:       fmt.Appendf(nil, "cluster.local:%[1]s {\n%[2]scache\n}\ncluster.example:%[1]s {\n%[2]s}\n%[3]s", port, headless, more),
			Filepath:       "Corefile",
			ServerTypeName: "dns",
		}
	}
	caddy.Quiet, dnsserver.Quiet = true, true
	instance, err := caddy.Start(corefile(1, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		instance.ShutdownCallbacks()
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := &served{udp: "127.0.0.1:" + port, tcp: "127.0.0.1:" + port}

	var stop atomic.Bool
	var asked, retries atomic.Int64
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		clients.Go(func() {
			for !stop.Load() {
				m, err := s.ask(nginx+" A", network, 1232)
				for range 2 {
					if err != nil {
						retries.Add(1)
						m, err = s.ask(nginx+" A", network, 1232)
					}
				}
				if err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 2 {
					t.Errorf("over %s: %v, %v", network, m, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	reload := func(ttl int, setting string) {
		t.Helper()
		if instance, err = instance.Restart(corefile(ttl, setting, "")); err != nil {
			t.Fatal(err)
		}
		// Until its sockets are closed, the replaced server answers with the old TTL.
		deadline := time.Now().Add(30 * time.Second)
		for {
			m, err := s.ask(nginx+" A", "udp", 1232)
			if err == nil && m.Answer[0].Header().Ttl == uint32(ttl) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after a reload: %v, %v", m, err)
			}
		}
		// Send some queries before the next reload.
		for before := asked.Load(); asked.Load() < before+200 && !t.Failed() && time.Now().Before(deadline); {
			if _, err := s.ask(nginx+" A", "udp", 1232); err != nil {
				retries.Add(1)
			}
		}
		s.want(t, "web-0.nginx.default.svc.cluster.example. A", "NOERROR 10.244.0.1")
	}
	listed := func(want int) {
		t.Helper()
		for _, resource := range []string{"services", "pods", "endpointslices"} {
			if n := api.Listed(resource); n != want {
				t.Errorf("lists of %s: %d, want %d", resource, n, want)
			}
		}
	}
	reload(2, "")
	reload(3, "")
	listed(1)

	// CoreDNS finds that a port is taken after all plugins have started.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, other, _ := net.SplitHostPort(taken.Addr().String())
	if _, err := instance.Restart(corefile(4, "", ".:"+other+" {\nbind 127.0.0.1\n}\n")); err == nil {
		t.Fatal("a reload with a port that is taken succeeded")
	}
	put("web-1", "10.244.0.3")
	s.await(t, "web-1.nginx.default.svc.cluster.example. A", "NOERROR 10.244.0.3")
	reload(5, "labels app")
	listed(2) // the settings of the source changed

	if err := api.Close(); err != nil {
		t.Fatal(err)
	}
	reload(6, "labels app")
	if err := api.Start(); err != nil {
		t.Fatal(err)
	}
	reload(7, "labels app")
	stop.Store(true)
	clients.Wait()
	t.Logf("%d queries, %d retries, 6 reloads", asked.Load(), retries.Load())
}

// TestNoPinnedDenial queries a pod before it exists, with a TTL of an hour and a cache
// after headless. The pod's name must resolve once the pod is there, not an hour later.
func TestNoPinnedDenial(t *testing.T) {
	dir := nginxFolder(t)
	s := serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\nheadless cluster.local {\nmanifests %s\nttl 3600\n}\ncache 3600\n}", dir))
	for range 3 {
		s.want(t, "web-2."+nginx+" A", "NXDOMAIN")
	}
	if err := os.WriteFile(filepath.Join(dir, "web-2.yaml"), []byte(podManifest("web-2", "10.244.0.3")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.await(t, "web-2."+nginx+" A", "NOERROR 10.244.0.3")
}

// await queries until the reply is as wanted.
func (s *served) await(t *testing.T, question, want string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := s.ask(question, "udp", 1232)
		if err == nil && describe(m) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %v, %v, want %q", question, m, err, want)
		}
		<-tick.C
	}
}
