//go:build soak

package soak_test

import (
	"bytes"
	"errors"
	"net"
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
)

// outcome counts the queries of a load.
type outcome struct{ sent, lost, failed int }

// startLoad runs dnsperf over UDP for a time. The returned function waits for its end.
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

// startStream sends queries over TCP for a time at the given rate, one after another on a
// connection. CoreDNS resets connections at each reload. Dnsperf may then give up with
// "Bad file descriptor"; startStream reconnects. The returned function waits for its end.
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

// parseOutcome parses the output of dnsperf. NXDOMAIN is no failure, as the queried names
// come and go.
func parseOutcome(text string) (o outcome, err error) {
	found := make(map[string]int)
	for _, m := range countLine.FindAllStringSubmatch(text, -1) {
		found[m[1]], _ = strconv.Atoi(m[2])
	}
	codes := codesLine.FindStringSubmatch(text)
	if len(found) != 2 || codes == nil {
		return o, errors.New("parse output of dnsperf: no statistics")
	}
	o.sent, o.lost = found["sent"], found["lost"]
	for _, m := range codeCount.FindAllStringSubmatch(codes[1], -1) {
		if n, _ := strconv.Atoi(m[2]); m[1] != "NOERROR" && m[1] != "NXDOMAIN" {
			o.failed += n
		}
	}
	return o, nil
}
