//go:build cluster

// The tests of the manifests have a real API server, with the controllers, take
// them, and run the server that is built with the Corefiles and the rights that
// are in them. Prometheus and promtool are those of make prometheus, if there are
// no others.
//
//	go test -tags cluster -count=1 ./plugin/deploy
package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

const scripts = cluster.Scripts

var (
	bin string   // the programs of Kubernetes
	our string   // the server
	dir string   // the state of the cluster, and its processes in pids
	env []string // what the scripts of the cluster go by
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
	if err := build(); err != nil {
		return 0, err
	}
	down, err := up()
	if err != nil {
		return 0, err
	}
	defer func() {
		if derr := down(); err == nil {
			err = derr
		}
	}()
	return m.Run(), nil
}

// build makes the programs of Kubernetes and the server, or takes the latter from
// HEADLESS_COREDNS.
func build() (err error) {
	if bin, err = cluster.Build(); err != nil {
		return err
	}
	if program := os.Getenv("HEADLESS_COREDNS"); program != "" {
		our, err = filepath.Abs(program)
		return err
	}
	our = filepath.Join(filepath.Dir(bin), "coredns")
	env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	_, err = command("go", "build", "-o", our, "../coredns")
	return err
}

// up starts the cluster and returns what ends it and all that was put in its pids.
func up() (down func() error, err error) {
	c, err := cluster.Start(bin, 2)
	if err != nil {
		return nil, err
	}
	dir = c.Dir
	env = append(c.Env, "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+dir+"/admin.kubeconfig")
	// The pods of a DaemonSet would be on this node, too, and never ready.
	if _, err = command("kubectl", "delete", "node", "manual"); err == nil {
		// The accounts and roles are those of the manifests.
		_, err = command("kubectl", "delete", "-f", scripts+"/rbac.yaml")
	}
	if err == nil {
		_, err = command("kubectl", "label", "namespace", "kube-system", "pod-security.kubernetes.io/warn=restricted")
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c.Stop, nil
}

// command runs a program in the environment of the cluster and returns what it
// prints.
func command(name string, args ...string) (string, error) {
	return commandIn("", "", name, args...)
}

// commandIn runs a program in a folder, and with an input.
func commandIn(folder, stdin, name string, args ...string) (string, error) {
	path := name
	if name == "kubectl" {
		path = bin + "/kubectl"
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = folder, env
	cmd.Stdin = strings.NewReader(stdin)
	return cluster.Run(cmd)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command("kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually polls until f succeeds, and fails with its last error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	cluster.Eventually(t, time.Minute, f)
}
