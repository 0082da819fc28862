//go:build cluster

// The tests of the manifests have a real API server, with the controllers, take
// them, and run the server that is built with the Corefiles and the rights that
// are in them.
//
//	go test -tags cluster -count=1 ./plugin/deploy
package deploy_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const scripts = "../../testdata/cluster"

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
func build() error {
	out, err := command(scripts + "/build.sh")
	if err != nil {
		return err
	}
	bin = strings.TrimSpace(out)
	if program := os.Getenv("HEADLESS_COREDNS"); program != "" {
		our, err = filepath.Abs(program)
		return err
	}
	our = filepath.Join(filepath.Dir(bin), "coredns")
	env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	_, err = command("go", "build", "-o", our, "../coredns")
	return err
}

// up starts the cluster and returns what ends it and all that was put in its
// pids. That happens in a process of its own, which waits for this one to close
// a pipe: a test that panics or times out is cleaned up after, too.
func up() (down func() error, err error) {
	if dir, err = os.MkdirTemp("", "headless-deploy-"); err != nil {
		return nil, err
	}
	env = append(os.Environ(), "CLUSTER_DIR="+dir, "CLUSTER_BIN="+bin,
		"PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+dir+"/admin.kubeconfig")
	for _, name := range []string{"ETCD", "ETCD_PEER", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER", "KWOK"} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		env = append(env, name+"_PORT="+port)
	}
	keeper := exec.Command("sh", "-c", "cat; "+scripts+"/down.sh; rm -rf \"$CLUSTER_DIR\"")
	keeper.Env = env
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := keeper.Start(); err != nil {
		return nil, err
	}
	down = func() error {
		_ = pipe.Close()
		return keeper.Wait()
	}
	if _, err = command(scripts + "/up.sh"); err == nil {
		// The pods of a DaemonSet would be on this node, too, and never ready.
		_, err = command("kubectl", "delete", "node", "manual")
	}
	if err == nil {
		// The accounts and roles are those of the manifests.
		_, err = command("kubectl", "delete", "-f", scripts+"/rbac.yaml")
	}
	if err != nil {
		_ = down()
		return nil, err
	}
	return down, nil
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
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
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
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// freePort is a port that neither TCP nor UDP has on 127.0.0.1.
func freePort() (string, error) {
	for {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := tcp.Addr().(*net.TCPAddr)
		udp, err := net.ListenPacket("udp", addr.String())
		_ = tcp.Close()
		if err == nil {
			return strconv.Itoa(addr.Port), udp.Close()
		}
	}
}
