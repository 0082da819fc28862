package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// corpusReply is the compared part of a reply. Records are written as in a zone file,
// with 0 as their serial.
type corpusReply struct {
	Rcode  string   `json:"rcode,omitempty"`  // empty is NOERROR; FALLTHROUGH is the next plugin's reply
	TC     bool     `json:"tc,omitempty"`     // whether the reply is truncated
	Counts []int    `json:"counts,omitempty"` // instead of the records: the numbers of answer and additional records
	Answer []string `json:"answer,omitempty"`
	Extra  []string `json:"extra,omitempty"`
	Ns     []string `json:"ns,omitempty"`
}

func (r *corpusReply) String() string {
	s, _ := json.MarshalIndent(r, "", "  ")
	return string(s)
}

// equal compares replies, ignoring the order of records and the case of names (RFC 4343).
func (r *corpusReply) equal(o *corpusReply) bool {
	return r.canonical().String() == o.canonical().String()
}

func (r *corpusReply) canonical() *corpusReply {
	out := *r
	for _, section := range []*[]string{&out.Answer, &out.Extra, &out.Ns} {
		lines := make([]string, len(*section))
		for i, line := range *section {
			lines[i] = strings.ToLower(strings.Join(strings.Fields(line), " "))
		}
		slices.Sort(lines)
		*section = lines
	}
	return &out
}

// newCorpusReply returns the compared part of a message: the records, or their counts if
// want has counts.
func newCorpusReply(m *dns.Msg, want *corpusReply) *corpusReply {
	out := &corpusReply{Rcode: dns.RcodeToString[m.Rcode], TC: m.Truncated}
	switch m.Rcode {
	case dns.RcodeSuccess:
		out.Rcode = ""
	case corpusPassed:
		out.Rcode = "FALLTHROUGH"
	}
	extra := slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	if want.Counts == nil {
		out.Answer, out.Extra, out.Ns = corpusLines(m.Answer), corpusLines(extra), corpusLines(m.Ns)
		return out
	}
	out.Counts = []int{len(m.Answer), len(extra)}
	if m.Truncated { // the records are random, and so is how many fit
		for i, n := range want.Counts {
			out.Counts[i] = min(out.Counts[i], n)
		}
	}
	return out
}

func corpusLines(records []dns.RR) []string {
	var out []string
	for _, rr := range records {
		if soa, ok := rr.(*dns.SOA); ok {
			soa.Serial = 0
		}
		out = append(out, rr.String())
	}
	return out
}

// compare queries a case and returns how the replies differ from the wanted one. It
// queries over UDP and TCP, unless the case names one of them.
func (c *corpusCase) compare(s *corpusServers, want *corpusReply) error {
	var errs []error
	if !c.TCP {
		size := c.UDP
		if size == 0 {
			size = 4096
		}
		errs = append(errs, c.compareOver(s.ordinary, "udp", size, want))
		if err := c.compareOver(s.fast, "udp", size, want); err != nil {
			errs = append(errs, fmt.Errorf("with the fast path: %w", err))
		}
	}
	if c.UDP == 0 {
		errs = append(errs, c.compareOver(s.ordinary, "tcp", 0, want))
	}
	return errors.Join(errs...)
}

func (c *corpusCase) compareOver(s *served, network string, size uint16, want *corpusReply) error {
	m, err := s.ask(c.Ask, network, size)
	if err != nil {
		return fmt.Errorf("over %s: %w", network, err)
	}
	if got := newCorpusReply(m, want); !got.equal(want) {
		return fmt.Errorf("over %s, got %v\nwant %v", network, got, want)
	}
	if m.Rcode == corpusPassed || m.Rcode == dns.RcodeServerFailure {
		return nil
	}
	if !m.Authoritative {
		return fmt.Errorf("over %s, AA is not set", network)
	}
	for _, rr := range m.Answer { // the owner must echo the case of the query
		if name := rr.Header().Name; name != m.Question[0].Name {
			return fmt.Errorf("over %s, the owner is %s, want %s", network, name, m.Question[0].Name)
		}
	}
	return nil
}

// comparePassed returns an error unless headless passes the query on.
func (c *corpusCase) comparePassed(s *corpusServers) error {
	for _, server := range []*served{s.ordinary, s.fast} {
		m, err := server.ask(c.Ask, "udp", 4096)
		if err != nil {
			return err
		}
		if m.Rcode != corpusPassed {
			return fmt.Errorf("headless answered instead of passing the query on:\n%v", m)
		}
	}
	return nil
}
