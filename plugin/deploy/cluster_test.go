//go:build cluster

// The tests of the manifests apply them to a real API server with the controllers. They run
// the server with the Corefiles and the roles of the manifests. Prometheus and promtool are
// those in PATH, where make daemons puts them.
//
//	go test -tags cluster -count=1 ./plugin/deploy
package deploy_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

var (
	bin     string           // the folder of the Kubernetes programs
	program string           // the path of the server
	kube    *cluster.Cluster // the cluster under test
)

func TestMain(m *testing.M) { cluster.Exit(run(m)) }

func run(m *testing.M) (code int, err error) {
	if bin, err = cluster.Build(); err != nil {
		return 0, err
	}
	if program, err = cluster.BuildServer(bin); err != nil {
		return 0, err
	}
	if kube, err = cluster.Start(bin, 2); err != nil {
		return 0, err
	}
	defer func() {
		if serr := kube.Stop(); err == nil {
			err = serr
		}
	}()
	if err := prepare(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// prepare makes kubectl work without flags, and removes objects that the manifests create.
func prepare() error {
	kube.Env = append(kube.Env, "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+kube.Dir+"/admin.kubeconfig")
	// The pods of a DaemonSet on the node "manual" would never be ready.
	_, err1 := command("kubectl", "delete", "node", "manual")
	_, err2 := command("kubectl", "delete", "-f", cluster.Scripts+"/rbac.yaml")
	_, err3 := command("kubectl", "label", "namespace", "kube-system", "pod-security.kubernetes.io/warn=restricted")
	return errors.Join(err1, err2, err3)
}

// command runs a program in the cluster's environment and returns its output.
func command(name string, args ...string) (string, error) {
	return commandIn("", "", name, args...)
}

// commandIn is command in a folder with an input.
func commandIn(folder, stdin, name string, args ...string) (string, error) {
	path := name
	if name == "kubectl" {
		path = bin + "/kubectl"
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdin = folder, strings.NewReader(stdin)
	return kube.Run(cmd)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command("kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually is [cluster.Eventually] with a minute of patience.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	cluster.Eventually(t, time.Minute, f)
}
