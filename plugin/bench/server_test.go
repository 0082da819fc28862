package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// server is a process of a DNS server, mostly of a CoreDNS.
type server struct {
	*exec.Cmd
	plugin, addr string
	profiles     string // the address of the pprof plugin
}

// stanzas are the plugins in a server's Corefile. floor does the least that a CoreDNS
// does for a reply: it answers from the hosts plugin.
var stanzas = map[string]string{
	"floor":      "hosts {\n10.0.0.1 " + floorName + "\n}",
	"headless":   "headless cluster.local in-addr.arpa ip6.arpa {\nendpoint %s\nstartup_timeout 5m\n}",
	"snapshot":   "headless cluster.local in-addr.arpa ip6.arpa {\nendpoint %s\nsnapshot {$SNAPSHOT}\nstartup_timeout 5m\n}",
	"slices":     "headless cluster.local in-addr.arpa ip6.arpa {\nendpoint %s\nendpoints slices\nstartup_timeout 5m\n}",
	"kubernetes": "kubernetes cluster.local in-addr.arpa ip6.arpa {\nendpoint %s\nstartup_timeout 5m\n}",
	// verified also watches pods, as headless does.
	"verified": "kubernetes cluster.local in-addr.arpa ip6.arpa {\nendpoint %s\npods verified\nstartup_timeout 5m\n}",
}

const floorName = "floor.cluster.local"

// programVariable is the environment variable with the path of a CoreDNS with headless.
const programVariable = "HEADLESS_COREDNS"

// needProgram skips a benchmark of processes if there is no program.
func needProgram(b *testing.B) {
	b.Helper()
	if os.Getenv(programVariable) == "" {
		b.Skip(programVariable + " is not set")
	}
}

// needPrograms is needProgram for a benchmark that needs dnsperf, too.
func needPrograms(b *testing.B) {
	b.Helper()
	needProgram(b)
	if _, err := exec.LookPath("dnsperf"); err != nil {
		b.Skip("there is no dnsperf")
	}
}

// startServer starts a CoreDNS with a plugin and waits until it answers the question.
// bufsize caps the replies, as dnsperf offers 4096 bytes.
func startServer(b *testing.B, plugin, endpoint, question string, env ...string) *server {
	b.Helper()
	stanza := stanzas[plugin]
	if plugin != "floor" {
		stanza = fmt.Sprintf(stanza, endpoint)
	}
	addr, profiles := freeAddr(b), freeAddr(b)
	_, port, _ := net.SplitHostPort(addr)
	corefile := filepath.Join(b.TempDir(), "Corefile")
	text := fmt.Sprintf(".:%s {\nbind 127.0.0.1\nbufsize 1232\npprof %s\n%s\n}\n", port, profiles, stanza)
	if err := os.WriteFile(corefile, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	s := &server{exec.Command(os.Getenv(programVariable), "-quiet", "-conf", corefile), plugin, addr, profiles}
	s.Env = append(os.Environ(), env...)
	s.start(b, question)
	return s
}

// start starts the process and waits until it answers the question.
func (s *server) start(b *testing.B, question string) {
	b.Helper()
	s.Stderr = os.Stderr
	startProcess(b, s.Cmd)
	s.await(b, question, answered)
}

func freeAddr(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func answered(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 }

func denied(m *dns.Msg) bool { return m.Rcode == dns.RcodeNameError }

// await queries the addresses of a name until wanted accepts the reply, and returns the
// time of that reply.
func (s *server) await(b *testing.B, name string, wanted func(*dns.Msg) bool) time.Time {
	b.Helper()
	return s.awaitEvery(b, 500*time.Microsecond, name, wanted)
}

// awaitEvery is await with an interval between the queries.
func (s *server) awaitEvery(b *testing.B, interval time.Duration, name string, wanted func(*dns.Msg) bool) time.Time {
	b.Helper()
	client := dns.Client{Timeout: time.Second}
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	conn, err := client.Dial(s.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for {
		m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), conn)
		if err == nil && wanted(m) {
			return time.Now()
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s: no wanted reply for %s: %v, %v", s.plugin, name, m, err)
		}
		<-tick.C
	}
}

// cpu returns the CPU time of the process: utime and stime of /proc/PID/stat, but finer
// than hundredths of a second.
func (s *server) cpu(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	clock := int32(^s.Process.Pid)<<3 | 2 // the CPU clock of a process, see clock_getcpuclockid(3)
	if err := unix.ClockGettime(clock, &t); err != nil {
		b.Fatalf("read CPU time of process %d: %v", s.Process.Pid, err)
	}
	return time.Duration(t.Nano())
}

// collect runs the server's garbage collector.
func (s *server) collect(b *testing.B) {
	b.Helper()
	resp, err := http.Get("http://" + s.profiles + "/debug/pprof/heap?gc=1")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Fatal(err)
	}
}

// resetPeak resets the peak of the process's memory to its present memory.
func (s *server) resetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.Process.Pid), []byte("5"), 0o600); err != nil {
		b.Fatal(err)
	}
}
