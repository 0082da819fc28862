//go:build cluster

package main_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// fastQuestion is a query to one of a server's addresses.
type fastQuestion struct {
	network, host string
	msg           *dns.Msg
}

// fastQuestions returns queries of all kinds: those that the fast path answers, those that it
// does not, and clients of either family.
func fastQuestions() (out []fastQuestion) {
	names := []string{
		fastHost, "small.default.svc.cluster.local.", "large.default.svc.cluster.local.", "_web._tcp.small.default.svc.cluster.local.",
		"_web._tcp.large.default.svc.cluster.local.", "_tcp.small.default.svc.cluster.local.", "web-003.small.default.svc.cluster.local.",
		"WEB-001.Small.Default.SVC.cluster.LOCAL.", `we\.b.small.default.svc.cluster.local.`, "none.default.svc.cluster.local.", "cluster.local.",
		"0.0.1.10.in-addr.arpa.", "9.9.9.10.in-addr.arpa.", otherHost, "Missing.example.org.", ".",
		"0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeANY, dns.TypeTXT, 65280}
	edns := []func(*dns.Msg){
		func(*dns.Msg) {},
		func(m *dns.Msg) { m.SetEdns0(512, true) },
		func(m *dns.Msg) { m.SetEdns0(1232, false) },
		func(m *dns.Msg) { m.SetEdns0(4096, true) },
		func(m *dns.Msg) { m.SetEdns0(65535, false) },
		func(m *dns.Msg) { m.SetEdns0(100, false); m.CheckingDisabled = true; m.RecursionDesired = false },
		func(m *dns.Msg) {
			m.SetEdns0(1232, false).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
		},
		func(m *dns.Msg) {
			m.SetEdns0(1232, false).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
		},
		func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) },
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, name := range names {
			for _, qtype := range types {
				for _, set := range edns {
					m := new(dns.Msg).SetQuestion(name, qtype)
					set(m)
					out = append(out, fastQuestion{"udp", host, m})
				}
				out = append(out, fastQuestion{"tcp", host, new(dns.Msg).SetQuestion(name, qtype)})
			}
		}
		chaos := new(dns.Msg).SetQuestion(fastHost, dns.TypeA)
		chaos.Question[0].Qclass = dns.ClassCHAOS
		notify := new(dns.Msg).SetNotify("cluster.local.")
		out = append(out, fastQuestion{"udp", host, chaos}, fastQuestion{"udp", host, notify})
	}
	return out
}

// TestFastPathMetrics sends the same queries to two servers, of which one has the fast path. The
// prometheus plugin counts the same for both, and both have the same series.
func TestFastPathMetrics(t *testing.T) {
	manifests := fastManifests(t)
	for name, block := range map[string]string{
		"specific": "bind 127.0.0.1 ::1\nloadbalance\nbufsize 1232",
		"wildcard": "",
	} {
		t.Run(name, func(t *testing.T) {
			var servers [2]*fastProcess
			var ports [2]string
			for i, stanza := range []string{"explain on", "explain on\nfastpath"} {
				ports[i] = cluster.MustFreePort(t)
				sockets := 0
				if i == 1 {
					sockets = max(1, strings.Count(block, "127.0.0.1 ::1")*2)
				}
				servers[i] = startFast(t, "metrics", fastCorefile(ports[i], manifests, stanza, block), sockets)
				eventually(t, func() error { // over TCP, as a query over UDP might be sent again
					_, _, err := (&dns.Client{Net: "tcp"}).Exchange(new(dns.Msg).SetQuestion(fastHost, dns.TypeA), "127.0.0.1:"+ports[i])
					return err
				})
			}
			// The first query shows that the fast path makes no series too early.
			first := fastQuestion{"udp", "127.0.0.1", new(dns.Msg).SetQuestion(fastHost, dns.TypeA)}
			for _, questions := range [][]fastQuestion{{first}, fastQuestions()} {
				for _, port := range ports {
					for _, q := range questions {
						q.ask(t, port)
					}
				}
				// The prometheus plugin counts a query after its reply.
				cluster.Eventually(t, 10*time.Second, func() error {
					var series [2]map[string]float64
					for i, p := range servers {
						series[i] = make(map[string]float64)
						for name, value := range p.series(t) {
							series[i][strings.ReplaceAll(name, ports[i], "PORT")] = value
						}
					}
					return compareSeries(series[0], series[1])
				})
			}
			if n := servers[1].fastAnswers(t); n < 500 {
				t.Errorf("the fast path answered %v queries, want most of those for headless names", n)
			}
		})
	}
}

func (q *fastQuestion) ask(t *testing.T, port string) {
	t.Helper()
	client := dns.Client{Net: q.network, UDPSize: dns.MaxMsgSize, Timeout: 10 * time.Second}
	if _, _, err := client.Exchange(q.msg, net.JoinHostPort(q.host, port)); err != nil {
		t.Fatalf("over %s to %s: %v\n%v", q.network, q.host, err, q.msg)
	}
}

// compareSeries compares the series of two servers after the same queries.
func compareSeries(ordinary, fast map[string]float64) error {
	all := maps.Clone(ordinary)
	maps.Copy(all, fast)
	var errs []error
	compared := 0
	for series := range all {
		a, inOrdinary := ordinary[series]
		b, inFast := fast[series]
		if inOrdinary != inFast {
			errs = append(errs, fmt.Errorf("%s: exists without the fast path: %v, with it: %v", series, inOrdinary, inFast))
			continue
		}
		const duration = "coredns_dns_request_duration_seconds"
		switch {
		case strings.HasPrefix(series, duration) && !strings.HasPrefix(series, duration+"_count"):
			continue
		case strings.HasPrefix(series, "coredns_dns_"), strings.HasPrefix(series, "coredns_headless_answers_total"), series == "coredns_panics_total":
		default:
			continue
		}
		if compared++; a != b {
			errs = append(errs, fmt.Errorf("%s: %v without the fast path, %v with it", series, a, b))
		}
	}
	if compared < 50 {
		errs = append(errs, fmt.Errorf("%d series of queries, want at least 50", compared))
	}
	return errors.Join(errs...)
}
