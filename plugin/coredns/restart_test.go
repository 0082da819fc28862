//go:build cluster

package main_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestAPIServerRestart stops the API server under queries, and starts it again. Known
// names keep resolving throughout, and a later change is served.
func TestAPIServerRestart(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, nginx)
	before := pods(t, ns, "nginx", 3)
	wantStatefulSet(t, ns, before)

	svc := fqdn("nginx", ns)
	var hosts []string
	for _, pod := range before {
		hosts = append(hosts, pod.Name+"."+svc)
	}
	a := ask(t, func(conn *dns.Conn) error {
		for i, host := range hosts {
			if err := hasAddrs(conn, host, ips(4, before[i]), 1); err != nil {
				return err
			}
		}
		// After the scaling the service has one more pod.
		if err := hasAddrs(conn, svc, ips(4, before...), 4); err != nil {
			return err
		}
		r, err := exchange(conn, "no-such-host."+svc, dns.TypeA)
		if err == nil && r.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("want NXDOMAIN:\n%v", r)
		}
		return err
	})
	a.more(100)
	script(t, "apiserver.sh", "stop")
	if _, err := api.Discovery().ServerVersion(); err == nil {
		t.Fatal("the API server still answers")
	}
	a.more(500)
	script(t, "apiserver.sh", "start")
	kubectl(t, "-n", ns, "scale", "statefulset", "web", "--replicas=4")
	after := pods(t, ns, "nginx", 4)
	begin := time.Now()
	wantStatefulSet(t, ns, after)
	t.Logf("a change after the restart was served %.1fs later", time.Since(begin).Seconds())
	a.more(100)
	a.end(t)
	agree(t, ns)
}
