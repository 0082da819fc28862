//go:build cluster

package main_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headless-dns/headless/internal/cluster"
)

// web is a service for the pods of webPod.
const web = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 80}]
`

// webPod is never scheduled: the test writes its status.
const webPod = `
apiVersion: v1
kind: Pod
metadata: {name: web-%d, labels: {app: web}}
spec:
  hostname: web-%[1]d
  subdomain: web
  schedulingGates: [{name: never}]
  containers: [{name: web, image: web}]
`

// TestFaults breaks a separate control plane in four ways. During each fault the server
// keeps answering for the pods that stay. Each fault shows in the metric, is logged once,
// and the server recovers.
func TestFaults(t *testing.T) {
	beforeKube, beforeAPI, beforeServer := kube, api, srv
	c, admin, err := up(0)
	if err != nil {
		t.Fatal(err)
	}
	kube, api = c, admin
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		kube, api, srv = beforeKube, beforeAPI, beforeServer
	})
	kubectl(t, "apply", "-f", cluster.Scripts+"/rbac.yaml")
	apply(t, "default", web)
	pod := func(i int, address string) {
		t.Helper()
		apply(t, "default", fmt.Sprintf(webPod, i))
		setStatus(t, "default", fmt.Sprint("web-", i), true, address)
	}
	pod(0, "10.9.0.1")
	pod(1, "10.9.0.2")

	// client-go pings a silent connection after 30 seconds, and closes it 15 seconds
	// later if there is no reply. Here both are 5 seconds.
	plain := kube.Env
	kube.Env = append(plain[:len(plain):len(plain)], "HTTP2_READ_IDLE_TIMEOUT_SECONDS=5", "HTTP2_PING_TIMEOUT_SECONDS=5")
	if srv, err = newServer("faults", "headless"); err != nil {
		t.Fatal(err)
	}
	kube.Env = plain
	svc := fqdn("web", "default")
	wantAnswer(t, []string{"10.9.0.1", "10.9.0.2"}, "A", svc)
	a := ask(t, func(conn *dns.Conn) error {
		return errors.Join(
			hasAddrs(conn, "web-0."+svc, []string{"10.9.0.1"}, 1),
			hasAddrs(conn, "web-1."+svc, []string{"10.9.0.2"}, 1),
			hasAddrs(conn, svc, []string{"10.9.0.1", "10.9.0.2"}, 4))
	})
	defer a.end(t)

	t.Run("rights withdrawn and API server killed", func(t *testing.T) {
		kubectl(t, "delete", "clusterrolebinding", "headless")
		pod(2, "10.9.0.3") // watches that are open continue
		wantAnswer(t, []string{"10.9.0.3"}, "A", "web-2."+svc)
		kill(t, "kube-apiserver")
		wantFailingWatches(t, 3)
		script(t, "apiserver.sh", "start")
		cluster.Eventually(t, 4*time.Minute, func() error { return logged("forbidden", 3) })
		wantFailingWatches(t, 3)
		kubectl(t, "apply", "-f", cluster.Scripts+"/rbac.yaml")
		wantFailingWatches(t, 0)
		pod(2, "10.9.0.4")
		wantAnswer(t, []string{"10.9.0.4"}, "A", "web-2."+svc)
		if err := logged("forbidden", 3); err != nil { // once for each kind, however often the plugin retries
			t.Error(err)
		}
	})

	t.Run("API server silent", func(t *testing.T) {
		signal(t, "kube-apiserver", syscall.SIGSTOP)
		wantFailingWatches(t, 3)
		a.more(100)
		signal(t, "kube-apiserver", syscall.SIGCONT)
		wantFailingWatches(t, 0)
		pod(2, "10.9.0.5")
		wantAnswer(t, []string{"10.9.0.5"}, "A", "web-2."+svc)
	})

	t.Run("account recreated", func(t *testing.T) {
		kubectl(t, "-n", "kube-system", "delete", "serviceaccount", "headless")
		kubectl(t, "apply", "-f", cluster.Scripts+"/rbac.yaml")
		kill(t, "kube-apiserver") // else the open watches would continue
		script(t, "apiserver.sh", "start")
		cluster.Eventually(t, 4*time.Minute, func() error { return logged("nauthorized", 1) }) // once for all kinds together
		if _, err := kube.Kubeconfig("headless"); err != nil {
			t.Fatal(err)
		}
		wantFailingWatches(t, 0)
		pod(2, "10.9.0.6")
		wantAnswer(t, []string{"10.9.0.6"}, "A", "web-2."+svc)
	})

	t.Run("etcd restored", func(t *testing.T) {
		// The files of a stopped etcd are as after a power cut.
		signal(t, "etcd", syscall.SIGSTOP)
		err := os.CopyFS(kube.Dir+"/backup", os.DirFS(kube.Dir+"/etcd"))
		signal(t, "etcd", syscall.SIGCONT)
		if err != nil {
			t.Fatal(err)
		}
		pod(3, "10.9.0.7")
		// The restored API server writes when it starts. If its version passed that of
		// the watches before they resume, no client could detect the restore. So the
		// test makes many versions that the restore loses.
		for i := range 1000 {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"i":"%d"}}}`, i)
			if _, err := api.CoreV1().Pods("default").Patch(t.Context(), "web-2", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		wantAnswer(t, []string{"10.9.0.7"}, "A", "web-3."+svc)
		kill(t, "kube-apiserver")
		kill(t, "etcd")
		if err := errors.Join(os.RemoveAll(kube.Dir+"/etcd"), os.Rename(kube.Dir+"/backup", kube.Dir+"/etcd")); err != nil {
			t.Fatal(err)
		}
		wantFailingWatches(t, 3)
		script(t, "etcd.sh")
		script(t, "apiserver.sh", "start")
		wantFailingWatches(t, 0)
		// After the restore, web-3 never existed. The plugin detects the restore, or a
		// watch is refused first and every kind is relisted anyway.
		wantNXDOMAIN(t, "A", "web-3."+svc)
		pod(2, "10.9.0.8")
		wantAnswer(t, []string{"10.9.0.8"}, "A", "web-2."+svc)
	})
	t.Logf("the log:\n%s", srv.log(1<<20))
}

// kill kills a program of the cluster and waits for its end.
func kill(t *testing.T, name string) {
	t.Helper()
	if err := kube.Kill(name); err != nil {
		t.Fatal(err)
	}
}

// signal sends SIGSTOP or SIGCONT to a program of the cluster.
func signal(t *testing.T, name string, signal syscall.Signal) {
	t.Helper()
	if err := kube.Signal(name, signal); err != nil {
		t.Fatal(err)
	}
}

// wantFailingWatches waits until the given number of watches fail. A client reads its
// token again after a minute.
func wantFailingWatches(t *testing.T, want int) {
	t.Helper()
	cluster.Eventually(t, 4*time.Minute, func() error {
		n, err := cluster.FailingWatches(srv.metrics)
		if err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%d watches fail, want %d:\n%s", n, want, srv.log(4096))
		}
		return nil
	})
}

// logged returns an error unless the log matches the pattern at least want times and at
// most twice as often. A fault may show twice: a watch ends, and a list is refused.
func logged(pattern string, want int) error {
	log := srv.log(1 << 20)
	n := len(regexp.MustCompile(pattern).FindAllString(log, -1))
	if n < want || n > 2*want {
		return fmt.Errorf("%q is in %d lines, want %d:\n%s", pattern, n, want, log)
	}
	return nil
}
