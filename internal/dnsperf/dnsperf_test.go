package dnsperf

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestParse(t *testing.T) {
	text := "Statistics:\n\n  Queries sent:         7500\n  Queries completed:    7499 (99.99%)\n  Queries lost:         1 (0.01%)\n\n" +
		"  Response codes:       NOERROR 7490 (99.87%), NXDOMAIN 6 (0.08%), SERVFAIL 2 (0.03%), REFUSED 1 (0.01%)\n"
	interrupted := strings.Replace(text, "  Queries lost:", "  Queries interrupted:  3 (0.04%)\n  Queries lost:", 1)
	unanswered, _, _ := strings.Cut(text, "  Response codes:")
	verbose := "> NOERROR binary input 0.000415\n> T binary input\n> NXDOMAIN binary input 0.000078\n> NOERROR binary input 1.200000\n" + text
	latencies := []time.Duration{78 * time.Microsecond, 415 * time.Microsecond, 1200 * time.Millisecond}
	for text, want := range map[string]Outcome{
		text:        {Sent: 7500, Lost: 1, NoError: 7490, NXDomain: 6, Failed: 3},
		interrupted: {Sent: 7497, Lost: 1, NoError: 7490, NXDomain: 6, Failed: 3},
		unanswered:  {Sent: 7500, Lost: 1},
		verbose:     {Sent: 7500, Lost: 1, NoError: 7490, NXDomain: 6, Failed: 3, Latencies: latencies},
	} {
		if got, err := parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parse %s\ngot %+v, %v, want %+v", text, got, err, want)
		}
	}
	if got, err := parse("Error"); err == nil {
		t.Errorf("parse %q: got %+v, want an error", "Error", got)
	}
}

// TestCommand checks the flags and the queries that dnsperf reads.
func TestCommand(t *testing.T) {
	l := Load{Names: []string{"a.example.org", "b.example.org."}, Type: "SRV", EDNS: 1232, InFlight: 20, Time: 1500 * time.Millisecond}
	cmd, err := l.Command("127.0.0.1:53", t.TempDir(), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	if args := strings.Join(cmd.Args, " ") + " "; !strings.Contains(args, " -l 1.5 ") || strings.Contains(args, " -Q ") || strings.Contains(args, " -v ") {
		t.Errorf("got %s, want -l 1.5, and neither -Q nor -v", args)
	}
	l.Rate, l.Verbose, l.Clients = 2000, true, 4
	if cmd, err = l.Command("127.0.0.1:53", t.TempDir(), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	if args := strings.Join(cmd.Args, " "); !strings.Contains(args, " -c 4 ") || !strings.HasSuffix(args, " -Q 2000 -v") {
		t.Errorf("got %s, want -c 4, -Q 2000 and -v", args)
	}
	for _, edns := range []uint16{0, 1232, 4096} {
		l.EDNS = edns
		packed, err := l.queries()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a.example.org.", "b.example.org."} {
			n := 2 + int(binary.BigEndian.Uint16(packed))
			m := new(dns.Msg)
			if err := m.Unpack(packed[2:n]); err != nil {
				t.Fatal(err)
			}
			packed = packed[n:]
			size := uint16(0)
			if opt := m.IsEdns0(); opt != nil {
				size = opt.UDPSize()
			}
			if m.Question[0] != (dns.Question{Name: name, Qtype: dns.TypeSRV, Qclass: dns.ClassINET}) || !m.RecursionDesired || size != edns {
				t.Errorf("EDNS %d: got %v, want SRV of %s, with RD", edns, m, name)
			}
		}
		if len(packed) > 0 {
			t.Errorf("%d bytes after the queries", len(packed))
		}
	}
	for _, wrong := range []Load{{Names: []string{"a"}, Type: "NONE"}, {Names: []string{strings.Repeat("a", 64)}, Type: "A"}} {
		if _, err := wrong.Command("127.0.0.1:53", t.TempDir(), new(bytes.Buffer)); err == nil {
			t.Errorf("a load of type %s for %s: want an error", wrong.Type, wrong.Names[0])
		}
	}
}
