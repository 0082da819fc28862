package main

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/headless-dns/headless/plugin/apiserver"
)

// asCluster makes a process of this test binary a [Cluster].
const asCluster = "HEADLESS_BENCH_CLUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(asCluster) != "" {
		serveCluster()
		return
	}
	code := m.Run()
	if err := endProcesses(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Cluster is a stand-in API server with its objects. It has a process of its own,
// so that its memory and CPU are not those of what is measured, and is called over
// the pipes to that; it ends with them.
type Cluster struct {
	api      *apiserver.Server
	services []service
}

// Services says what a cluster has.
type Services struct {
	Sizes []int
}

// Pods are some of a service's: those from First, below End.
type Pods struct {
	Service    int // by index
	First, End int
	Ready      bool
}

func serveCluster() {
	api, err := apiserver.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := rpc.NewServer()
	if err := server.Register(&Cluster{api: api}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server.ServeConn(pipes{os.Stdin, os.Stdout}) // until the other end is gone
}

// pipes are a connection.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

// Close implements io.Closer.
func (p pipes) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// Populate makes the objects and returns the server's URL.
func (c *Cluster) Populate(s Services, url *string) error { //nolint:unparam // as net/rpc has it
	c.services = newServices(s.Sizes...)
	populate(c.api, c.services)
	*url = c.api.URL
	return nil
}

// SetReady changes pods, and the slices that they are in, and returns the time at
// which they were sent. The EndpointSlice controller of this cluster takes no time.
func (c *Cluster) SetReady(p Pods, at *int64) error { //nolint:unparam // as net/rpc has it
	s := &c.services[p.Service]
	var objects []apiserver.Object
	for i := p.First; i < p.End; i++ {
		objects = append(objects, s.pod(i, p.Ready))
	}
	ready := func(i int) bool { return p.Ready || i < p.First || i >= p.End }
	for k := p.First / endpointsPerSlice; k*endpointsPerSlice < p.End; k++ {
		objects = append(objects, s.slice(k, ready))
	}
	c.api.Put(objects...)
	*at = time.Now().UnixNano()
	return nil
}

// Relist ends all watches in such a way that clients list anew.
func (c *Cluster) Relist(_ struct{}, _ *struct{}) error { //nolint:unparam // as net/rpc has it
	c.api.Expire()
	return nil
}

// Listed is how often a resource was sent in full.
func (c *Cluster) Listed(resource string, n *int) error { //nolint:unparam // as net/rpc has it
	*n = c.api.Listed(resource)
	return nil
}

// cluster is a [Cluster] as the benchmarks see it.
type cluster struct {
	url      string
	services []service
	client   *rpc.Client
}

// startCluster starts a cluster; it ends with this process, at the latest.
func startCluster(b *testing.B, sizes []int) *cluster {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), asCluster+"=1")
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	startProcess(b, cmd)
	c := &cluster{services: newServices(sizes...), client: rpc.NewClient(pipes{out, in})}
	call(b, c, "Populate", Services{sizes}, &c.url)
	return c
}

func call[A, R any](b *testing.B, c *cluster, method string, args A, reply *R) {
	b.Helper()
	if err := c.client.Call("Cluster."+method, args, reply); err != nil {
		b.Fatalf("%s: %v", method, err)
	}
}

// setReady makes pods of a service ready or not, and returns when that was sent.
func (c *cluster) setReady(b *testing.B, p Pods) time.Time {
	b.Helper()
	var at int64
	call(b, c, "SetReady", p, &at)
	return time.Unix(0, at)
}

// listed is how often a resource was sent in full.
func (c *cluster) listed(b *testing.B, resource string) (n int) {
	b.Helper()
	call(b, c, "Listed", resource, &n)
	return n
}
