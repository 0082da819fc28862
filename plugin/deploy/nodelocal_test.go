//go:build cluster

package deploy_test

import (
	"fmt"
	"reflect"
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

// nodeLocalCache requires that a cache with the configuration of the guide serves a
// new name at once, although the name was queried too early.
func nodeLocalCache(t *testing.T, s *server) {
	cache := newServer(t)
	cache.run(t, "cluster.local:"+cache.port+" {\nbind 127.0.0.1\nerrors\nready 127.0.0.1:"+cache.ready+"\nhealth 127.0.0.1:"+cache.health+
		"\n"+block(t, guide, "On every node", "corefile", 0)+"forward . 127.0.0.1:"+s.port+" {\nforce_tcp\n}\n}\n")
	const host = "web-0.nginx.default.svc.cluster.local"
	cache.await(t)
	for range 2 {
		if r, err := cache.ask(host, dns.TypeA); err != nil || r.Rcode != dns.RcodeNameError {
			t.Fatalf("want NXDOMAIN, got %v: %v", err, r)
		}
	}
	ip := nginx(t)
	eventually(t, func() error { return s.hasA(host, ip) })
	if err := cache.hasA(host, ip); err != nil {
		t.Error(err)
	}
}
