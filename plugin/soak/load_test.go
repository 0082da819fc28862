//go:build soak

package soak_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/dnsperf"
)

// startLoad runs dnsperf for a time. The returned function waits for its end.
func (k *kubernetes) startLoad(t *testing.T, addr string, rate, inFlight int, d time.Duration, names []string) (end func() dnsperf.Outcome) {
	t.Helper()
	load := dnsperf.Load{Names: names, Type: "A", EDNS: 4096, Rate: rate, InFlight: inFlight, Time: d}
	var out bytes.Buffer
	cmd, err := load.Command(addr, k.Dir, &out)
	if err != nil {
		t.Fatal(err)
	}
	k.start(t, "dnsperf", cmd)
	return func() dnsperf.Outcome {
		o, err := dnsperf.Wait(cmd, &out)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
}

// startStream sends queries over TCP for a time at the given rate, one after another on a
// connection. CoreDNS resets connections at each reload. Dnsperf may then give up with
// "Bad file descriptor"; startStream reconnects. The returned function waits for its end.
func startStream(t *testing.T, addr string, rate int, d time.Duration, names []string) (end func() dnsperf.Outcome) {
	t.Helper()
	var o dnsperf.Outcome
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
			r, err := ask(names[o.Sent%len(names)])
			o.Sent++
			switch {
			case err != nil:
				o.Lost++
				if conn != nil {
					conn.Close()
				}
				conn = nil
			case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError: // names come and go
				o.Failed++
			}
		}
		if conn != nil {
			conn.Close()
		}
	})
	return func() dnsperf.Outcome { done.Wait(); return o }
}
