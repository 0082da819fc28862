//go:build cluster

// The cluster tests ask a real server about a real Kubernetes: the scripts of
// testdata/cluster start a control plane and simulated nodes, the server is the
// program of this folder, and the clients are dig and nslookup. Beside it run the
// same server without the headless stanza, as the reference to agree with, and
// one with nothing but that stanza, which shows that the answers are its own.
//
//	go test -tags cluster -count=1 -timeout 30m ./plugin/coredns
package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/headless-dns/headless/internal/cluster"
)

const scripts = cluster.Scripts

var (
	bin string                // the programs of Kubernetes
	our string                // the server under test
	dir string                // the state of the cluster, and its processes in pids
	env []string              // what the scripts of the cluster go by
	kub *kubernetes.Clientset // the API server, as its admin

	srv   *server // headless before the kubernetes plugin, the server under test
	alone *server // headless with no plugin behind it
	ref   *server // the kubernetes plugin alone, the reference
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	begin := time.Now()
	if our, err = build(); err != nil {
		return 0, err
	}
	built := time.Now()

	down, err := up(2)
	if err != nil {
		return 0, err
	}
	defer func() {
		if derr := down(); err == nil {
			err = derr
		}
	}()
	if srv, err = newServer("overlay", our, "headless", "coredns"); err != nil {
		return 0, err
	}
	if alone, err = newServer("alone", our, "headless"); err != nil {
		return 0, err
	}
	if ref, err = newServer("reference", our, "coredns"); err != nil {
		return 0, err
	}
	version, err := kub.Discovery().ServerVersion()
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

// build makes the programs of Kubernetes and the server under test, or takes the
// latter from HEADLESS_COREDNS. It returns the server's path.
func build() (program string, err error) {
	if bin, err = cluster.Build(); err != nil {
		return "", err
	}
	if program := os.Getenv("HEADLESS_COREDNS"); program != "" {
		return filepath.Abs(program)
	}
	// It stays beside the programs of Kubernetes, where the next run finds it: go
	// build links only what has changed.
	program = filepath.Join(filepath.Dir(bin), "coredns")
	env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	_, err = command("go", "build", "-o", program, ".")
	return program, err
}

// up starts a cluster with as many nodes as told and returns what ends it and all that
// was put in its pids.
func up(nodes int) (down func() error, err error) {
	c, err := cluster.Start(bin, nodes)
	if err != nil {
		return nil, err
	}
	dir, env = c.Dir, c.Env
	if kub, err = client(dir + "/admin.kubeconfig"); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c.Stop, nil
}

func client(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}

// command runs a program in the environment of the cluster and returns what it
// prints.
func command(name string, args ...string) (string, error) {
	return commandWith("", name, args...)
}

func commandWith(stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = env
	cmd.Stdin = strings.NewReader(stdin)
	return cluster.Run(cmd)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(bin+"/kubectl", append([]string{"--kubeconfig", dir + "/admin.kubeconfig"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies a manifest to the namespace.
func apply(t *testing.T, ns, manifest string) {
	t.Helper()
	_, err := commandWith(manifest, bin+"/kubectl", "--kubeconfig", dir+"/admin.kubeconfig", "-n", ns, "apply", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
}

// namespace makes a namespace named after the test. It is left to the end of the
// cluster.
func namespace(t *testing.T) string {
	t.Helper()
	ns := strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
	kubectl(t, "create", "namespace", ns)
	// A pod is refused until its namespace has the default account.
	eventually(t, func() error {
		_, err := kub.CoreV1().ServiceAccounts(ns).Get(context.Background(), "default", get)
		return err
	})
	return ns
}

// eventually polls until f succeeds, and fails with its last error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	cluster.Eventually(t, time.Minute, f)
}
