package headless

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/loadbalance"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// TestFastPathEqualsChain asks random queries both ways. FASTPATH_QUERIES says how many,
// FASTPATH_SEED which.
func TestFastPathEqualsChain(t *testing.T) {
	queries, seed := 150_000, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("FASTPATH_QUERIES")); err == nil {
		queries = n
	}
	if n, err := strconv.ParseUint(os.Getenv("FASTPATH_SEED"), 10, 64); err == nil {
		seed = n
	}
	r := rand.New(rand.NewPCG(seed, 2))
	ways := fastWays(t)
	names := make([][]string, len(ways))
	for i, b := range ways {
		names[i] = b.names()
	}
	fast := 0
	for range queries {
		i := r.IntN(len(ways))
		if wire := randomQuery(r, names[i][r.IntN(len(names[i]))]); wire != nil && ways[i].compare(t, wire, r.IntN(3) == 0) {
			fast++
		}
	}
	t.Logf("seed %d: %d queries, of which the fast path answered %d with the bytes of the chain", seed, queries, fast)
	if fast < queries/3 {
		t.Errorf("the fast path answered %d of %d queries, want at least a third", fast, queries)
	}
}

// TestFastPathAtBoundaries asks for sets of all sizes below names of all lengths, with room for just
// the reply, and for some bytes less or more.
func TestFastPathAtBoundaries(t *testing.T) {
	h := startTestHeadless(t, "headless cluster.local in-addr.arpa ip6.arpa {\nmanifests testdata/handler.yaml\n}")
	trie := records.New()
	update := trie.Update()
	ports := records.NewPortList([]records.Port{{Name: "p", Protocol: "tcp", Number: 1}})
	var names []string
	for length := 1; length <= 63; length++ {
		key := records.ServiceKey{Namespace: "n", Name: strings.Repeat("s", length)}
		update.Create(key)
		for i := range 5 + length%40 {
			e := records.Endpoint{Host: fmt.Sprintf("h%d", i), Addr: netip.AddrFrom4([4]byte{10, byte(length), 0, byte(i)}), Ports: ports}
			update.Add(key, e)
			if length%3 == 0 {
				e.Addr = netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(length), 15: byte(i)})
				update.Add(key, e)
			}
		}
		base := key.Name + ".n.svc.cluster.local."
		names = append(names, base, "_p._tcp."+base, "h3."+base, "nope."+base)
	}
	for length, addresses := range map[int]int{3: 28, 26: 19, 5: 22, 13: 19} { // plain replies of 1480, 1481, 1220 and 1221 bytes
		key := records.ServiceKey{Namespace: "m", Name: strings.Repeat("s", length)}
		update.Create(key)
		for i := range addresses {
			update.Add(key, records.Endpoint{Host: fmt.Sprintf("h%d", i), Addr: netip.AddrFrom16([16]byte{0: 0xfe, 14: byte(length), 15: byte(i)})})
		}
		names = append(names, key.Name+".m.svc.cluster.local.")
	}
	update.Commit()
	h.trie = trie
	<-time.After(trie.SerialDelay())
	b := newBothWays(t, h, 0)
	asked, fast := 0, 0
	ask := func(name string, rrtype uint16, size int, v6 bool) {
		m := new(dns.Msg).SetQuestion(name, rrtype)
		if size > 0 {
			m.SetEdns0(uint16(size), false)
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		asked++
		if b.compare(t, wire, v6) {
			fast++
		}
	}
	for _, name := range names {
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			for _, v6 := range []bool{false, true} {
				ask(name, rrtype, 0, v6)
				ask(name, rrtype, 4096, v6)
				wire, _ := new(dns.Msg).SetQuestion(name, rrtype).SetEdns0(4096, false).Pack()
				for _, size := range []int{len(b.chain(wire, v6)), b.counted.reply + emptyOPTSize} {
					for d := -2; d <= 2; d++ {
						ask(name, rrtype, size+d, v6)
					}
				}
				for size := 500; size < 1600; size += 1 + rand.IntN(30) {
					ask(name, rrtype, size, v6)
				}
			}
		}
	}
	if t.Logf("%d queries, of which the fast path answered %d", asked, fast); fast != asked {
		t.Errorf("the fast path answered %d of %d queries, want all", fast, asked)
	}
}

// FuzzFastPath gives both ways any packet.
func FuzzFastPath(f *testing.F) {
	ways := fastWays(f)[:12]
	r := rand.New(rand.NewPCG(1, 3))
	for i, b := range ways {
		for j, name := range b.names() {
			if wire := randomQuery(r, name); wire != nil && j%7 == 0 {
				f.Add(wire, uint8(i), j%2 == 0)
			}
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, i uint8, v6 bool) {
		ways[int(i)%len(ways)].compare(t, wire, v6)
	})
}

// TestFastPathTakes says which queries the fast path answers.
func TestFastPathTakes(t *testing.T) {
	const host, service, port, missing = "web-0.nginx.default.svc.cluster.local.", "nginx.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.", "web-9.nginx.default.svc.cluster.local."
	plain := startTestHeadless(t, overlayStanza)
	fallsThrough := startTestHeadless(t, "headless cluster.local {\nmanifests testdata/handler.yaml\nfallthrough\n}")
	fallsElsewhere := startTestHeadless(t, "headless cluster.local in-addr.arpa {\nmanifests testdata/handler.yaml\nfallthrough in-addr.arpa\n}")
	nested := startTestHeadless(t, nestedStanza)
	// Of other sources than the first ones.
	unsynced := newTestHeadless(t, "headless cluster.local {\nmanifests testdata/handler.yaml\nnamespaces default\n}")
	stale := startTestHeadless(t, "headless cluster.local {\nmanifests testdata/handler.yaml\nendpoint_pod_names\n}")
	stale.source.stale.Store(true)
	// With this zone, the name of the mailbox in an SOA record would be too long for DNS.
	longZone := strings.Repeat(strings.Repeat("z", 61)+".", 3) + strings.Repeat("z", 58) + "."
	long := startTestHeadless(t, "headless "+longZone+" {\nmanifests testdata/handler.yaml\nttl 3\n}")
	long.trie = records.New()
	update := long.trie.Update()
	update.Create(records.ServiceKey{Namespace: "n", Name: "s"})
	update.Add(records.ServiceKey{Namespace: "n", Name: "s"}, records.Endpoint{Host: "h", Addr: netip.MustParseAddr("10.0.0.1")})
	update.Commit()
	withOPT := func(m *dns.Msg) { m.SetEdns0(1232, false) }
	option := func(o dns.EDNS0) func(*dns.Msg) {
		return func(m *dns.Msg) { withOPT(m); m.IsEdns0().Option = []dns.EDNS0{o, o} }
	}
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac1d2b3c4d5e"}
	for _, tc := range []struct {
		what   string
		h      *Headless
		name   string
		rrtype uint16
		change func(*dns.Msg)
		want   bool
	}{
		{"a host", plain, host, dns.TypeA, nil, true},
		{"a host in upper case", plain, strings.ToUpper(host), dns.TypeA, nil, true},
		{"no data", plain, host, dns.TypeAAAA, nil, true},
		{"no data, explained", plain, host, dns.TypeAAAA, withOPT, true},
		{"a service", plain, service, dns.TypeA, withOPT, true},
		{"a port", plain, port, dns.TypeSRV, withOPT, true},
		{"a missing host", plain, missing, dns.TypeA, nil, true},
		{"a missing host, explained", plain, missing, dns.TypeA, withOPT, true},
		{"an address", plain, "5.1.244.10.in-addr.arpa.", dns.TypePTR, nil, true},
		{"the cookie of dig", plain, host, dns.TypeA, option(cookie), true},
		{"another option", plain, host, dns.TypeA, option(&dns.EDNS0_NSID{Code: dns.EDNS0NSID}), false},
		{"a registered option", plain, host, dns.TypeA, option(&dns.EDNS0_LOCAL{Code: registeredOption}), false},
		{"another version of EDNS", plain, host, dns.TypeA, func(m *dns.Msg) { withOPT(m); m.IsEdns0().SetVersion(1) }, false},
		{"an extended rcode", plain, host, dns.TypeA, func(m *dns.Msg) { withOPT(m); m.IsEdns0().SetExtendedRcode(0xfff) }, true},
		{"another class", plain, host, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, false},
		{"another opcode", plain, host, dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, false},
		{"a response", plain, host, dns.TypeA, func(m *dns.Msg) { m.Response = true }, false},
		{"two questions", plain, host, dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, false},
		{"another type", plain, host, dns.TypeMX, nil, false},
		{"an explanation", plain, "_why." + host, dns.TypeA, nil, false},
		{"an escaped name", plain, `web\-0\..nginx.default.svc.cluster.local.`, dns.TypeA, nil, false},
		{"a service with a cluster IP", plain, "vip.default.svc.cluster.local.", dns.TypeA, nil, false},
		{"a missing service", plain, "no.default.svc.cluster.local.", dns.TypeA, nil, false},
		{"another zone", plain, "example.org.", dns.TypeA, nil, false},
		{"a service in the longest zone", long, "s.n.svc." + longZone, dns.TypeA, nil, true},
		{"no data in the longest zone", long, "s.n.svc." + longZone, dns.TypeAAAA, nil, false},
		{"no data in the longest zone, with room", long, "s.n.svc." + longZone, dns.TypeAAAA, withOPT, false},
		{"a host, with fallthrough", fallsThrough, host, dns.TypeA, nil, true},
		{"a missing host, with fallthrough", fallsThrough, missing, dns.TypeA, nil, false},
		{"a missing host, which may be above a zone", nested, missing, dns.TypeA, nil, false},
		{"a missing host in a zone that does not fall through", fallsElsewhere, missing, dns.TypeA, nil, true},
		{"a missing host in a zone with none below", nested, "x.dual.default.svc.a.b.cluster.local.", dns.TypeA, nil, true},
		{"a host before the first sync", unsynced, host, dns.TypeA, nil, false},
		{"a host from a snapshot", stale, host, dns.TypeA, withOPT, true},
		{"a missing host from a snapshot", stale, missing, dns.TypeA, nil, true},
		{"a missing host from a snapshot, explained", stale, missing, dns.TypeA, withOPT, false},
	} {
		m := new(dns.Msg).SetQuestion(tc.name, tc.rrtype)
		if tc.change != nil {
			tc.change(m)
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := newBothWays(t, tc.h, 0).compare(t, wire, false); got != tc.want {
			t.Errorf("%s: the fast path answers: %t, want %t", tc.what, got, tc.want)
		}
	}
}

// TestFastPathCounts compares what the prometheus plugin would count.
func TestFastPathCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, b := range fastWays(t)[:9] {
		f := b.fast.plugins[0]
		for _, name := range b.names() {
			wire := randomQuery(r, name)
			if wire == nil || !b.compare(t, wire, false) {
				continue
			}
			q := &b.fast.query
			reply := f.begin(q, make([]byte, 0, maxUDP))
			if !f.fill(q, &reply) {
				t.Fatalf("%s: not answered the second time", name)
			}
			got := countedReply{len(q.message), reply.counted(), reply.rcode}
			if got != *b.counted {
				t.Fatalf("%s: the fast path counts %+v, the chain %+v", name, got, *b.counted)
			}
		}
	}
}

// TestFastPathShuffles checks that with loadbalance before the plugin the records are the same in
// another order, and that each order of three addresses is as likely.
func TestFastPathShuffles(t *testing.T) {
	var _ plugin.Handler = loadbalance.LoadBalance{} // whose round_robin is what the fast path does
	sorted := func(rrs []dns.RR) []string {
		var out []string
		for _, rr := range rrs {
			out = append(out, rr.String())
		}
		slices.Sort(out)
		return out
	}
	others := 0
	for _, b := range fastWays(t) {
		b.h.randomStart = func() uint64 { return 7 }
		for _, name := range b.names() {
			for _, rrtype := range []uint16{dns.TypeA, dns.TypeSRV} {
				for _, size := range []uint16{512, 1232, 4096} {
					wire, err := new(dns.Msg).SetQuestion(name, rrtype).SetEdns0(size, false).Pack()
					if err != nil {
						t.Fatal(err)
					}
					b.fast.plugins[0].packer.Shuffle = false
					straight := b.fast.Answer(wire, make([]byte, 0, maxUDP), false, time.Now())
					b.fast.plugins[0].packer.Shuffle = true
					shuffled := b.fast.Answer(wire, make([]byte, 0, maxUDP), false, time.Now())
					if len(straight) != len(shuffled) {
						t.Fatalf("%s: %d bytes, shuffled %d", name, len(straight), len(shuffled))
					}
					if straight == nil {
						continue
					}
					if !bytes.Equal(straight, shuffled) {
						others++
					}
					x, y := new(dns.Msg), new(dns.Msg)
					if err := x.Unpack(straight); err != nil {
						t.Fatal(err)
					}
					if err := y.Unpack(shuffled); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					for _, s := range [][2][]dns.RR{{x.Answer, y.Answer}, {x.Ns, y.Ns}, {x.Extra, y.Extra}} {
						if !slices.Equal(sorted(s[0]), sorted(s[1])) {
							t.Fatalf("%s: %v\nshuffled %v", name, s[0], s[1])
						}
					}
				}
			}
		}
	}
	if others == 0 {
		t.Error("no reply is in another order")
	}
	b := newBothWays(t, startTestHeadless(t, manyPods(t, 3)), 0)
	b.fast.plugins[0].packer.Shuffle = true
	wire, _ := new(dns.Msg).SetQuestion("big.default.svc.cluster.local.", dns.TypeA).Pack()
	const rounds = 60_000
	orders := map[string]int{}
	for range rounds {
		reply := b.fast.Answer(wire, make([]byte, 0, maxUDP), false, time.Now())
		orders[string(reply[len(wire):])]++
	}
	if len(orders) != 6 {
		t.Errorf("three addresses have %d orders, want 6", len(orders))
	}
	for _, n := range orders { // 10,000, with a standard deviation of 91
		if n < rounds/6-600 || n > rounds/6+600 {
			t.Errorf("an order of six comes %d times of %d", n, rounds)
		}
	}
}

// TestFastPathBudget: no answer allocates, but for an address, whose names are looked up.
func TestFastPathBudget(t *testing.T) {
	b := newBothWays(t, startTestHeadless(t, manyPods(t, 1000)), 0)
	buf := make([]byte, 0, maxUDP)
	b.fast.plugins[0].metrics = newFastMetrics("dns://:53", []plugin.Handler{zoneNames{}, b.h})
	for _, shuffle := range []bool{false, true} {
		b.fast.plugins[0].packer.Shuffle = shuffle
		for _, q := range []struct {
			name   string
			rrtype uint16
		}{
			{"big-5.big.default.svc.cluster.local.", dns.TypeA}, {"BIG-5.big.default.svc.cluster.local.", dns.TypeA}, {"big.default.svc.cluster.local.", dns.TypeA},
			{"nope.big.default.svc.cluster.local.", dns.TypeA}, {"_web._tcp.big.default.svc.cluster.local.", dns.TypeSRV}, {"big.default.svc.cluster.local.", dns.TypeSRV},
			{"big-5.big.default.svc.cluster.local.", dns.TypeAAAA}, {"big-5.big.default.svc.cluster.local.", dns.TypePTR},
		} {
			for _, size := range []uint16{0, 1232, 4096} {
				m := new(dns.Msg).SetQuestion(q.name, q.rrtype)
				if size > 0 {
					m.SetEdns0(size, true)
				}
				wire, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				now := time.Now()
				once := func() {
					if b.fast.Answer(wire, buf, false, now) == nil {
						t.Fatalf("%s: not answered", q.name)
					}
				}
				n := testing.AllocsPerRun(200, once)
				for try := 0; n > 0 && try < 20; try++ { // the source allocates when it reads its manifests again
					n = testing.AllocsPerRun(200, once)
				}
				if n > 0 {
					t.Errorf("%s %s with %d bytes: %v allocations, want none", q.name, dns.TypeToString[q.rrtype], size, n)
				}
			}
		}
	}
}

// zoneNames stands for the prometheus plugin.
type zoneNames struct{ test.Handler }

func (zoneNames) Name() string        { return "prometheus" }
func (zoneNames) ZoneNames() []string { return []string{"."} }

func BenchmarkFastPath(bench *testing.B) {
	b := newBothWays(bench, startTestHeadless(bench, manyPods(bench, 1000)), 0)
	b.fast.plugins[0].metrics = newFastMetrics("dns://:53", []plugin.Handler{zoneNames{}, b.h})
	buf := make([]byte, 0, maxUDP)
	for _, q := range []struct {
		what, name string
		rrtype     uint16
	}{
		{"pod-A", "big-5.big.default.svc.cluster.local.", dns.TypeA}, {"service-A", "big.default.svc.cluster.local.", dns.TypeA},
		{"missing", "nope.big.default.svc.cluster.local.", dns.TypeA}, {"port-SRV", "_web._tcp.big.default.svc.cluster.local.", dns.TypeSRV},
		{"other", "www.example.org.", dns.TypeA},
	} {
		for _, size := range []uint16{1232, 4096} {
			wire, _ := new(dns.Msg).SetQuestion(q.name, q.rrtype).SetEdns0(size, false).Pack()
			bench.Run(fmt.Sprintf("%s/%d", q.what, size), func(bench *testing.B) {
				now := time.Now()
				bench.ReportAllocs()
				for bench.Loop() {
					b.fast.Answer(wire, buf, false, now)
				}
			})
		}
	}
}
