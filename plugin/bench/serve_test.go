package main

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/core/plugin" // kubernetes and bind
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	_ "github.com/headless-dns/headless"
	"github.com/headless-dns/headless/internal/apiserver"
)

// sizes are the sizes of the services. All services are in one cluster, so that the
// garbage collector has the same work for every query.
var sizes = []int{1, 10, 100, 1000, 10_000}

// fewSizes are the sizes for slow benchmarks.
var fewSizes = []int{1, 100, 10_000}

// plugins are the compared directives.
var plugins = []string{"headless", "kubernetes"}

// tapDirective exposes the next plugin. endDirective is the last in the chain.
const tapDirective, endDirective = "benchtap", "benchend"

// tapped are the exposed plugins by directive.
var tapped = make(map[string]plugin.Handler)

// pass is a plugin that only calls the next one. CoreDNS allocates once for that.
type pass struct{}

func (pass) Name() string { return "pass" }

func (pass) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return plugin.NextOrFailure("pass", end{}, ctx, w, r)
}

// end is the last plugin in the chain. It costs nothing.
type end struct{}

func (end) Name() string { return endDirective }

func (end) ServeDNS(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
	return dns.RcodeRefused, nil
}

func init() {
	plugin.Register(tapDirective, func(c *caddy.Controller) error {
		c.Next()
		name := c.RemainingArgs()[0]
		dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
			tapped[name] = next
			return next
		})
		return nil
	})
	plugin.Register(endDirective, func(c *caddy.Controller) error {
		dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return end{} })
		return nil
	})
	dnsserver.Directives = slices.Concat([]string{tapDirective, "headless"}, dnsserver.Directives, []string{constantDirective, endDirective})
}

// serve starts a CoreDNS in this process with both plugins, each in its own server block.
// They start together: at its setup the kubernetes plugin writes klog's logger, which the
// watches of a running plugin read.
func serve(t testing.TB, endpoint string) (stop func()) {
	t.Helper()
	corefile := ""
	for i, name := range plugins {
		corefile += fmt.Sprintf(".:0 {\nbind 127.0.0.%d\n%s %s\n%s\n%s\n}\n", i+1, tapDirective, name, fmt.Sprintf(stanzas[name], endpoint), endDirective)
	}
	_, stop = startCorefile(t, corefile)
	return stop
}

// startCorefile starts a CoreDNS in this process.
func startCorefile(t testing.TB, corefile string) (instance *caddy.Instance, stop func()) {
	t.Helper()
	caddy.Quiet, dnsserver.Quiet = true, true
	output := stdlog.Writer()
	stdlog.SetOutput(io.Discard)
	instance, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	return instance, func() {
		instance.ShutdownCallbacks()
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
		stdlog.SetOutput(output)
	}
}

// writer keeps a reply. The work of a server on a reply is the same for all plugins and is
// not measured. The kubernetes plugin lets the server cut a reply to the client's size;
// headless does that itself.
type writer struct {
	dns.ResponseWriter // nil: these plugins need no other method
	remote             net.Addr
	reply              *dns.Msg
}

func (w *writer) LocalAddr() net.Addr           { return w.remote }
func (w *writer) RemoteAddr() net.Addr          { return w.remote }
func (w *writer) WriteMsg(reply *dns.Msg) error { w.reply = reply; return nil }

// query is a kind of query.
type query struct {
	name  string
	qtype uint16
	// names returns the queried names. Their replies have the same size.
	names func(s *service) []string
	// records returns the least number of records in the reply over TCP, for a service of
	// n pods. A negative number is a denial. The next plugin's REFUSED counts as one.
	records func(n int) int
}

func one(name func(s *service) string) func(*service) []string {
	return func(s *service) []string { return []string{name(s)} }
}

// each returns a name for each pod, in random order. A single name would always find its
// data in the processor's cache, unlike one of 10,000. The name itself is in the cache in
// either case, as a server has just written it. So the names lie in memory in their order
// of use.
func each(name func(s *service, i int) string) func(*service) []string {
	return func(s *service) []string {
		out := make([]string, s.size)
		for i := range out {
			out[i] = name(s, i)
		}
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
		for i := range out {
			out[i] = strings.Clone(out[i])
		}
		return out
	}
}

func reverse(s *service, i int) string {
	name, err := dns.ReverseAddr(s.addr(i).String())
	if err != nil {
		panic(err)
	}
	return name
}

func single(int) int  { return 1 }
func none(int) int    { return 0 }
func missing(int) int { return -1 }

// most is at most what fits into 64 KB for both plugins.
func most(n int) int { return min(n, 800) }

// queries are the kinds that depend on the size of the service.
var queries = []query{
	{"pod-A", dns.TypeA, each((*service).podFQDN), single},
	{"service-A", dns.TypeA, one((*service).fqdn), most},
	{"port-SRV", dns.TypeSRV, one((*service).portFQDN), most},
	{"PTR", dns.TypePTR, each(reverse), single},
	{"pod-AAAA", dns.TypeAAAA, each((*service).podFQDN), none},
	{"pod-HTTPS", dns.TypeHTTPS, each((*service).podFQDN), none},
	{"no-host", dns.TypeA, each(func(s *service, i int) string { return fmt.Sprintf("no-%d.%s", i, s.fqdn()) }), missing},
}

// others are the kinds that do not depend on a service.
var others = []query{
	{"no-service", dns.TypeA, each(func(_ *service, i int) string { return fmt.Sprintf("x.no-%d.%s.svc.cluster.local.", i, namespace) }), missing},
	{"other-zone", dns.TypeA, each(func(_ *service, i int) string { return fmt.Sprintf("www-%d.example.org.", i) }), missing},
}

var networks = map[string]net.Addr{
	"udp": &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000},
	"tcp": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000},
}

func (q *query) message(network string) *dns.Msg {
	m := new(dns.Msg).SetQuestion(".", q.qtype)
	if network == "udp" {
		m.SetEdns0(1232, false)
	}
	return m
}

// check queries the first few names and checks the replies.
func (q *query) check(handler plugin.Handler, s *service, network string) error {
	names := q.names(s)
	for _, name := range names[:min(5, len(names))] {
		m, w := q.message(network), &writer{remote: networks[network]}
		m.Question[0].Name = name
		if _, err := handler.ServeDNS(context.Background(), w, m); err != nil {
			return fmt.Errorf("%s of %s over %s: %w", q.name, name, network, err)
		}
		records, want := -1, q.records(s.size)
		if w.reply != nil && w.reply.Rcode == dns.RcodeSuccess {
			records = len(w.reply.Answer)
		}
		if network == "udp" && want > 1 {
			want = min(want, 10)
		}
		if records < want || want <= 0 && records != want {
			return fmt.Errorf("%s of %s over %s: %d records, want %d:\n%.2000v", q.name, name, network, records, want, w.reply)
		}
	}
	return nil
}

// BenchmarkServeDNS measures a query in a plugin, from the parsed message to the reply
// message.
func BenchmarkServeDNS(b *testing.B) {
	services := newServices(sizes...)
	api, err := apiserver.New()
	if err != nil {
		b.Fatal(err)
	}
	defer api.Close()
	populate(api, services)
	defer serve(b, api.URL)()

	for _, network := range []string{"udp", "tcp"} {
		for _, q := range queries {
			for i := range services {
				for _, name := range plugins {
					b.Run(fmt.Sprintf("query=%s/proto=%s/n=%d/plugin=%s", q.name, network, services[i].size, name), func(b *testing.B) {
						q.run(b, tapped[name], &services[i], network)
					})
				}
			}
		}
		for _, q := range others {
			tapped["pass"] = pass{}
			for _, name := range []string{"pass", "headless", "kubernetes"} {
				b.Run(fmt.Sprintf("query=%s/proto=%s/plugin=%s", q.name, network, name), func(b *testing.B) {
					q.run(b, tapped[name], &services[2], network)
				})
			}
		}
	}
}

func (q *query) run(b *testing.B, handler plugin.Handler, s *service, network string) {
	if err := q.check(handler, s, network); err != nil {
		b.Fatal(err)
	}
	ctx, names := context.Background(), q.names(s)
	m, w := q.message(network), &writer{remote: networks[network]}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i == len(names) {
			i = 0
		}
		m.Question[0].Name = names[i]
		if _, err := handler.ServeDNS(ctx, w, m); err != nil {
			b.Fatal(err)
		}
	}
}

// TestQueries checks the replies of both plugins to every kind of query, in a small cluster.
func TestQueries(t *testing.T) {
	services := newServices(1, 10, 120)
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	populate(api, services)
	defer serve(t, api.URL)()
	for i := range services {
		for _, q := range slices.Concat(queries, others) {
			for network := range networks {
				for _, name := range plugins {
					if err := q.check(tapped[name], &services[i], network); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	}
}

// TestPodSize requires that the pods are as large as real ones.
func TestPodSize(t *testing.T) {
	s := newServices(1)[0]
	if n := s.pod(0, true).Size(); n < 2<<10 || n > 4<<10 {
		t.Errorf("size of a pod: %d bytes, want 2 to 4 KiB", n)
	}
	if s.slice(0, allReady).Endpoints[0].Hostname == nil || !strings.HasPrefix(s.podFQDN(0), "web-1-0.web-1.bench.") {
		t.Errorf("name of a pod: got %s, want web-1-0.web-1.bench. and so on", s.podFQDN(0))
	}
}
