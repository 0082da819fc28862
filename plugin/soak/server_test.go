//go:build soak

package soak_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// server is a CoreDNS as a process.
type server struct {
	*exec.Cmd
	addr     string
	profiles string // the address of the pprof plugin
	corefile string // the path
	text     string // the Corefile, but for the TTL
	ttl      uint32
}

func startServer(t *testing.T, k *kubernetes) *server {
	t.Helper()
	program := os.Getenv("HEADLESS_COREDNS")
	if program == "" {
		t.Fatal("HEADLESS_COREDNS is to name the server: make soak sets it")
	}
	kubeconfig := filepath.Join(k.Dir, "headless.kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(k.script(t, "kubeconfig.sh", "headless")), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{addr: freeAddr(t), profiles: freeAddr(t), corefile: filepath.Join(k.Dir, "Corefile"), ttl: 5}
	_, port, _ := net.SplitHostPort(s.addr)
	s.text = fmt.Sprintf(`.:%s {
    bind 127.0.0.1
    bufsize 1232
    errors
    ready %s
    prometheus %s
    pprof %s
    reload 2s 1s
    headless cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
        ttl %%d
        snapshot %s 1s
    }
    cache 30
    loadbalance
    template ANY ANY {
        rcode NXDOMAIN
        authority ". 60 IN SOA ns. hostmaster. 1 60 60 60 60"
    }
}
`, port, freeAddr(t), freeAddr(t), s.profiles, kubeconfig, filepath.Join(k.Dir, "snapshot"))
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(k.Dir, "log", "coredns"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.Cmd = exec.Command(program, "-conf", s.corefile)
	s.Stdout, s.Stderr = log, log
	k.start(t, "coredns", s.Cmd)
	t.Cleanup(func() {
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			// Without what each reload says, which would bury the failure itself.
			text = reloadLines.ReplaceAll(text, nil)
			begin := max(0, len(text)-2048)
			if at := crashLine.FindIndex(text); at != nil {
				begin = at[0]
			}
			t.Logf("end of the server's log:\n%s", text[begin:])
		}
	})
	return s
}

var (
	reloadLines = regexp.MustCompile(`(?m)^\[INFO\] (Reloading|plugin/reload: ).*\n`)
	crashLine   = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

func (s *server) configure() error {
	next := s.corefile + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, s.text, s.ttl), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.corefile)
}

// reload changes the TTL in the Corefile, and waits until it is that of answers.
func (s *server) reload(t *testing.T) {
	t.Helper()
	s.ttl = 5 + (s.ttl+1)%50
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, time.Minute, func() error {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(steady.name(), dns.TypeA), s.addr)
		if err != nil {
			return fmt.Errorf("after a reload: %w", err)
		}
		if len(m.Answer) == 0 || m.Answer[0].Header().Ttl != s.ttl {
			return fmt.Errorf("after a reload the TTL is not %d:\n%v", s.ttl, m)
		}
		return nil
	})
}

// serves is nil if each of the names has an address.
func (s *server) serves(names []string) error {
	conn, err := dns.Dial("udp", s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := dns.Client{Timeout: time.Second}
	for _, name := range names {
		m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), conn)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(m.Answer) == 0 {
			return fmt.Errorf("%s has no address:\n%v", name, m)
		}
	}
	return nil
}

// holding is what a server holds.
type holding struct {
	resident, heap    float64 // megabytes; resident without pages of files
	goroutines, files int
}

func (h *holding) log(t *testing.T, when string) {
	t.Logf("%s: %.1f MB resident, heap of %.1f MB, %d goroutines, %d open files", when, h.resident, h.heap, h.goroutines, h.files)
}

var (
	// Pages of the program's file come as code first runs, and are not the server's to free.
	residentLine  = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`)
	heapLine      = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	goroutineLine = regexp.MustCompile(`(?m)^goroutine profile: total (\d+)$`)
)

// measure collects garbage, and takes the least of ten seconds: the runtime
// returns memory bit by bit, and connections that nobody uses end. What the cache
// plugin holds of names that were passed on, a reload takes away.
func (s *server) measure(t *testing.T) holding {
	t.Helper()
	s.reload(t)
	var least holding
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := range 20 {
		h, err := s.hold()
		if err != nil {
			t.Fatalf("measure the server: %v", err)
		}
		if i == 0 {
			least = h
		}
		least.resident, least.heap = min(least.resident, h.resident), min(least.heap, h.heap)
		least.goroutines, least.files = min(least.goroutines, h.goroutines), min(least.files, h.files)
		<-tick.C
	}
	return least
}

func (s *server) hold() (h holding, err error) {
	process := fmt.Sprintf("/proc/%d/", s.Process.Pid)
	heap, err1 := s.profile("heap?gc=1&debug=1")
	goroutines, err2 := s.profile("goroutine?debug=1")
	status, err3 := os.ReadFile(process + "status")
	files, err4 := os.ReadDir(process + "fd")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return h, err
	}
	resident, err1 := number(residentLine, status)
	bytes, err2 := number(heapLine, heap)
	count, err3 := number(goroutineLine, goroutines)
	return holding{resident / 1024, bytes / 1e6, int(count), len(files)}, errors.Join(err1, err2, err3)
}

func number(line *regexp.Regexp, text []byte) (float64, error) {
	m := line.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no line like %s", line)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func (s *server) profile(name string) ([]byte, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + s.profiles + "/debug/pprof/" + name)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// outcome is what became of the queries of a load.
type outcome struct{ sent, lost, failed int }

// startLoad starts dnsperf for a time, over UDP. The function returned waits for its end.
func (k *kubernetes) startLoad(t *testing.T, addr string, rate, outstanding int, d time.Duration, names []string) (end func() outcome) {
	t.Helper()
	questions := filepath.Join(k.Dir, "questions")
	if err := os.WriteFile(questions, []byte(strings.Join(names, " A\n")+" A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("dnsperf", "-m", "udp", "-s", host, "-p", port, "-d", questions, "-e", "-W", "-O", "suppress=timeout",
		"-Q", strconv.Itoa(rate), "-q", strconv.Itoa(outstanding), "-t", "5", "-l", strconv.Itoa(int(d.Seconds())))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	k.start(t, "dnsperf", cmd)
	return func() outcome {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("dnsperf: %v\n%s", err, &out)
		}
		o, err := parseOutcome(out.String())
		if err != nil {
			t.Fatalf("dnsperf: %v\n%s", err, &out)
		}
		return o
	}
}

// startStream asks over TCP for a time, one question after another on a connection, so
// many a second. CoreDNS resets connections with each reload, after which dnsperf may
// give up with "Bad file descriptor"; this connects again. The function returned waits
// for its end.
func startStream(t *testing.T, addr string, rate int, d time.Duration, names []string) (end func() outcome) {
	t.Helper()
	var o outcome
	var done sync.WaitGroup
	done.Go(func() {
		client := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
		var conn *dns.Conn
		ask := func(name string) (r *dns.Msg, err error) {
			if conn == nil {
				if conn, err = client.Dial(addr); err != nil {
					return nil, err
				}
			}
			r, _, err = client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), conn)
			return r, err
		}
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for began := time.Now(); time.Since(began) < d; <-tick.C {
			r, err := ask(names[o.sent%len(names)])
			o.sent++
			switch {
			case err != nil:
				o.lost++
				if conn != nil {
					conn.Close()
				}
				conn = nil
			case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError: // names come and go
				o.failed++
			}
		}
		if conn != nil {
			conn.Close()
		}
	})
	return func() outcome { done.Wait(); return o }
}

var (
	countLine = regexp.MustCompile(`Queries (sent|lost):\s+(\d+)`)
	codesLine = regexp.MustCompile(`Response codes:(.*)`)
	codeCount = regexp.MustCompile(`(\w+) (\d+) `)
)

// parseOutcome reads what dnsperf prints. Names that come and go may be denied.
func parseOutcome(text string) (o outcome, err error) {
	found := make(map[string]int)
	for _, m := range countLine.FindAllStringSubmatch(text, -1) {
		found[m[1]], _ = strconv.Atoi(m[2])
	}
	codes := codesLine.FindStringSubmatch(text)
	if len(found) != 2 || codes == nil {
		return o, errors.New("no statistics")
	}
	o.sent, o.lost = found["sent"], found["lost"]
	for _, m := range codeCount.FindAllStringSubmatch(codes[1], -1) {
		if n, _ := strconv.Atoi(m[2]); m[1] != "NOERROR" && m[1] != "NXDOMAIN" {
			o.failed += n
		}
	}
	return o, nil
}
