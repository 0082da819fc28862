//go:build cluster

package main_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// db runs on the node "manual", so that the test chooses the addresses of its pods. The
// second service answers with a pod until the pod is gone, the first until it terminates.
const db = `
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  selector: {app: db}
  ports: [{port: 5432, name: sql}]
---
apiVersion: v1
kind: Service
metadata: {name: db-not-ready}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: db}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      nodeName: manual
      containers: [{name: db, image: db}]
`

// TestReplacedPod replaces a pod of a StatefulSet several times, each time with another
// address, under queries. No reply may have two addresses, or an address that no pod has
// any more.
func TestReplacedPod(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, db)
	svc, notReady := fqdn("db", ns), fqdn("db-not-ready", ns)
	host := "db-0." + svc
	const replacements = 5
	addr := func(i int) string { return fmt.Sprintf("10.201.1.%d", i) }

	newest := 0
	a := ask(t, func(conn *dns.Conn) error {
		for _, name := range []string{host, svc, notReady} {
			r, err := exchange(conn, name, dns.TypeA)
			if err != nil {
				return err
			}
			if r.Rcode == dns.RcodeNameError && len(r.Answer) == 0 {
				continue // the old pod is gone, the new one is not ready
			}
			i := newest
			for i <= replacements && !slices.Equal(rdatas(r.Answer), []string{addr(i)}) {
				i++
			}
			if i > replacements {
				return fmt.Errorf("want one address, %s or later:\n%v", addr(newest), r)
			}
			newest = i
		}
		return nil
	})
	for i := 1; i <= replacements; i++ {
		setStatus(t, ns, "db-0", true, addr(i))
		wantAnswer(t, []string{addr(i)}, "A", host)
		wantAnswer(t, []string{addr(i)}, "A", svc)
		wantAnswer(t, []string{addr(i)}, "A", notReady)
		wantAnswer(t, []string{host}, "-x", addr(i))
		if i > 1 {
			if err := srv.refuses("-x", addr(i-1)); err != nil {
				t.Error(err)
			}
		}
		if i < replacements {
			remove(t, ns, "db-0")
		}
	}
	a.end(t)
	agree(t, ns)
}
