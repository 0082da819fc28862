// Package dnsperf runs the load generator of that name, for tests and benchmarks.
package dnsperf

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Load is a load of queries over UDP.
type Load struct {
	Names    []string
	Type     string // of the queries, such as "A"
	Rate     int    // queries a second; zero is as many as possible
	Clients  int    // each has a socket; zero is one
	InFlight int    // queries in flight, of all clients
	Time     time.Duration
}

// Command returns a command that sends the load to a server. It writes the questions to a
// file in dir, and the output goes to out, for [Wait].
func (l *Load) Command(addr, dir string, out *bytes.Buffer) (*exec.Cmd, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	questions := filepath.Join(dir, "questions")
	text := strings.Join(l.Names, " "+l.Type+"\n") + " " + l.Type + "\n"
	if err := os.WriteFile(questions, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("dnsperf", "-s", host, "-p", port, "-d", questions, "-e", "-W", "-O", "suppress=timeout",
		"-c", strconv.Itoa(max(1, l.Clients)), "-q", strconv.Itoa(l.InFlight), "-t", "5", "-l", strconv.Itoa(int(l.Time.Seconds())))
	if l.Rate > 0 {
		cmd.Args = append(cmd.Args, "-Q", strconv.Itoa(l.Rate))
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, nil
}

// Outcome counts the queries of a load.
type Outcome struct {
	Sent    int
	Lost    int // without a reply
	NoError int // with the rcode NOERROR
	Failed  int // with an rcode other than NOERROR and NXDOMAIN
}

// Wait waits for the end of a command and parses its output.
func Wait(cmd *exec.Cmd, out *bytes.Buffer) (Outcome, error) {
	if err := cmd.Wait(); err != nil {
		return Outcome{}, fmt.Errorf("run dnsperf: %w\n%s", err, out)
	}
	o, err := parse(out.String())
	if err != nil {
		return Outcome{}, fmt.Errorf("%w\n%s", err, out)
	}
	return o, nil
}

var (
	// dnsperf prints the number of interrupted queries only if there are any, and the
	// rcodes only if there are replies.
	countLine = regexp.MustCompile(`Queries (sent|lost|interrupted):\s+(\d+)`)
	rcodeLine = regexp.MustCompile(`Response codes:.*`)
	rcode     = regexp.MustCompile(`(\w+) (\d+) `)
)

// parse parses the output of dnsperf. Queries that an interrupt cut short are not counted.
func parse(text string) (o Outcome, err error) {
	counts := make(map[string]int)
	for _, m := range countLine.FindAllStringSubmatch(text, -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	sent, ok1 := counts["sent"]
	lost, ok2 := counts["lost"]
	if !ok1 || !ok2 {
		return o, errors.New("parse output of dnsperf: no statistics")
	}
	o.Sent, o.Lost = sent-counts["interrupted"], lost
	for _, m := range rcode.FindAllStringSubmatch(rcodeLine.FindString(text), -1) {
		n, _ := strconv.Atoi(m[2])
		switch m[1] {
		case "NOERROR":
			o.NoError = n
		case "NXDOMAIN":
		default:
			o.Failed += n
		}
	}
	return o, nil
}
