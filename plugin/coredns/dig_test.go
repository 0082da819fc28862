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

// reply is the parsed output of dig.
type reply struct {
	text   string
	status string
	flags  []string
	qname  string
	answer []dns.RR
	ns     []dns.RR
	extra  []dns.RR
}

var header = regexp.MustCompile(`(?s)status: (\w+),.*;; flags:([^;]*);`)

// dig runs dig against the server with the question as arguments.
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
			r.qname = strings.Fields(line[1:])[0]
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

// rdata returns the data of a record as dig prints it.
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

// sameSet reports whether a and b have the same elements, with duplicates, in any order.
func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// answers returns an error unless the server's answer is a record set with exactly this
// data.
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
		return nil, fmt.Errorf("want NOERROR with AA: %s", r.text)
	}
	if !sameSet(rdatas(r.answer), want) {
		return nil, fmt.Errorf("want the records %q: %s", want, r.text)
	}
	for _, rr := range r.answer {
		// The TXT record with the version of the DNS schema has another TTL.
		if h := rr.Header(); h.Name != r.qname || h.Ttl != ttl && h.Rrtype != dns.TypeTXT {
			return nil, fmt.Errorf("want owner %s and TTL %d: %s", r.qname, ttl, r.text)
		}
	}
	return r, nil
}

// answersSRV returns an error unless the server answers with exactly the targets in
// glue, with the given port and equal weights, to which each address counts. The additional section
// must have the addresses, which are the values in glue.
func (s *server) answersSRV(port int, glue map[string][]string, question ...string) error {
	var want, wantExtra []string
	for target, addrs := range glue {
		for _, addr := range addrs {
			wantExtra = append(wantExtra, target+" "+addr)
		}
	}
	for target := range glue {
		want = append(want, fmt.Sprintf("0 %d %d %s", max(1, 100/len(wantExtra)), port, target))
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

// denies returns an error unless the server denies the name (NXDOMAIN) or the type
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

// refuses returns an error unless no plugin of the server answers the question.
func (s *server) refuses(question ...string) error {
	r, err := s.dig(question...)
	if err != nil {
		return err
	}
	if r.status != "REFUSED" && r.status != "SERVFAIL" || len(r.answer) != 0 {
		return fmt.Errorf("want REFUSED or SERVFAIL: %s", r.text)
	}
	return nil
}

// wantAnswer waits until the server answers with exactly this data.
func wantAnswer(t *testing.T, want []string, question ...string) {
	t.Helper()
	eventually(t, func() error { return srv.answers(want, question...) })
}

// wantNXDOMAIN waits until the server replies NXDOMAIN.
func wantNXDOMAIN(t *testing.T, question ...string) {
	t.Helper()
	eventually(t, func() error { return srv.denies("NXDOMAIN", question...) })
}

// fqdn returns the absolute name of the labels, which end with the namespace.
func fqdn(labels ...string) string {
	return strings.Join(labels, ".") + ".svc.cluster.local."
}
