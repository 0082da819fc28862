//go:build cluster

package main_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const ttl = 5

// reply is what dig printed, read back.
type reply struct {
	text   string
	status string
	flags  []string
	owner  string // the name asked
	answer []dns.RR
	ns     []dns.RR
	extra  []dns.RR
}

var header = regexp.MustCompile(`(?s)status: (\w+),.*;; flags:([^;]*);`)

// dig asks the server by way of dig, whose arguments the question is.
func (s *server) dig(question ...string) (*reply, error) {
	args := append([]string{"@127.0.0.1", "-p", s.port, "+tries=1", "+time=2", "+noall", "+comments", "+question", "+answer", "+authority", "+additional"}, question...)
	out, err := command("dig", args...)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, out)
	}
	r := &reply{text: fmt.Sprintf("%s: dig %s\n%s", s.name, strings.Join(question, " "), out)}
	match := header.FindStringSubmatch(out)
	if match == nil {
		return nil, fmt.Errorf("no header in %s", r.text)
	}
	r.status, r.flags = match[1], strings.Fields(match[2])

	section := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasSuffix(line, " SECTION:"):
			section = strings.Fields(line)[1]
		case section == "QUESTION" && strings.HasPrefix(line, ";"):
			r.owner = strings.Fields(line[1:])[0]
			section = ""
		case line == "" || strings.HasPrefix(line, ";"):
		default:
			rr, err := dns.NewRR(line)
			if err != nil {
				return nil, fmt.Errorf("%w in %s", err, r.text)
			}
			switch section {
			case "ANSWER":
				r.answer = append(r.answer, rr)
			case "AUTHORITY":
				r.ns = append(r.ns, rr)
			case "ADDITIONAL":
				r.extra = append(r.extra, rr)
			}
		}
	}
	return r, nil
}

// rdata is the record without its header, as dig prints it.
func rdata(rr dns.RR) string {
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

func rdatas(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, rdata(rr))
	}
	return out
}

// sameSet tells whether both hold the same, in whatever order, duplicates counted.
func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// answers is nil if the server answers with a record set of just this data.
func (s *server) answers(want []string, question ...string) error {
	_, err := s.answer(want, question...)
	return err
}

func (s *server) answer(want []string, question ...string) (*reply, error) {
	r, err := s.dig(question...)
	if err != nil {
		return nil, err
	}
	if r.status != "NOERROR" || !slices.Contains(r.flags, "aa") {
		return nil, fmt.Errorf("want an authoritative NOERROR: %s", r.text)
	}
	if !sameSet(rdatas(r.answer), want) {
		return nil, fmt.Errorf("want just %q: %s", want, r.text)
	}
	for _, rr := range r.answer {
		// The version of the schema has a TTL of its own.
		if h := rr.Header(); h.Name != r.owner || h.Ttl != ttl && h.Rrtype != dns.TypeTXT {
			return nil, fmt.Errorf("want owner %s and TTL %d: %s", r.owner, ttl, r.text)
		}
	}
	return r, nil
}

// answersSRV is nil if the server answers with a record set of just these
// targets, at the port and of even weight, and brings along the addresses of
// each of them, which glue has by target.
func (s *server) answersSRV(port int, glue map[string][]string, question ...string) error {
	var want, wantExtra []string
	for target, addrs := range glue {
		want = append(want, fmt.Sprintf("0 %d %d %s", max(1, 100/len(glue)), port, target))
		for _, addr := range addrs {
			wantExtra = append(wantExtra, target+" "+addr)
		}
	}
	r, err := s.answer(want, append([]string{"SRV"}, question...)...)
	if err != nil {
		return err
	}
	var extra []string
	for _, rr := range r.extra {
		extra = append(extra, rr.Header().Name+" "+rdata(rr))
	}
	if !sameSet(extra, wantExtra) {
		return fmt.Errorf("want additional records %q: %s", wantExtra, r.text)
	}
	return nil
}

// denies is nil if the server denies the name (NXDOMAIN) or the type
// (NOERROR), with the zone's SOA.
func (s *server) denies(status string, question ...string) error {
	r, err := s.dig(question...)
	if err != nil {
		return err
	}
	if r.status != status || len(r.answer) != 0 || len(r.ns) != 1 || r.ns[0].Header().Rrtype != dns.TypeSOA {
		return fmt.Errorf("want %s with an SOA: %s", status, r.text)
	}
	return nil
}

// disowns is nil if no plugin of the server answers the question.
func (s *server) disowns(question ...string) error {
	r, err := s.dig(question...)
	if err != nil {
		return err
	}
	if r.status != "REFUSED" && r.status != "SERVFAIL" || len(r.answer) != 0 {
		return fmt.Errorf("want REFUSED or SERVFAIL: %s", r.text)
	}
	return nil
}

// wantAnswer waits until the server answers so.
func wantAnswer(t *testing.T, want []string, question ...string) {
	t.Helper()
	eventually(t, func() error { return srv.answers(want, question...) })
}

// wantNoName waits until the server says NXDOMAIN.
func wantNoName(t *testing.T, question ...string) {
	t.Helper()
	eventually(t, func() error { return srv.denies("NXDOMAIN", question...) })
}

// fqdn is the absolute name of what the labels lead to, from host to namespace.
func fqdn(labels ...string) string {
	return strings.Join(labels, ".") + ".svc.cluster.local."
}
