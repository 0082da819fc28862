//go:build cluster

package main_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// denialForm is a form of a negative answer, and the server block that gives it.
type denialForm struct {
	stanza string // of the zone
	zone   string
	name   string // in the zone
	qtype  uint16
	rcode  int
	soa    int // the minimum of the SOA record; -1 without one
}

// denialForms are the forms by the headings of the table. The pod mariadb-2 is not ready, and
// web-0 has IPv4 only.
func denialForms(manifests string) map[string]denialForm {
	const (
		withheld = "mariadb-2.mariadb.default.svc."
		present  = "web-0.nginx.default.svc."
		zero     = "\ndenial 0"
		bare     = "\ndenial 0 bare"
	)
	manifests = "manifests " + manifests
	return map[string]denialForm{
		"NXDOMAIN, SOA 5":  {manifests, "five.cluster.local.", withheld, dns.TypeA, dns.RcodeNameError, 5},
		"NXDOMAIN, SOA 0":  {manifests + zero, "zero.cluster.local.", withheld, dns.TypeA, dns.RcodeNameError, 0},
		"NXDOMAIN, no SOA": {manifests + bare, "bare.cluster.local.", withheld, dns.TypeA, dns.RcodeNameError, -1},
		"no data, SOA 5":   {manifests, "five.cluster.local.", present, dns.TypeAAAA, dns.RcodeSuccess, 5},
		"no data, SOA 0":   {manifests + zero, "zero.cluster.local.", present, dns.TypeAAAA, dns.RcodeSuccess, 0},
		"SERVFAIL":         {"endpoint http://127.0.0.1:1\nstartup_timeout 1ms", "unsynced.cluster.local.", withheld, dns.TypeA, dns.RcodeServerFailure, -1},
	}
}

// denialCaches start the caches of the table with the settings of its row, in front of a port.
var denialCaches = map[string]func(t *testing.T, upstream string, settings ...string) string{
	"CoreDNS": func(t *testing.T, upstream string, settings ...string) string {
		t.Helper()
		return corefileServer(t, "cache", fmt.Sprintf(".:PORT {\nbind 127.0.0.1\n%s\nforward . 127.0.0.1:%s\n}", strings.Join(settings, "\n"), upstream))
	},
	"NodeLocal DNSCache": nodeLocal,
	"dnsmasq":            dnsmasq,
	"unbound":            unbound,
	"pdns-recursor":      recursor,
}

// denialCell is a cell of the table: how long a cache keeps a form of denial. Each round of the
// test asks the cache once.
type denialCell struct {
	row, column string
	form        denialForm
	port        string // of the cache
	series      string // the counter of the queries that reach the server from this cache
	want        int    // seconds; 0 for "no"
	text        string

	count   float64 // of the series, after the last round
	reached []bool  // whether the query of a round reached the server
}

// denialTable returns the headings and rows of the table in docs/operations.md.
func denialTable(t *testing.T) (headings []string, rows [][]string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Caches in front of the server\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
		if ok {
			rows = append(rows, strings.Split(strings.TrimSuffix(line, " |"), " | "))
		}
	}
	if len(rows) < 6 {
		t.Fatalf("the table of docs/operations.md has %d rows", len(rows))
	}
	return rows[0], rows[1:]
}

// TestDenialsInCaches measures for how long each cache keeps each form of denial, and compares that
// with the table in docs/operations.md. It asks the caches again and again, and sees in the metrics
// of the server which queries it got.
func TestDenialsInCaches(t *testing.T) {
	manifests, err := filepath.Abs("../../testdata/run")
	if err != nil {
		t.Fatal(err)
	}
	forms := denialForms(manifests)
	headings, rows := denialTable(t)
	if got := slices.Sorted(slices.Values(headings[1:])); !slices.Equal(got, slices.Sorted(maps.Keys(forms))) {
		t.Fatalf("the columns are %q, want %q", got, slices.Sorted(maps.Keys(forms)))
	}

	// Each cache asks a port of its own, so the server counts the queries of each.
	ports := make([]string, len(rows)+1)
	for i := range ports {
		ports[i] = cluster.MustFreePort(t)
	}
	metrics := cluster.MustFreePort(t)
	blocks := make(map[string]string)
	for _, form := range forms {
		blocks[form.zone] = fmt.Sprintf("{\nbind 127.0.0.1\nprometheus 127.0.0.1:%s\nheadless %s {\n%s\n}\n}\n", metrics, form.zone, form.stanza)
	}
	var corefile strings.Builder
	for zone, block := range blocks {
		for _, port := range ports {
			corefile.WriteString(zone + ":" + port + " ")
		}
		corefile.WriteString(block)
	}
	corefileServer(t, "server", corefile.String())
	direct := ports[len(rows)]
	for column, form := range forms {
		awaitDenial(t, direct, form)
		m, err := askDenial(direct, form)
		if err != nil {
			t.Fatal(err)
		}
		soa := -1
		if len(m.Ns) == 1 {
			soa = int(m.Ns[0].(*dns.SOA).Minttl)
		}
		if soa != form.soa {
			t.Fatalf("%s: the server answers %v", column, m)
		}
	}

	var cells []*denialCell
	for i, row := range rows {
		cache, settings, _ := strings.Cut(row[0], ": ")
		launch := denialCaches[cache]
		if launch == nil || len(row) != len(headings) {
			t.Fatalf("row %q is not understood", row)
		}
		var lines []string
		for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(settings, -1) {
			lines = append(lines, span[1])
		}
		port := launch(t, ports[i], lines...)
		for j, text := range row[1:] {
			form := forms[headings[j+1]]
			want := 0
			if text != "no" {
				if want, err = strconv.Atoi(strings.TrimSuffix(text, " s")); err != nil || want == 0 {
					t.Fatalf("%s: neither \"no\" nor seconds: %q", row[0], text)
				}
			}
			cells = append(cells, &denialCell{row: row[0], column: headings[j+1], form: form, port: port, want: want, text: text,
				series: fmt.Sprintf("127.0.0.1:%s %s %s", ports[i], dns.TypeToString[form.qtype], form.zone)})
		}
		// The server does not know this name, so no form is in the cache when the first round begins.
		awaitDenial(t, port, denialForm{zone: "zero.cluster.local.", name: "web-9.nginx.default.svc.", qtype: dns.TypeSRV, rcode: dns.RcodeNameError})
	}
	judgeDenials(t, cells, measureDenials(t, metrics, cells))
}

// awaitDenial waits until a server gives the answer.
func awaitDenial(t *testing.T, port string, form denialForm) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, func() error {
		_, err := askDenial(port, form)
		return err
	})
}

// askDenial asks for the denial, and returns an error if the answer is another.
func askDenial(port string, form denialForm) (*dns.Msg, error) {
	client := dns.Client{Timeout: 5 * time.Second}
	m, _, err := client.Exchange(new(dns.Msg).SetQuestion(form.name+form.zone, form.qtype), "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	if m.Rcode != form.rcode || len(m.Answer) > 0 {
		return nil, fmt.Errorf("want %s from port %s: %v", dns.RcodeToString[form.rcode], port, m)
	}
	return m, nil
}

// denialRound is the time that a round took.
type denialRound struct{ begin, end time.Time }

// measureDenials asks all caches in rounds, for longer than most of them keep a denial.
func measureDenials(t *testing.T, metrics string, cells []*denialCell) (rounds []denialRound) {
	t.Helper()
	requests := make(map[string]float64)
	count := func() {
		if err := countRequests(metrics, requests); err != nil {
			t.Fatal(err)
		}
	}
	count()
	for _, c := range cells {
		c.count = requests[c.series]
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for len(rounds) == 0 || time.Since(rounds[0].begin) < 9*time.Second {
		round := denialRound{begin: time.Now()}
		for _, c := range cells {
			if _, err := askDenial(c.port, c.form); err != nil {
				t.Fatalf("%s: %s: %v", c.row, c.column, err)
			}
		}
		round.end = time.Now()
		// The server counts a query after it has answered. So where the table has "no", a count that
		// has not grown may be late.
		late := func(c *denialCell) bool {
			return requests[c.series] == c.count && c.want == 0 && !slices.Contains(c.reached, false)
		}
		for range 10 {
			if count(); !slices.ContainsFunc(cells, late) {
				break
			}
			<-tick.C
		}
		for _, c := range cells {
			c.reached = append(c.reached, requests[c.series] > c.count)
			c.count = requests[c.series]
		}
		rounds = append(rounds, round)
		<-tick.C
	}
	return rounds
}

// countRequests reads how many queries each series of the server counts. It sums up the protocols.
func countRequests(metrics string, requests map[string]float64) error {
	all, err := cluster.Metrics("127.0.0.1:" + metrics)
	if err != nil {
		return err
	}
	clear(requests)
	for series, n := range all {
		if m := requestsSeries.FindStringSubmatch(series); m != nil {
			requests[m[1]+" "+m[2]+" "+m[3]] += n
		}
	}
	return nil
}

var requestsSeries = regexp.MustCompile(`^coredns_dns_requests_total\{.*server="dns://([^"]+)",type="([^"]+)",.*zone="([^"]+)"\}$`)

// keeps returns the longest time for which the cache has kept the denial, in seconds, as limits. A
// busy machine moves them apart, and never makes them wrong: the cache kept an answer at least from
// the end of the round that brought it to the beginning of the last one that did not reach the
// server, and at most from the beginning of the former to the end of the next that did.
func (c *denialCell) keeps(rounds []denialRound) (least, most float64) {
	for i := 1; i < len(rounds); i++ {
		brought := i - 1
		for i < len(rounds) && !c.reached[i] {
			i++
		}
		if i == brought+1 {
			continue
		}
		kept := rounds[i-1].begin.Sub(rounds[brought].end).Seconds()
		switch {
		case i == len(rounds): // it may keep the answer for longer
			if kept > most || most == 0 {
				least, most = kept, math.Inf(1)
			}
		case kept >= least:
			least, most = kept, rounds[i].end.Sub(rounds[brought].begin).Seconds()
		}
	}
	return least, most
}

// judgeDenials compares the cells with what was measured. Caches that count whole seconds are up to
// one off.
func judgeDenials(t *testing.T, cells []*denialCell, rounds []denialRound) {
	t.Helper()
	for _, c := range cells {
		const off = 1.5
		least, most := c.keeps(rounds)
		measured := "no"
		if most > 0 {
			measured = fmt.Sprintf("%.1f to %.1f s", least, most)
		}
		if want := float64(c.want); (c.want == 0) != (most == 0) || least > want+off || most < want-off {
			t.Errorf("%s: %s: measured %s, but docs/operations.md says %s", c.row, c.column, measured, c.text)
		} else {
			t.Logf("%s: %s: %s", c.row, c.column, measured)
		}
	}
}
