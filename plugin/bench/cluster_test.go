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

	"github.com/coredns/coredns/coremain"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/headless-dns/headless/internal/apiserver"
)

// asCluster is the environment variable with which this test binary runs as a [Cluster].
const asCluster = "HEADLESS_BENCH_CLUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(asCluster) != "" {
		serveCluster()
		return
	}
	if os.Getenv(asServer) != "" {
		coremain.Run()
		return
	}
	code := m.Run()
	if err := endProcesses(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Cluster is a stand-in API server with its objects. It runs in its own process, so that
// its memory and CPU are not those of the measured server. Its methods are called over
// the process's pipes, with which it ends.
type Cluster struct {
	api      *apiserver.Server
	services []service
	bare     int                                    // how many of the services are only pods that no service selects
	flips    map[string]int                         // number of flips so far, by resource
	ready    map[sliceID]*discoveryv1.EndpointSlice // slices with all pods ready, kept for flip
}

// sliceID is the number of a service's first pod, and that of a slice of the service.
type sliceID struct{ first, slice int }

// newCluster returns a cluster without objects. Its history is just long enough for a
// measured server that is behind: more memory would make the cluster slower.
func newCluster(api *apiserver.Server) *Cluster {
	api.History = 2 * burstPods
	return &Cluster{api: api, flips: make(map[string]int), ready: make(map[sliceID]*discoveryv1.EndpointSlice)}
}

// Services describes the services of a cluster.
type Services struct {
	Sizes []int
	Bare  int // how many of the first ones are only pods that no service selects
}

func (s Services) list() []service {
	out := newServices(s.Sizes...)
	for i := range s.Bare {
		out[i].bare = true
	}
	return out
}

// Pods are the pods from First to below End of a service.
type Pods struct {
	Service    int // index of the service
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
	server.ServeConn(pipes{os.Stdin, os.Stdout}) // until the pipes close
}

// pipes make a connection of two pipes.
type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

// Close implements io.Closer.
func (p pipes) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// Populate creates the objects and returns the API server's URL.
func (c *Cluster) Populate(s Services, url *string) error { //nolint:unparam // the signature is net/rpc's
	c.services, c.bare = s.list(), s.Bare
	populate(c.api, c.services)
	*url = c.api.URL
	return nil
}

// SetReady changes pods and their slices at once, as if the EndpointSlice controller took
// no time. It returns the time at which it sent them.
func (c *Cluster) SetReady(p Pods, at *int64) error { //nolint:unparam // the signature is net/rpc's
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

// Flow is a series of changes. Each makes another pod lose or regain its readiness.
type Flow struct {
	Resource string // "pods" or "endpointslices"
	Rate     int    // changes a second
	Changes  int
}

// Churn makes the changes, evenly or as fast as it can, and returns when all are made. It
// changes either pods or slices. A server watches only one of them, and the other would
// take CPU from it.
func (c *Cluster) Churn(f Flow, took *time.Duration) error {
	const most = 100 // changes at once, after a delay
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

// flip returns the next change, for each service in turn. It leaves out the last service,
// which the marker uses. In a service one pod loses its readiness, then regains it, then
// the next pod does.
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
	return c.withReadiness(s, i, ready)
}

// withReadiness returns the slice of a pod with the given readiness; the other pods in it
// are ready. It reuses the endpoints: new ones would take longer to build than a server
// takes for the slice.
func (c *Cluster) withReadiness(s *service, i int, ready bool) apiserver.Object {
	k := i / endpointsPerSlice
	id := sliceID{s.first, k}
	if c.ready[id] == nil {
		c.ready[id] = s.slice(k, allReady)
	}
	slice := *c.ready[id]
	if !ready {
		slice.Endpoints = slices.Clone(slice.Endpoints)
		slice.Endpoints[i%endpointsPerSlice].Conditions = conditions(false)
	}
	return &slice
}

// Sent returns how many bytes the API server has sent.
func (c *Cluster) Sent(_ struct{}, n *int64) error { //nolint:unparam // the signature is net/rpc's
	*n = c.api.Sent()
	return nil
}

// Relist ends all watches and expires their versions, so that clients relist.
func (c *Cluster) Relist(_ struct{}, _ *struct{}) error { //nolint:unparam // the signature is net/rpc's
	c.api.Expire()
	return nil
}

// Stop stops the API server until Start.
func (c *Cluster) Stop(_ struct{}, _ *struct{}) error { return c.api.Close() }

// Start restarts the API server. Clients must relist.
func (c *Cluster) Start(_ struct{}, _ *struct{}) error {
	c.api.Expire()
	return c.api.Start()
}

// Listed returns how often the API server has sent the whole of a resource.
func (c *Cluster) Listed(resource string, n *int) error { //nolint:unparam // the signature is net/rpc's
	*n = c.api.Listed(resource)
	return nil
}

// cluster is the client of a [Cluster].
type cluster struct {
	*exec.Cmd
	url      string
	services []service
	client   *rpc.Client
}

// startCluster starts a cluster. It ends with this process at the latest.
func startCluster(b *testing.B, s Services) *cluster {
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
	c := &cluster{Cmd: cmd, services: s.list(), client: rpc.NewClient(pipes{out, in})}
	call(b, c, "Populate", s, &c.url)
	return c
}

func call[A, R any](b *testing.B, c *cluster, method string, args A, reply *R) {
	b.Helper()
	if err := c.client.Call("Cluster."+method, args, reply); err != nil {
		b.Fatalf("%s: %v", method, err)
	}
}

// setReady sets the readiness of pods, and returns the time at which the API server sent
// that.
func (c *cluster) setReady(b *testing.B, p Pods) time.Time {
	b.Helper()
	var at int64
	call(b, c, "SetReady", p, &at)
	return time.Unix(0, at)
}

// sent returns how many bytes the API server has sent.
func (c *cluster) sent(b *testing.B) (n int64) {
	b.Helper()
	call(b, c, "Sent", struct{}{}, &n)
	return n
}

// listed returns how often the API server has sent the whole of a resource.
func (c *cluster) listed(b *testing.B, resource string) (n int) {
	b.Helper()
	call(b, c, "Listed", resource, &n)
	return n
}
