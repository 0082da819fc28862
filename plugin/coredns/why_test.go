//go:build cluster

package main_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

// whyObjects has a service for each cause of a missing name. The test sets the states of the pods.
const whyObjects = `
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432, targetPort: sql}]}
---
apiVersion: v1
kind: Service
metadata: {name: vip}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: typo}
spec: {clusterIP: None, selector: {app: bd}}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec: {nodeName: manual, hostname: db-0, subdomain: db, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, labels: {app: db}}
spec: {nodeName: manual, hostname: db-1, subdomain: db, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-2, labels: {app: db}}
spec: {nodeName: manual, hostname: db-2, subdomain: postgres, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-3-x7k2p, labels: {app: db}}
spec: {nodeName: manual, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-4, labels: {app: db}}
spec: {nodeName: manual, hostname: shared, subdomain: db, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-5, labels: {app: db}}
spec: {nodeName: manual, hostname: shared, subdomain: db, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-6, labels: {app: db}}
spec: {nodeName: manual, hostname: db-6, subdomain: db, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec: {nodeName: manual, hostname: web-0, subdomain: db, containers: [{name: web, image: web}]}
`

// TestWhy makes every cause of a missing name with real objects, and asks for it with dig and
// busybox.
func TestWhy(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, whyObjects)
	setStatus(t, ns, "db-0", true, "10.201.9.1")
	setStatus(t, ns, "db-1", false, "10.201.9.2")
	setStatus(t, ns, "db-2", true, "10.201.9.3")
	setStatus(t, ns, "db-3-x7k2p", true, "10.201.9.4")
	setStatus(t, ns, "db-4", true, "10.201.9.5")
	setStatus(t, ns, "db-5", true, "10.201.9.6")
	setStatus(t, ns, "web-0", true, "10.201.9.8")
	wantAnswer(t, []string{"10.201.9.1"}, "A", "db-0."+fqdn("db", ns))
	wantAnswer(t, []string{"10.201.9.3"}, "A", "10-201-9-3."+fqdn("db", ns))

	for _, tc := range []struct {
		cause string
		name  string // below the namespace, with the type
		ede   string // "" if the name has records, or is not the plugin's
		why   string // the first reason begins so
	}{
		{"the pod is not ready", "db-1.db A", "pod db-1: not ready", "pod db-1: not ready; it gets the name when its readiness probe succeeds"},
		{"the pod has no address", "db-6.db A", "pod db-6: no address yet", "pod db-6: no address yet; "},
		{"a denial was cached before", "db-0.db A", "", "pod db-0: db-0.db has 10.201.9.1, ready, from pods of the API server"},
		{"subdomain is not the service's name", "db-2.db A", `pod db-2: subdomain is "postgres", not "db"`, `pod db-2: its subdomain is "postgres", not "db", so its name is 10-201-9-3.db; set its subdomain`},
		{"the name is below a service that does not exist", "db-2.postgres A", "", ns + "/postgres: no headless service that this server watches; create it with clusterIP: None"},
		{"the service has a cluster IP", "db-0.vip A", "", ns + "/vip: no headless service that this server watches; create it with clusterIP: None"},
		{"the selector selects nothing", "typo A", "service typo: no endpoints", "service typo: 0 of 0 endpoints ready"},
		{"the service does not select the pod", "web-0.db A", "no pod with hostname web-0", `pod web-0: service db does not select it: its label app is "web", but the selector wants "db"`},
		{"no hostname", "db-3-x7k2p.db A", "no pod with hostname db-3-x7k2p", "pod db-3-x7k2p: it has no hostname, so its name is 10-201-9-4.db; set hostname"},
		{"the hostname belongs to another service", "db-0.peers A", `pod db-0: subdomain is "db", not "peers"`, `pod db-0: its subdomain is "db", not "peers", so its name is 10-201-9-1.peers`},
		{"one hostname, many pods", "shared.db A", "", "pod db-4: shared.db has 10.201.9.5, ready, from pods of the API server"},
		{"the port has no name", "_sql._tcp.db SRV", "service db: its tcp port has no name", "service db: port 5432/tcp has no name; give it one in the Service"},
		{"the containers lack the named port", "_sql._tcp.peers SRV", "service peers: no tcp port named sql", `service peers: targetPort "sql" of port sql is no tcp port of the containers of 7 of 7 pods`},
	} {
		t.Run(tc.cause, func(t *testing.T) {
			name, rrtype, _ := strings.Cut(tc.name, " ")
			name += "." + ns + ".svc.cluster.local."
			eventually(t, func() error {
				r, err := srv.dig(name, rrtype)
				if err != nil {
					return err
				}
				want := "; EDE: 0 (Other): (" + tc.ede + ")\n"
				if tc.ede != "" && !strings.Contains(r.text, want) || tc.ede == "" && strings.Contains(r.text, "EDE") {
					return fmt.Errorf("want %q in %s", want, r.text)
				}
				return nil
			})
			reasons := whyOf(t, srv.port, name)
			if !strings.HasPrefix(reasons[0], tc.why) {
				t.Errorf("the reasons of %s are %q, want %q first", name, reasons, tc.why)
			}
			eventually(t, func() error {
				out, err := command("busybox", "nslookup", "-type=txt", "_why."+name, net.JoinHostPort("127.0.0.1", srv.port))
				if err != nil {
					return err
				}
				for _, reason := range reasons {
					if !strings.Contains(out, "text = \""+reason+"\"\n") {
						return fmt.Errorf("busybox prints %s, want %q in it", out, reason)
					}
				}
				return nil
			})
		})
	}
}

// whyOf returns the reasons that dig prints for a name.
func whyOf(t *testing.T, port, name string) []string {
	t.Helper()
	var out []string
	cluster.Eventually(t, 10*time.Second, func() error {
		text, err := command("dig", "@127.0.0.1", "-p", port, "+short", "+tries=1", "TXT", "_why."+name)
		if err != nil {
			return err
		}
		if strings.Contains(text, "only a few names a second") {
			return fmt.Errorf("%s", text)
		}
		out = nil
		for line := range strings.Lines(text) {
			out = append(out, strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), `"`), `"`), `\"`, `"`))
		}
		if len(out) == 0 {
			return fmt.Errorf("no reasons for %s", name)
		}
		return nil
	})
	return out
}
