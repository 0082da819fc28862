//go:build cluster

// The cluster tests query a real server about a real Kubernetes. The scripts of
// testdata/cluster start a control plane and simulated nodes, the server is the program of
// this folder, and the clients are dig and nslookup. Two more servers run beside it: one
// without the headless stanza, as the reference, and one with that stanza alone, which
// shows that headless itself gives the answers.
//
//	go test -tags cluster -count=1 -timeout 30m ./plugin/coredns
package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/headless-dns/headless/internal/cluster"
)

var (
	bin     string                // the folder of the Kubernetes programs
	program string                // the path of the server
	kube    *cluster.Cluster      // the cluster under test
	api     *kubernetes.Clientset // its API server, as the admin

	srv   *server // headless before the kubernetes plugin: the server under test
	alone *server // headless alone
	ref   *server // the kubernetes plugin alone: the reference
)

func TestMain(m *testing.M) { cluster.Exit(run(m)) }

func run(m *testing.M) (code int, err error) {
	begin := time.Now()
	if bin, err = cluster.Build(); err != nil {
		return 0, err
	}
	if program, err = cluster.BuildServer(bin); err != nil {
		return 0, err
	}
	built := time.Now()

	if kube, api, err = up(2); err != nil {
		return 0, err
	}
	defer func() {
		if serr := kube.Stop(); err == nil {
			err = serr
		}
	}()
	if srv, err = newServer("overlay", "headless", "coredns"); err != nil {
		return 0, err
	}
	if alone, err = newServer("alone", "headless"); err != nil {
		return 0, err
	}
	if ref, err = newServer("reference", "coredns"); err != nil {
		return 0, err
	}
	version, err := api.Discovery().ServerVersion()
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(os.Stderr, "built in %.1fs; Kubernetes %s and servers up in %.1fs\n",
		built.Sub(begin).Seconds(), version.GitVersion, time.Since(built).Seconds())

	if code = m.Run(); code != 0 {
		fmt.Fprintf(os.Stderr, "end of the log of %s:\n%s\n", srv.name, srv.log(4096))
	}
	return code, nil
}

// up starts a cluster with the given number of nodes.
func up(nodes int) (*cluster.Cluster, *kubernetes.Clientset, error) {
	c, err := cluster.Start(bin, nodes)
	if err != nil {
		return nil, nil, err
	}
	admin, err := c.Client()
	if err != nil {
		return nil, nil, errors.Join(err, c.Stop())
	}
	return c, admin, nil
}

// command runs a program in the cluster's environment and returns its output.
func command(name string, args ...string) (string, error) {
	return kube.Run(exec.Command(name, args...))
}

// commandWith is command with an input.
func commandWith(stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return kube.Run(cmd)
}

// script runs a script of the cluster.
func script(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := command(cluster.Scripts+"/"+name, args...); err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(bin+"/kubectl", append([]string{"--kubeconfig", kube.Dir + "/admin.kubeconfig"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies a manifest to a namespace.
func apply(t *testing.T, ns, manifest string) {
	t.Helper()
	_, err := commandWith(manifest, bin+"/kubectl", "--kubeconfig", kube.Dir+"/admin.kubeconfig", "-n", ns, "apply", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
}

// namespace creates a namespace named after the test. It lives as long as the cluster.
func namespace(t *testing.T) string {
	t.Helper()
	ns := strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
	kubectl(t, "create", "namespace", ns)
	// The API server refuses pods until the namespace has its default account.
	eventually(t, func() error {
		_, err := api.CoreV1().ServiceAccounts(ns).Get(context.Background(), "default", get)
		return err
	})
	return ns
}

// eventually is [cluster.Eventually] with a minute of patience.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	cluster.Eventually(t, time.Minute, f)
}
