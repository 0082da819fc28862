package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	// diffFastEach: the test also queries the fast path about one in so many clusters. It is
	// odd, so that clusters of all options are among them.
	diffFastEach = 5
	// diffFastWindow is how many queries are on the way at once. Their replies fit into the
	// buffer of a socket.
	diffFastWindow = 16
)

// diffFastOwned is the key of the count of queries to the fast path for names that headless owns.
const diffFastOwned = "over the fast path, of owned names"

// diffFastClient queries a server with the fast path over UDP.
type diffFastClient struct {
	conn    *net.UDPConn
	buf     [dns.MaxMsgSize]byte
	first   uint16   // ID of the window's first query, as a reply to an earlier window may be late
	queries [][]byte // by ID, up to diffFastWindow; nil after the reply
	wanted  []*dns.Msg
}

func diffDialFast(addr string) (*diffFastClient, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, err
	}
	return &diffFastClient{conn: conn.(*net.UDPConn)}, nil
}

// compareFast sends those queries about a cluster that the fast path may answer, and compares the
// replies with those of the plugin. It returns the number of queries for names that headless owns.
func (f *diffFacts) compareFast(ours diffAsk, addr string) (owned int, err error) {
	return diffCompareNames(f.names, func(name string, _ *dns.Msg) bool { return f.ours(name) }, ours, addr)
}

// diffCompareNames is compareFast for names. It returns the number of queries that the fast path must
// answer, by the name and the plugin's reply.
func diffCompareNames(names []string, must func(name string, reply *dns.Msg) bool, ours diffAsk, addr string) (owned int, err error) {
	client, err := diffDialFast(addr)
	if err != nil {
		return 0, err
	}
	defer client.conn.Close()
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR} {
			mixed := diffMixed(name)
			want, err := ours(mixed, qtype)
			if err != nil {
				return 0, err
			}
			if must(name, want) {
				owned++
			}
			if err := client.add(mixed, qtype, want); err != nil {
				return 0, err
			}
		}
	}
	return owned, client.flush()
}

// add adds a query to the window.
func (c *diffFastClient) add(name string, qtype uint16, want *dns.Msg) error {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.Id = c.first + uint16(len(c.wanted))
	m.SetEdns0(4096, false)
	query, err := m.Pack()
	if err != nil {
		return err
	}
	c.queries, c.wanted = append(c.queries, query), append(c.wanted, want)
	if len(c.wanted) < diffFastWindow {
		return nil
	}
	return c.flush()
}

// flush sends the queries of the window and compares the replies. It sends a query again whose
// reply does not come, as a client does.
func (c *diffFastClient) flush() error {
	missing := len(c.queries)
	for tries := 3; missing > 0; tries-- {
		if tries == 0 {
			return fmt.Errorf("%d of %d queries got no reply, the first: %v", missing, len(c.queries), c.wanted[slices.IndexFunc(c.queries, func(q []byte) bool { return q != nil })].Question)
		}
		for _, query := range c.queries {
			if query == nil {
				continue
			}
			if _, err := c.conn.Write(query); err != nil {
				return err
			}
		}
		if err := c.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		for missing > 0 {
			n, err := c.conn.Read(c.buf[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
			m := new(dns.Msg)
			if err := m.Unpack(c.buf[:n]); err != nil {
				return err
			}
			i := int(m.Id - c.first)
			if i >= len(c.queries) || c.queries[i] == nil {
				continue // of an earlier try
			}
			if err := diffCompareFast(m, c.wanted[i]); err != nil {
				return err
			}
			c.queries[i] = nil
			missing--
		}
	}
	c.first += diffFastWindow
	c.queries, c.wanted = c.queries[:0], c.wanted[:0]
	return nil
}

// diffCompareFast compares a reply with that of the plugin for a client over TCP. A truncated
// reply has some of the records.
func diffCompareFast(m, want *dns.Msg) error {
	m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	got, whole := diffNewReply(m), diffNewReply(want)
	same := got.equal(whole)
	if got.tc {
		all := slices.Concat(whole.answer, whole.extra)
		other := func(rr diffRR) bool { return !slices.Contains(all, rr) }
		same = got.rcode == whole.rcode && got.aa && len(got.ns) == 0 && want.Len() > 4096-512 &&
			!slices.ContainsFunc(got.answer, other) && !slices.ContainsFunc(got.extra, other)
	}
	if !same || m.Question[0] != want.Question[0] {
		return fmt.Errorf("over UDP, headless with the fast path replies\n%v\nthe plugin replies\n%v", m, want)
	}
	return nil
}
