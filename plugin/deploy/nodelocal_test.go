//go:build cluster

package deploy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestNodelocal installs a server on each node, behind NodeLocal DNSCache.
func TestNodelocal(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	create(t, "testdata/nodelocal.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	r := newRunbook(t)
	r.validate(t, "nodelocal", "--warnings-as-errors")
	const section = "On every node"
	r.run(t, section, 0)
	// There are two servers of kubeadm, and one server on each of the two nodes.
	wantEndpoints(t, "kube-dns-upstream", 4, func(e any) error {
		want := map[string]any{"forNodes": []any{map[string]any{"name": at(t, e, "nodeName")}}}
		if got := at(t, e, "hints"); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("hints: got %v, want %v", got, want)
		}
		return nil
	})
	wantPorts(t, "daemonset", "headless-node")
	wantDrain(t, "daemonset", "headless-node")
	wantPlatforms(t, "daemonset", "headless-node")
	s := start(t, corefile(t, "daemonset", "headless-node"), "headless-node")
	s.await(t)
	t.Run("cache", func(t *testing.T) { nodeLocalCache(t, s) })

	r.change(t, "corefile")
	r.run(t, section, 0)
	wantConfigMaps(t, 2)
	r.run(t, section, 1)
	wantRemoved(t)
	wantEndpoints(t, "kube-dns-upstream", 2, func(e any) error {
		if hints := at(t, e, "hints"); hints != nil {
			return fmt.Errorf("hints: got %v, want none", hints)
		}
		return nil
	})
}

// nodeLocalCache requires that caches serve new names at once, although they were queried too early:
// NodeLocal DNSCache as it is, that of a pod, and with the change of the guide, that of a Service.
func nodeLocalCache(t *testing.T, s *server) {
	const service, pod = "nginx.default.svc.cluster.local", "web-2.nginx.default.svc.cluster.local"
	change := block(t, guide, "On every node", "corefile", 0)
	const disable = "        disable denial cluster.local\n"
	if !strings.Contains(change, disable) {
		t.Fatalf("the guide does not add %q:\n%s", disable, change)
	}
	start := func(stanza string) *server {
		cache := newServer(t)
		cache.run(t, "cluster.local:"+cache.port+" {\nbind 127.0.0.1\nerrors\nready 127.0.0.1:"+cache.ready+"\nhealth 127.0.0.1:"+cache.health+
			"\n"+stanza+"forward . 127.0.0.1:"+s.port+" {\nforce_tcp\n}\n}\n")
		cache.await(t)
		return cache
	}
	deny := func(cache *server, name string) {
		t.Helper()
		for range 2 {
			if r, err := cache.ask(name, dns.TypeA); err != nil || r.Rcode != dns.RcodeNameError {
				t.Fatalf("want NXDOMAIN, got %v: %v", err, r)
			}
		}
	}
	plain, changed := start(strings.Replace(change, disable, "", 1)), start(change)
	deny(changed, service)
	ip := nginx(t)
	eventually(t, func() error { return s.hasA("web-0."+service, ip) })
	if r, err := changed.ask(service, dns.TypeA); err != nil || len(r.Answer) == 0 {
		t.Errorf("want the addresses of the Service, got %v: %v", err, r)
	}
	deny(plain, pod)
	kubectl(t, "scale", "statefulset", "web", "--replicas=3")
	kubectl(t, "rollout", "status", "statefulset", "web")
	ip = kubectl(t, "get", "pod", "web-2", "-o", "jsonpath={.status.podIP}")
	eventually(t, func() error { return s.hasA(pod, ip) })
	if err := plain.hasA(pod, ip); err != nil {
		t.Error(err)
	}
}
