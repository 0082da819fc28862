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

// web has pods that are ready as soon as they have an address.
const web = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 80}]
`

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

// TestFaults has a control plane of its own go wrong. What the pods have that are there
// all along is answered all along; each fault moves the metric, is logged once, and
// heals.
func TestFaults(t *testing.T) {
	was := struct {
		dir string
		env []string
		srv *server
	}{dir, env, srv}
	admin := kub
	down, err := up(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := down(); err != nil {
			t.Error(err)
		}
		dir, env, srv, kub = was.dir, was.env, was.srv, admin
	})
	kubectl(t, "apply", "-f", scripts+"/rbac.yaml")
	apply(t, "default", web)
	pod := func(i int, address string) {
		t.Helper()
		apply(t, "default", fmt.Sprintf(webPod, i))
		setStatus(t, "default", fmt.Sprint("web-", i), true, address)
	}
	pod(0, "10.9.0.1")
	pod(1, "10.9.0.2")

	// A connection on which nothing comes is tried after 5 seconds, not 30, and given up
	// 5 seconds later, not 15: client-go's own settings.
	plain := env
	env = append(env[:len(env):len(env)], "HTTP2_READ_IDLE_TIMEOUT_SECONDS=5", "HTTP2_PING_TIMEOUT_SECONDS=5")
	if srv, err = newServer("faults", our, "headless"); err != nil {
		t.Fatal(err)
	}
	env = plain
	svc := fqdn("web", "default")
	wantAnswer(t, []string{"10.9.0.1", "10.9.0.2"}, "A", svc)
	a := ask(t, func(conn *dns.Conn) error {
		return errors.Join(
			holds(conn, "web-0."+svc, []string{"10.9.0.1"}, 1),
			holds(conn, "web-1."+svc, []string{"10.9.0.2"}, 1),
			holds(conn, svc, []string{"10.9.0.1", "10.9.0.2"}, 4))
	})
	defer a.end(t)

	t.Run("RBAC withdrawn, and killed", func(t *testing.T) {
		kubectl(t, "delete", "clusterrolebinding", "headless")
		pod(2, "10.9.0.3") // what is watched already goes on
		wantAnswer(t, []string{"10.9.0.3"}, "A", "web-2."+svc)
		kill(t, "kube-apiserver", syscall.SIGKILL)
		wantFailing(t, 3)
		startAgain(t, "apiserver.sh", "start")
		cluster.Eventually(t, 4*time.Minute, func() error { return logs("forbidden", 3) })
		wantFailing(t, 3)
		kubectl(t, "apply", "-f", scripts+"/rbac.yaml")
		wantFailing(t, 0)
		pod(2, "10.9.0.4")
		wantAnswer(t, []string{"10.9.0.4"}, "A", "web-2."+svc)
		if err := logs("forbidden", 3); err != nil { // once for each kind, whatever was tried
			t.Error(err)
		}
	})

	t.Run("silent", func(t *testing.T) {
		kill(t, "kube-apiserver", syscall.SIGSTOP)
		wantFailing(t, 3)
		a.more(100)
		kill(t, "kube-apiserver", syscall.SIGCONT)
		wantFailing(t, 0)
		pod(2, "10.9.0.5")
		wantAnswer(t, []string{"10.9.0.5"}, "A", "web-2."+svc)
	})

	t.Run("token replaced", func(t *testing.T) {
		kubectl(t, "-n", "kube-system", "delete", "serviceaccount", "headless")
		kubectl(t, "apply", "-f", scripts+"/rbac.yaml")
		kill(t, "kube-apiserver", syscall.SIGKILL) // what is watched would go on
		startAgain(t, "apiserver.sh", "start")
		cluster.Eventually(t, 4*time.Minute, func() error { return logs("nauthorized", 1) }) // once for all kinds
		if _, err := kubeconfigOf("headless"); err != nil {
			t.Fatal(err)
		}
		wantFailing(t, 0)
		pod(2, "10.9.0.6")
		wantAnswer(t, []string{"10.9.0.6"}, "A", "web-2."+svc)
	})

	t.Run("etcd restored", func(t *testing.T) {
		// While it stands still, its files are as after a power cut.
		kill(t, "etcd", syscall.SIGSTOP)
		err := os.CopyFS(dir+"/backup", os.DirFS(dir+"/etcd"))
		kill(t, "etcd", syscall.SIGCONT)
		if err != nil {
			t.Fatal(err)
		}
		pod(3, "10.9.0.7")
		// The server that is restored writes when it starts. If it were past what is
		// known before a watch is resumed, nobody could tell.
		for i := range 1000 {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"i":"%d"}}}`, i)
			if _, err := kub.CoreV1().Pods("default").Patch(t.Context(), "web-2", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		wantAnswer(t, []string{"10.9.0.7"}, "A", "web-3."+svc)
		kill(t, "kube-apiserver", syscall.SIGKILL)
		kill(t, "etcd", syscall.SIGKILL)
		if err := errors.Join(os.RemoveAll(dir+"/etcd"), os.Rename(dir+"/backup", dir+"/etcd")); err != nil {
			t.Fatal(err)
		}
		wantFailing(t, 3)
		startAgain(t, "etcd.sh")
		startAgain(t, "apiserver.sh", "start")
		wantFailing(t, 0)
		// It has never been. Either that is found out, or a refusal came first, after
		// which all is listed anyway.
		wantNoName(t, "A", "web-3."+svc)
		pod(2, "10.9.0.8")
		wantAnswer(t, []string{"10.9.0.8"}, "A", "web-2."+svc)
	})
	t.Logf("the log:\n%s", srv.log(1<<20))
}

// kill sends a signal to a process of the cluster. One that is killed is waited for.
func kill(t *testing.T, name string, signal syscall.Signal) {
	t.Helper()
	if err := cluster.Signal(dir, name, signal); err != nil {
		t.Fatal(err)
	}
	if signal == syscall.SIGKILL {
		if _, err := command("bash", "-c", ". "+scripts+"/env.sh; stop "+name); err != nil {
			t.Fatal(err)
		}
	}
}

func startAgain(t *testing.T, script string, args ...string) {
	t.Helper()
	if _, err := command(scripts+"/"+script, args...); err != nil {
		t.Fatal(err)
	}
}

var failing = regexp.MustCompile(`(?m)^coredns_headless_failing_watches\{kind="(\w+)"\} (\d+)$`)

// wantFailing waits until so many watches fail. A token is read again after a minute.
func wantFailing(t *testing.T, want int) {
	t.Helper()
	cluster.Eventually(t, 4*time.Minute, func() error {
		metrics, err := fetch(srv.metrics)
		if err != nil {
			return err
		}
		n := 0
		matches := failing.FindAllStringSubmatch(metrics, -1)
		for _, m := range matches {
			if m[2] != "0" {
				n++
			}
		}
		if n != want || len(matches) == 0 {
			return fmt.Errorf("%d watches fail, want %d:\n%s", n, want, srv.log(4096))
		}
		return nil
	})
}

// logs returns an error unless a pattern is in so many lines, or in up to twice as many: a
// fault may show both as a watch that ends and as a list that is refused.
func logs(pattern string, want int) error {
	log := srv.log(1 << 20)
	n := len(regexp.MustCompile(pattern).FindAllString(log, -1))
	if n < want || n > 2*want {
		return fmt.Errorf("%q is in %d lines, want %d:\n%s", pattern, n, want, log)
	}
	return nil
}
