package cluster

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"testing"
)

// TestKill kills a program with a port and so much memory that the kernel needs a while to
// free it. It uses the port as soon as Kill returns.
func TestKill(t *testing.T) {
	if os.Getenv("TEST_KILL") != "" {
		listen()
	}
	c := &Cluster{Dir: t.TempDir()}
	c.Env = append(os.Environ(), "CLUSTER_DIR="+c.Dir, "CLUSTER_BIN="+c.Dir, "TEST_KILL=yes")
	if err := os.Mkdir(c.Dir+"/pids", 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cmd.Stdout = w
	err = c.Launch("listener", cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	addr, _, err := bufio.NewReader(stdout).ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill("listener"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", string(addr))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := <-ended; err == nil || err.Error() != "signal: killed" {
		t.Errorf("the program ended with %v, want signal: killed", err)
	}
	if _, err := os.Stat(c.PIDFile("listener")); !os.IsNotExist(err) {
		t.Errorf("the file with the process id is still there: %v", err)
	}
}

// listen listens on a port that it prints, with 256 MB of memory in use, until it is killed.
func listen() {
	memory := make([]byte, 256<<20)
	for i := range memory {
		memory[i] = 1
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(l.Addr().String() + "\n")
	for {
		_, _ = l.Accept()
		memory[0]++
	}
}
