//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// An asker is a pod that queries the A records of its names every 50 ms. It writes the
// replies to its log. The log is a file on this node, which the test can read without
// the API server.
type asker struct {
	pod, log string
	names    []string
	begin    time.Time
}

// A reply is dig's output for one query, with a time before the query and one after the
// reply.
type reply struct {
	sent, received time.Time
	name           string
	status         string // the rcode; empty without a reply
	addrs          []string
	text           string
}

// startAsker starts an asker in the namespace default. The names are absolute; flags are
// those of dig.
func startAsker(t *testing.T, pod, flags string, names ...string) *asker {
	t.Helper()
	script := "while :; do sleep 0.05 & echo ask; dig +tries=1 +timeout=2 +noall +comments +question +answer " +
		flags + " " + strings.Join(names, " ") + " 2>&1 | tr '\\n' ' '; echo; wait; done"
	kubectl(t, "run", pod, "--image=localhost/dnsutils:e2e", "--restart=Never", "--command", "--", "sh", "-c", script)
	kubectl(t, "wait", "pod/"+pod, "--for=condition=Ready", "--timeout=90s")
	uid := kubectl(t, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
	a := &asker{pod: pod, log: fmt.Sprintf("/var/log/pods/default_%s_%s/%s/0.log", pod, uid, pod), names: names, begin: time.Now()}
	a.follow(t, a.begin.Add(time.Second))
	return a
}

// follow waits until the asker has sent a query after that time.
func (a *asker) follow(t *testing.T, until time.Time) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		replies := a.replies(t)
		if len(replies) > 0 && replies[len(replies)-1].sent.After(until) {
			return
		}
		if time.Since(until) > time.Minute { // without a server, dig waits two seconds for each name
			t.Fatalf("%s has stopped sending queries", a.pod)
		}
		<-tick.C
	}
}

// end deletes the pod and returns all replies. The asker must have sent two queries a
// second for each name: on a busy machine dig takes long to start.
func (a *asker) end(t *testing.T) []reply {
	t.Helper()
	replies, seconds := a.replies(t), time.Since(a.begin).Seconds()
	kubectl(t, "delete", "pod", a.pod, "--grace-period=0", "--force")
	t.Logf("%s sent %d queries in %.1fs", a.pod, len(replies), seconds)
	if float64(len(replies)) < 2*seconds*float64(len(a.names)) {
		t.Errorf("%s sent %d queries in %.1fs, want 2 a second for each of %d names", a.pod, len(replies), seconds, len(a.names))
	}
	return replies
}

// A line of the log is the time, the stream, a flag, and the output of the container.
var (
	logLine  = regexp.MustCompile(`(?m)^(\S+) stdout F (.*)$`)
	status   = regexp.MustCompile(`status: (\w+),`)
	asked    = regexp.MustCompile(`QUESTION SECTION: ;(\S+)\s`)
	arecords = regexp.MustCompile(`\sIN\s+A\s+(\d\S+)`)
)

func (a *asker) replies(t *testing.T) []reply {
	t.Helper()
	content, err := os.ReadFile(a.log)
	if err != nil {
		t.Fatal(err)
	}
	var out []reply
	var sent time.Time
	for _, line := range logLine.FindAllStringSubmatch(string(content), -1) {
		at, err := time.Parse(time.RFC3339Nano, line[1])
		if err != nil {
			t.Fatal(err)
		}
		if line[2] == "ask" {
			sent = at
			continue
		}
		heads := strings.Split(line[2], "->>HEADER<<-")[1:]
		if len(heads) != len(a.names) {
			out = append(out, reply{sent: sent, received: at, text: line[2]})
		}
		for _, text := range heads {
			r := reply{sent: sent, received: at, text: text}
			if m := status.FindStringSubmatch(text); m != nil {
				r.status = m[1]
			}
			if m := asked.FindStringSubmatch(text); m != nil {
				r.name = strings.TrimSuffix(m[1], ".")
			}
			for _, m := range arecords.FindAllStringSubmatch(text, -1) {
				r.addrs = append(r.addrs, m[1])
			}
			slices.Sort(r.addrs)
			out = append(out, r)
		}
	}
	return out
}
