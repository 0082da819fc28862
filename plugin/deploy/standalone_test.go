//go:build cluster

package deploy_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestStandalone installs servers for another zone beside the cluster's servers.
func TestStandalone(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	r := newRunbook(t)
	r.validate(t, "standalone", "--warnings-as-errors")
	const section = "A zone of its own"
	printed := strings.Split(r.run(t, section, 0), "\n")
	address := printed[len(printed)-1]
	t.Cleanup(func() {
		r.change(t, "standalone")
		r.run(t, section, 0)
		wantConfigMaps(t, 2)
		r.run(t, section, 1)
		wantRemoved(t)
	})
	if want := at(t, get(t, "service", "headless-standalone"), "spec", "clusterIP"); address != want {
		t.Errorf("the last command printed %q, want %v", address, want)
	}
	wantPorts(t, "deployment", "headless-standalone")
	wantDrain(t, "deployment", "headless-standalone")
	wantPlatforms(t, "deployment", "headless-standalone")
	wantEndpoints(t, "headless-standalone", 2, anyEndpoint)
	wantEndpoints(t, "kube-dns", 2, anyEndpoint)

	ip := nginx(t)
	text := corefile(t, "deployment", "headless-standalone")
	s := start(t, text, "headless-standalone")
	s.await(t)
	eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.headless.internal", ip) })
	s.wantBufsize(t, "web-0.nginx.default.svc.headless.internal")
	if reply, err := s.ask("headless.internal", dns.TypeSOA); err != nil || len(reply.Answer) != 1 || !reply.Authoritative {
		t.Errorf("want the SOA of the zone, got %v: %v", err, reply)
	}
	t.Run("forwarded", func(t *testing.T) {
		stub := newServer(t)
		zone := strings.Replace(block(t, guide, section, "corefile", 0), ":53 {", ":"+stub.port+" {\nbind 127.0.0.1\nready 127.0.0.1:"+stub.ready+
			"\nhealth 127.0.0.1:"+stub.health, 1)
		stub.run(t, strings.Replace(zone, "forward . 10.96.0.20", "forward . 127.0.0.1:"+s.port, 1))
		stub.await(t)
		eventually(t, func() error { return stub.hasA("web-0.nginx.default.svc.headless.internal", ip) })
	})
	t.Run("rights", func(t *testing.T) { rights(t, text, "headless-standalone") })
}
