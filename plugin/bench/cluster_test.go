package main

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/headless-dns/headless/internal/apiserver"
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
	bare     int            // how many of them are pods without a service
	flips    map[string]int // so far, by resource
	made     map[sliceID]*discoveryv1.EndpointSlice
}

// sliceID is the first pod of a service and the number of one of its slices.
type sliceID struct{ first, slice int }

// newCluster is a cluster without objects. Of what it changes, it keeps as much as a
// server may be behind: more memory would make it slower.
func newCluster(api *apiserver.Server) *Cluster {
	api.History = 2 * burstPods
	return &Cluster{api: api, flips: make(map[string]int), made: make(map[sliceID]*discoveryv1.EndpointSlice)}
}

// Services says what a cluster has.
type Services struct {
	Sizes []int
	Bare  int // how many of them, the first ones, are pods without a service
}

func (s Services) all() []service {
	out := newServices(s.Sizes...)
	for i := range s.Bare {
		out[i].bare = true
	}
	return out
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
	if err := server.Register(newCluster(api)); err != nil {
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
	c.services, c.bare = s.all(), s.Bare
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

// Flow is a flow of changes, of which each is another pod that loses or regains its
// readiness.
type Flow struct {
	Resource string // what changes: "pods" or "endpointslices"
	Rate     int    // a second
	Changes  int
}

// Churn makes changes, evenly or as fast as it can, and returns when there are as
// many as wanted. Pods and slices are not changed together: one of them would cost
// the machine time that the server, which watches the other, is to have.
func (c *Cluster) Churn(f Flow, took *time.Duration) error {
	const most = 100 // at once, after a delay
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var objects []apiserver.Object
	began := time.Now()
	for done := 0; done < f.Changes; {
		due := min(int(time.Since(began).Seconds()*float64(f.Rate)), f.Changes, done+most)
		if due == done {
			<-tick.C
			continue
		}
		objects = objects[:0]
		for ; done < due; done++ {
			objects = append(objects, c.flip(f.Resource))
		}
		c.api.Put(objects...)
	}
	*took = time.Since(began)
	return nil
}

// flip is the next change. One comes after the other in each service but the last,
// which tells how late a server is; there, a pod is made unready, then ready again,
// then the next one.
func (c *Cluster) flip(resource string) apiserver.Object {
	services := c.services[:len(c.services)-1]
	if resource != "pods" {
		services = services[c.bare:]
	}
	k := c.flips[resource]
	c.flips[resource]++
	s, round := &services[k%len(services)], k/len(services)
	i, ready := round/2%s.size, round%2 == 1
	if resource == "pods" {
		return s.pod(i, ready)
	}
	return c.without(s, i, ready)
}

// without is the slice of a pod, with all other pods ready. To make all endpoints
// anew would take longer than a server takes for the slice.
func (c *Cluster) without(s *service, i int, ready bool) apiserver.Object {
	k := i / endpointsPerSlice
	id := sliceID{s.first, k}
	if c.made[id] == nil {
		c.made[id] = s.slice(k, always)
	}
	slice := *c.made[id]
	if !ready {
		slice.Endpoints = slices.Clone(slice.Endpoints)
		slice.Endpoints[i%endpointsPerSlice].Conditions = conditions(false)
	}
	return &slice
}

// Sent is how many bytes were sent to servers.
func (c *Cluster) Sent(_ struct{}, n *int64) error { //nolint:unparam // as net/rpc has it
	*n = c.api.Sent()
	return nil
}

// Relist ends all watches in such a way that clients list anew.
func (c *Cluster) Relist(_ struct{}, _ *struct{}) error { //nolint:unparam // as net/rpc has it
	c.api.Expire()
	return nil
}

// Stop ends the API server, until Start.
func (c *Cluster) Stop(_ struct{}, _ *struct{}) error { return c.api.Close() }

// Start starts it again. Clients list anew.
func (c *Cluster) Start(_ struct{}, _ *struct{}) error {
	c.api.Expire()
	return c.api.Start()
}

// Listed is how often a resource was sent in full.
func (c *Cluster) Listed(resource string, n *int) error { //nolint:unparam // as net/rpc has it
	*n = c.api.Listed(resource)
	return nil
}

// cluster is a [Cluster] as the benchmarks see it.
type cluster struct {
	*exec.Cmd
	url      string
	services []service
	client   *rpc.Client
}

// startCluster starts a cluster; it ends with this process, at the latest.
func startCluster(b *testing.B, has Services) *cluster {
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
	c := &cluster{Cmd: cmd, services: has.all(), client: rpc.NewClient(pipes{out, in})}
	call(b, c, "Populate", has, &c.url)
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

// sent is how many bytes were sent to servers.
func (c *cluster) sent(b *testing.B) (n int64) {
	b.Helper()
	call(b, c, "Sent", struct{}{}, &n)
	return n
}

// listed is how often a resource was sent in full.
func (c *cluster) listed(b *testing.B, resource string) (n int) {
	b.Helper()
	call(b, c, "Listed", resource, &n)
	return n
}
