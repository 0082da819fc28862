package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/apiserver"
	polls "github.com/headless-dns/headless/internal/cluster"
)

// asServer is the environment variable with which this test binary runs as a CoreDNS. It
// has the constant plugin, which no other CoreDNS has.
const asServer = "HEADLESS_BENCH_SERVER"

// roundVariable is the environment variable with the number of the round.
const roundVariable = "ROUND"

const constantDirective = "benchconstant"

// constant is the plugin that gives every query the same reply, with one address.
type constant struct{}

func (constant) Name() string { return constantDirective }

func (constant) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: constantAddr}}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

var constantAddr = net.IPv4(10, 0, 0, 1).To4()

func init() {
	plugin.Register(constantDirective, func(c *caddy.Controller) error {
		dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return constant{} })
		return nil
	})
}

// fastOption is the line in the stanza of headless for the server with fastpath.
const fastOption = "fastpath\n"

// comparedStanzas are the plugins of the compared servers.
var comparedStanzas = map[string]string{
	constantServer:   constantDirective,
	headlessServer:   stanzas["headless"],
	fastServer:       strings.Replace(stanzas["headless"], "{\n", "{\n"+fastOption, 1),
	kubernetesServer: stanzas["kubernetes"],
}

// comparedCorefile returns the Corefile of a compared server. In all of them the same plugins come
// before the one that answers. hosts, which comes before kubernetes, only looks at names of the
// other zone.
func comparedCorefile(name, host, port, metrics, endpoint, hosts string) string {
	stanza := comparedStanzas[name]
	if strings.Contains(stanza, "%s") {
		stanza = fmt.Sprintf(stanza, endpoint) + "\nhosts " + hosts + " example.org"
	}
	return fmt.Sprintf(".:%s {\nbind %s\nerrors\nprometheus %s\nloadbalance\n%s\n}\n", port, host, metrics, stanza)
}

// startCompared starts a compared server. It returns nil if its program is missing.
func startCompared(b *testing.B, name string, c *cluster) *server {
	b.Helper()
	if name == knotServer {
		return startKnot(b, c.services)
	}
	dir, addr := b.TempDir(), freeAddr(b)
	host, port, _ := net.SplitHostPort(addr)
	corefile, program := filepath.Join(dir, "Corefile"), os.Getenv(programVariable)
	text := comparedCorefile(name, host, port, freeAddr(b), c.url, writeHosts(b))
	err1, err2 := os.WriteFile(corefile, []byte(text), 0o600), error(nil)
	if name == constantServer {
		program, err2 = os.Executable()
	}
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	s := &server{Cmd: exec.Command(program, "-quiet", "-conf", corefile), plugin: name, addr: addr}
	s.Env = append(os.Environ(), asServer+"=1")
	last := &c.services[len(c.services)-1]
	s.start(b, last.podFQDN(last.size-1))
	return s
}

// writeHosts writes the file of the hosts plugin.
func writeHosts(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("10.0.0.1 "+strings.Join(otherNames(), "\n10.0.0.1 ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// find returns a kind of query by its name.
func find(name string) *query {
	all := slices.Concat(queries, others)
	return &all[slices.IndexFunc(all, func(q query) bool { return q.name == name })]
}

// otherNames are the queried names of the other zone.
func otherNames() []string { return find(askedOther.query).names(&service{size: 1000}) }

// load returns the load of a kind of query, and the rcode of the replies.
// The constant plugin replies with NOERROR to all.
func (a *asked) load(services []service, server string) (l *load, rcode int) {
	s := &service{size: 1000}
	if a.n > 0 {
		s = &services[slices.IndexFunc(services, func(s service) bool { return s.size == a.n })]
	}
	q := find(a.query)
	l = &load{names: q.names(s), qtype: dns.TypeToString[q.qtype], edns: uint16(a.edns), rate: a.rate, clients: 4}
	if a.n > 0 && q.records(a.n) < 0 && server != constantServer {
		rcode = dns.RcodeNameError
	}
	return l, rcode
}

// check queries a few names once, and checks the replies. Knot DNS may leave all records
// out of a reply that is too large.
func (a *asked) check(t testing.TB, s *server, l *load, rcode int) {
	t.Helper()
	for _, name := range l.names[:min(5, len(l.names))] {
		m := new(dns.Msg).SetQuestion(name, dns.StringToType[l.qtype])
		if l.edns > 0 {
			m.SetEdns0(l.edns, false)
		}
		client := dns.Client{Timeout: time.Second}
		reply, _, err := client.Exchange(m, s.addr)
		if err != nil {
			t.Fatalf("%s: %s: query for %s: %v", s.plugin, a.title, name, err)
		}
		least := 1
		switch {
		case rcode != dns.RcodeSuccess:
			least = 0
		case a.query != "pod-A" && s.plugin != constantServer:
			least = min(a.n, 10)
		}
		if reply.Rcode != rcode || len(reply.Answer) < least && (s.plugin != knotServer || !reply.Truncated) {
			t.Fatalf("%s: %s: want %s and at least %d records, got %.1000v", s.plugin, a.title, dns.RcodeToString[rcode], least, reply)
		}
	}
}

// sockets returns the number of UDP sockets at an address, from a table like
// /proc/net/udp.
func sockets(table, addr string) (n int) {
	host, port, _ := net.SplitHostPort(addr)
	ip, p := net.ParseIP(host).To4(), 0
	p, _ = strconv.Atoi(port)
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], p)
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == local {
			n++
		}
	}
	return n
}

// checkSockets fails if a server with fastpath gets no socket of its own, or another has
// one: the server would then measure something else. That socket opens beside the first
// answers.
func checkSockets(b *testing.B, s *server) {
	b.Helper()
	if s.plugin == knotServer {
		return
	}
	polls.Eventually(b, 10*time.Second, func() error {
		table, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			return err
		}
		if n := sockets(string(table), s.addr); (n > 1) != (s.plugin == fastServer) {
			return fmt.Errorf("%s: %d UDP sockets at %s", s.plugin, n, s.addr)
		}
		return nil
	})
}

// turned returns servers in another order each round.
func turned[T any](servers []T, round int) []T {
	k := round % len(servers)
	return slices.Concat(servers[k:], servers[:k])
}

// BenchmarkServers measures whole servers, each a process, for one round. Every server gets
// each kind of query once. The order of the servers turns with the round, and the report
// compares within a round: so a machine that gets slower does so for all of them.
func BenchmarkServers(b *testing.B) {
	needPrograms(b)
	round, _ := strconv.Atoi(os.Getenv(roundVariable)) // without a number it is the first
	c := startCluster(b, Services{Sizes: []int{3, 1000}})
	var servers []*server
	for _, name := range comparedServers {
		if s := startCompared(b, name, c); s != nil {
			checkSockets(b, s)
			servers = append(servers, s)
		}
	}
	servers = turned(servers, round)
	timed := slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return !slices.Contains(timedServers, s.plugin) })
	for i := range allAsked {
		a := &allAsked[i]
		for _, s := range servers {
			l, rcode := a.load(c.services, s.plugin)
			a.check(b, s, l, rcode)
			if i == 0 {
				l.run(b, s, warmUp)
			}
			b.Run(a.name(s.plugin), func(b *testing.B) { l.measure(b, s, rcode) })
		}
	}
	for _, rate := range latencyRates {
		for _, s := range timed {
			l, _ := askedPod.load(c.services, s.plugin)
			l.rate, l.verbose = rate, true
			b.Run(latencyName(rate, s.plugin), func(b *testing.B) { l.time(b, s) })
		}
	}
	for _, s := range timed {
		b.Run(memoryName(s.plugin), func(b *testing.B) {
			withoutTime(b)
			now, _ := memory(b, s.Cmd)
			b.ReportMetric(now, "rss-MB")
		})
	}
}

// warmUp is the time of a load before the first measurement of a server.
const warmUp = 300 * time.Millisecond

// time reports the latency of a verbose load.
func (l *load) time(b *testing.B, s *server) {
	withoutTime(b)
	o := l.run(b, s, 2*time.Second)
	if len(o.Latencies) < o.Sent*99/100 || o.Lost > o.Sent/100 {
		b.Fatalf("%s: of %d queries, %d were lost and %d have a latency", s.plugin, o.Sent, o.Lost, len(o.Latencies))
	}
	t := timing{latencies: o.Latencies}
	b.ReportMetric(math.Round(t.at(0.5)*1000), "p50-µs")
	b.ReportMetric(math.Round(t.at(0.99)*1000), "p99-µs")
}

// TestServers asks servers in this process each kind of query, and checks the replies.
func TestServers(t *testing.T) {
	services := newServices(3, 1000)
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	populate(api, services)
	names := []string{constantServer, headlessServer, kubernetesServer}
	corefile, hosts := "", writeHosts(t)
	for i, name := range names {
		host := fmt.Sprint("127.0.0.", i+1)
		corefile += comparedCorefile(name, host, "0", host+":0", api.URL, hosts)
	}
	instance, stop := startCorefile(t, corefile)
	defer stop()
	if n := len(instance.Servers()); n != len(names) {
		t.Fatalf("got %d servers, want %d", n, len(names))
	}
	for _, listener := range instance.Servers() {
		addr := listener.LocalAddr().String()
		s := &server{addr: addr, plugin: names[addr[len("127.0.0.")]-'1']}
		for _, a := range allAsked {
			l, rcode := a.load(services, s.plugin)
			if l.edns != uint16(a.edns) || l.rate != a.rate || l.clients != 4 || l.qtype != map[string]string{"port-SRV": "SRV"}[a.query] && l.qtype != "A" {
				t.Errorf("%s: load %+v", a.title, l)
			}
			a.check(t, s, l, rcode)
		}
	}
}

// TestAsked requires that the names of the benchmarks differ.
func TestAsked(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range allAsked {
		if name := a.name(fastServer); seen[name] {
			t.Errorf("two kinds of query are named %s", name)
		} else {
			seen[name] = true
		}
	}
	if want := "query=service-A/n=1000/edns=4096/server=knot"; askedManyLarge.name(knotServer) != want {
		t.Errorf("got %s, want %s", askedManyLarge.name(knotServer), want)
	}
}

func TestSockets(t *testing.T) {
	const table = "  sl  local_address rem_address   st\n" +
		" 1: 0100007F:0035 00000000:0000 07\n 2: 0100007F:0035 00000000:0000 07\n 3: 0200007F:0035 00000000:0000 07\n 4: 0100007F:0036 0100007F:0035 07\n"
	for addr, want := range map[string]int{"127.0.0.1:53": 2, "127.0.0.2:53": 1, "127.0.0.1:54": 1, "127.0.0.3:53": 0} {
		if got := sockets(table, addr); got != want {
			t.Errorf("sockets at %s: got %d, want %d", addr, got, want)
		}
	}
}

func TestTurned(t *testing.T) {
	for round, want := range []string{"abc", "bca", "cab", "abc"} {
		if got := strings.Join(turned([]string{"a", "b", "c"}, round), ""); got != want {
			t.Errorf("round %d: got %s, want %s", round, got, want)
		}
	}
}
