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

// compared are the stanzas of the compared servers, and their programs. An empty program is this
// test binary.
var comparedStanzas = map[string]string{
	constantServer:   constantDirective,
	headlessServer:   stanzas["headless"],
	fastServer:       strings.Replace(stanzas["headless"], "{\n", "{\n"+fastOption, 1),
	kubernetesServer: stanzas["kubernetes"],
}

// comparedCorefile returns the Corefile of a compared server. In all of them the same plugins come
// before the one that answers. hosts answers for the other zone, and costs other names nearly
// nothing: it comes before kubernetes in a CoreDNS.
func comparedCorefile(name, port, metrics, endpoint, hosts string) string {
	stanza := comparedStanzas[name]
	if strings.Contains(stanza, "%s") {
		stanza = fmt.Sprintf(stanza, endpoint) + "\nhosts " + hosts + " example.org"
	}
	return fmt.Sprintf(".:%s {\nbind 127.0.0.1\nerrors\nprometheus %s\nloadbalance\n%s\n}\n", port, metrics, stanza)
}

// startCompared starts a compared server. It returns nil if its program is missing.
func startCompared(b *testing.B, name string, c *cluster) *server {
	b.Helper()
	if name == knotServer {
		return startKnot(b, c.services)
	}
	dir, addr := b.TempDir(), freeAddr(b)
	_, port, _ := net.SplitHostPort(addr)
	corefile, hosts := filepath.Join(dir, "Corefile"), filepath.Join(dir, "hosts")
	err1 := os.WriteFile(hosts, []byte("10.0.0.1 "+strings.Join(otherNames(), "\n10.0.0.1 ")+"\n"), 0o600)
	err2 := os.WriteFile(corefile, []byte(comparedCorefile(name, port, freeAddr(b), c.url, hosts)), 0o600)
	program, err3 := os.Getenv(programVariable), error(nil)
	if name == constantServer {
		program, err3 = os.Executable()
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		b.Fatal(err)
	}
	s := &server{Cmd: exec.Command(program, "-quiet", "-conf", corefile), plugin: name, addr: addr}
	s.Env = append(os.Environ(), asServer+"=1")
	last := &c.services[len(c.services)-1]
	s.start(b, last.podFQDN(last.size-1))
	return s
}

// find returns a kind of query by its name.
func find(name string) *query {
	all := slices.Concat(queries, others)
	return &all[slices.IndexFunc(all, func(q query) bool { return q.name == name })]
}

// otherNames are the queried names of the other zone.
func otherNames() []string { return find(askedOther.query).names(&service{size: 1000}) }

// load returns the load of a kind of query, and the rcode of the replies.
func (a *asked) load(services []service) (l *load, rcode int) {
	s := &service{size: 1000}
	if a.n > 0 {
		s = &services[slices.IndexFunc(services, func(s service) bool { return s.size == a.n })]
	}
	q := find(a.query)
	l = &load{names: q.names(s), qtype: dns.TypeToString[q.qtype], edns: uint16(a.edns), rate: a.rate, clients: 4}
	if a.n > 0 && q.records(a.n) < 0 {
		rcode = dns.RcodeNameError
	}
	return l, rcode
}

// check queries a few names once, and checks the replies. Knot DNS may leave all records
// out of a reply that is too large.
func (a *asked) check(b *testing.B, s *server, l *load, rcode int) {
	b.Helper()
	for _, name := range l.names[:min(5, len(l.names))] {
		m := new(dns.Msg).SetQuestion(name, dns.StringToType[l.qtype])
		if l.edns > 0 {
			m.SetEdns0(l.edns, false)
		}
		client := dns.Client{Timeout: time.Second}
		reply, _, err := client.Exchange(m, s.addr)
		if err != nil {
			b.Fatalf("%s: %s: query for %s: %v", s.plugin, a.title, name, err)
		}
		least := 0
		if rcode == dns.RcodeSuccess {
			least = 1
		}
		if a.query == "service-A" && s.plugin != constantServer {
			least = min(a.n, 10)
		}
		if reply.Rcode != rcode || len(reply.Answer) < least && !(s.plugin == knotServer && reply.Truncated) {
			b.Fatalf("%s: %s: want %s and at least %d records, got %.1000v", s.plugin, a.title, dns.RcodeToString[rcode], least, reply)
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

// checkSockets fails if a server with fastpath has no socket of its own, or another has
// one: the server would then measure something else.
func checkSockets(b *testing.B, s *server) {
	b.Helper()
	table, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		b.Fatal(err)
	}
	if n := sockets(string(table), s.addr); s.plugin != knotServer && (n > 1) != (s.plugin == fastServer) {
		b.Fatalf("%s: %d UDP sockets at %s", s.plugin, n, s.addr)
	}
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
		l, rcode := a.load(c.services)
		for _, s := range servers {
			rcode := rcode
			if s.plugin == constantServer {
				rcode = dns.RcodeSuccess
			}
			a.check(b, s, l, rcode)
			if i == 0 {
				l.run(b, s, warmUp)
			}
			b.Run(a.name(s.plugin), func(b *testing.B) { l.measure(b, s, rcode) })
		}
	}
	for _, rate := range latencyRates {
		l, _ := askedPod.load(c.services)
		l.rate, l.verbose = rate, true
		for _, s := range timed {
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
