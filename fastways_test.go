package headless

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/bufsize"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// bothWays answers queries by the fast path, and by the DNS library with CoreDNS's server and a
// chain of plugins.
type bothWays struct {
	h       *Headless
	fast    *fastAnswerer
	server  *dnsserver.Server
	counted *countedReply
}

// countedReply is what a plugin that comes first sees, as prometheus does.
type countedReply struct{ request, reply, rcode int }

// newBothWays serves h behind the bufsize plugin, unless size is 0.
func newBothWays(t testing.TB, h *Headless, size int) *bothWays {
	t.Helper()
	b := &bothWays{h: h, counted: new(countedReply)}
	config := &dnsserver.Config{Zone: ".", ListenHosts: []string{""}, Port: "53", Transport: "dns"}
	if size > 0 {
		config.AddPlugin(func(next plugin.Handler) plugin.Handler { return bufsize.Bufsize{Next: next, Size: size} })
	}
	config.AddPlugin(func(next plugin.Handler) plugin.Handler {
		return plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			rec := dnstest.NewRecorder(w)
			request := r.Len()
			rcode, err := next.ServeDNS(ctx, rec, r)
			*b.counted = countedReply{request, rec.Len, rec.Rcode}
			return rcode, err
		})
	})
	config.AddPlugin(func(plugin.Handler) plugin.Handler { return h })
	var err error
	if b.server, err = dnsserver.NewServer("dns://:53", []*dnsserver.Config{config}); err != nil {
		t.Fatal(err)
	}
	f := newFastPlugin(h, &fastBlock{bufsize: uint16(size)}, "dns://:53")
	b.fast = &fastAnswerer{plugins: []*fastPlugin{f}}
	return b
}

// wireWriter keeps the bytes that the DNS library would send.
type wireWriter struct {
	test.ResponseWriter
	wire []byte
}

func (w *wireWriter) WriteMsg(m *dns.Msg) (err error) {
	w.wire, err = m.Pack()
	return err
}

// chain does what the DNS library's server does with a packet that reaches its handler, and
// returns the reply; nil if there is none.
func (b *bothWays) chain(wire []byte, v6 bool) []byte {
	if len(wire) < headerSize || len(wire) > dns.MinMsgSize {
		return nil
	}
	field := func(i int) uint16 { return uint16(wire[i])<<8 | uint16(wire[i+1]) }
	header := dns.Header{Id: field(0), Bits: field(2), Qdcount: field(4), Ancount: field(6), Nscount: field(8), Arcount: field(10)}
	r := new(dns.Msg)
	if dns.DefaultMsgAcceptFunc(header) != dns.MsgAccept || r.Unpack(wire) != nil {
		return nil
	}
	w := &wireWriter{}
	w.RemoteIP = "10.0.0.1"
	if v6 {
		w.RemoteIP = "fd00::1"
	}
	b.server.ServeDNS(context.Background(), w, r)
	return w.wire
}

// compare answers a packet both ways and reports whether the fast path answered.
func (b *bothWays) compare(t *testing.T, wire []byte, v6 bool) bool {
	t.Helper()
	start := rand.Uint64()
	b.h.randomStart = func() uint64 { return start }
	got := b.fast.Answer(slices.Clone(wire), make([]byte, 0, maxUDP), v6, time.Now())
	if got == nil {
		return false
	}
	want := b.chain(wire, v6)
	if !bytes.Equal(got, want) {
		parsed := func(wire []byte) any {
			m := new(dns.Msg)
			if err := m.Unpack(wire); err != nil {
				return err
			}
			return m
		}
		t.Fatalf("to a query of IPv6=%t from %d:\n%s\n%v\nthe fast path answers %d bytes:\n%v\nthe chain answers %d:\n%v\n%s\n%s",
			v6, start, hex.EncodeToString(wire), parsed(wire), len(got), parsed(got), len(want), parsed(want), hex.EncodeToString(got), hex.EncodeToString(want))
	}
	return true
}

// fillTrie adds services of all sizes and kinds to a trie, which may be that of a clusterset.
func fillTrie(r *rand.Rand, trie *records.Trie) *records.Trie {
	update := trie.Update()
	label := func() string {
		n := 1 + r.IntN(12)
		if r.IntN(8) == 0 {
			n = 1 + r.IntN(63)
		}
		return strings.Repeat(string(rune('a'+r.IntN(3))), n)
	}
	for range 1 + r.IntN(4) {
		key := records.ServiceKey{Namespace: label(), Name: label()}
		update.Create(key)
		var ports []records.Port
		most := 4
		if r.IntN(6) == 0 {
			most = 60 // more than a target has of its own
		}
		for range r.IntN(most) {
			p := records.Port{Name: label(), Protocol: []string{"tcp", "udp", "sctp"}[r.IntN(3)], Number: uint16(r.IntN(65536))}
			if r.IntN(4) == 0 {
				p.Name = ""
			}
			ports = append(ports, p)
		}
		list := records.NewPortList(ports)
		hosts := []int{0, 1 + r.IntN(6), 1 + r.IntN(6), 1 + r.IntN(400)}[r.IntN(4)]
		for i := range hosts {
			e := records.Endpoint{Host: fmt.Sprintf("%s-%d", label(), i), Hostname: r.IntN(2) == 0, Ports: list}
			if e.Host = e.Host[max(0, len(e.Host)-63):]; r.IntN(6) == 0 {
				e.Host = "shared"
			}
			e.Zone = []string{"c1", "eu.c1", "c2", label() + "." + label()}[r.IntN(4)]
			if r.IntN(12) == 0 {
				e.Withheld, e.Addressed = records.NotReady, r.IntN(2) == 0
			}
			if r.IntN(40) == 0 {
				e.Withheld = records.WrongFamily
			}
			if r.IntN(4) > 0 {
				e.Addr = netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(i >> 8), byte(i)})
				update.Add(key, e)
			}
			if r.IntN(2) > 0 {
				e.Addr = netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(r.IntN(2)), 14: byte(i >> 8), 15: byte(i)})
				update.Add(key, e)
			}
		}
		update.AddStray(key, records.Stray{Hostname: "stray", Subdomain: "elsewhere"})
	}
	update.Commit()
	return trie
}

// fastWays are handlers with different settings over different names.
func fastWays(t testing.TB) []*bothWays {
	t.Helper()
	const from = "manifests testdata/handler.yaml\n"
	edns.SetSupportedOption(registeredOption)
	var ways []*bothWays
	for i, stanza := range []string{
		overlayStanza,
		nestedStanza,
		manyPods(t, 150),
		manyPods(t, 1000),
		"headless . {\n" + from + "}",
		"headless cluster.local in-addr.arpa ip6.arpa {\n" + from + "authoritative\nexplain off\n}",
		"headless cluster.local in-addr.arpa ip6.arpa {\n" + from + "fallthrough\nttl 3600\n}",
		"headless cluster.local in-addr.arpa ip6.arpa {\n" + from + "denial 7 bare\nhosts addressed\n}",
		"headless cluster.local in-addr.arpa {\n" + from + "denial 0 bare\nexplain off\n}",
		externalStanza,
		clustersetStanza,
		"headless cluster.local {\nmanifests testdata/clusterset.yaml\ndenial 7 bare\nmulticluster . prod.svc.cluster.local\nfallthrough cluster.local\n}",
		"headless cluster.local in-addr.arpa {\nmanifests testdata/external.yaml\nzonal\ndenial 7 bare\nexternal . prod.svc.cluster.local\nfallthrough cluster.local\n}",
		"headless " + strings.Repeat("a", 63) + "." + strings.Repeat("b", 40) + ".example 10.in-addr.arpa {\n" + from + "}",
		"headless " + strings.Repeat(strings.Repeat("a", 61)+".", 3) + "example {\n" + from + "}",
	} {
		ways = append(ways, newBothWays(t, startTestHeadless(t, stanza), []int{0, 0, 512, 1232, 4096}[i%5]))
	}
	for seed := range uint64(24) {
		settings := []string{"", "explain off\n", "denial 9 bare\n", "authoritative\n"}[seed%4]
		if seed%2 == 0 {
			settings += "multicluster clusterset.local\n"
		}
		h := startTestHeadless(t, "headless cluster.local in-addr.arpa ip6.arpa {\n"+from+settings+"}")
		h.trie = fillTrie(rand.New(rand.NewPCG(seed, 1)), records.New())
		if h.imports != nil {
			h.imports = fillTrie(rand.New(rand.NewPCG(seed, 2)), records.NewClusterset())
		}
		ways = append(ways, newBothWays(t, h, []int{0, 0, 700}[seed%3]))
	}
	for _, b := range ways {
		<-time.After(b.h.trie.SerialDelay()) // the serial is constant from then on
	}
	for _, b := range ways {
		if b.h.imports != nil {
			b.h.imports.AdvanceSerial() // another one than that of the other zones
		}
	}
	for _, b := range ways {
		if b.h.imports != nil {
			<-time.After(b.h.imports.SerialDelay())
		}
	}
	return ways
}

// names returns names that exist, and some near them that do not.
func (b *bothWays) names() (names []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if _, ok := dns.IsDomainName(name); ok && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for i := range b.h.zones {
		add(b.h.zones[i].Name)
		if b.h.zones[i].Reverse {
			continue // no service has a name there
		}
		n := 0
		for name := range b.h.trieOf(&b.h.zones[i]).Image().Names(&b.h.zones[i]) {
			if n++; n > 60 && n%17 != 0 {
				continue
			}
			for _, prefix := range []string{"", "nope.", "stray.", "_tcp.", "_nope._tcp.", "_why.", "a.b.c."} {
				add(prefix + name)
			}
			if parent, end := dns.NextLabel(name, 0); !end {
				add(name[parent:])
				add("nope." + name[parent:])
			}
		}
	}
	n := 0
	for addr := range b.h.trie.Image().Addrs() {
		if n++; n > 40 {
			break
		}
		name, _ := dns.ReverseAddr(addr.String())
		add(name)
		add("1." + name)
		parent, _ := dns.NextLabel(name, 0)
		add(name[parent:])
	}
	return append(names, ".", "example.org.", "cluster.local.example.org.", `a\.b.cluster.local.`, `\000.nginx.default.svc.cluster.local.`,
		"svc.cluster.local.", "*.svc.cluster.local.", "no.default.svc.cluster.local.", "9.9.9.10.in-addr.arpa.")
}

// respell returns a name in random letter case (0x20).
func respell(r *rand.Rand, name string) string {
	b := []byte(name)
	for i, c := range b {
		if 'a' <= c && c <= 'z' && r.IntN(2) == 0 {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// otherTypes are types that only the chain answers.
var otherTypes = []uint16{
	dns.TypeANY, dns.TypeTXT, dns.TypeSOA, dns.TypeDS, dns.TypeAXFR, dns.TypeHTTPS, 0, 65535,
}

// randomQuery returns a query for a name as some client might send it, or nil.
func randomQuery(r *rand.Rand, name string) []byte {
	if r.IntN(4) == 0 {
		name = respell(r, name)
	}
	m := new(dns.Msg).SetQuestion(name, records.Types[r.IntN(len(records.Types))])
	if strings.HasSuffix(name, ".arpa.") && r.IntN(3) > 0 {
		m.Question[0].Qtype = dns.TypePTR
	}
	if r.IntN(12) == 0 {
		m.Question[0].Qtype = otherTypes[r.IntN(len(otherTypes))]
	}
	coin := func() bool { return r.IntN(2) == 0 }
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData, m.Authoritative, m.Zero, m.RecursionAvailable = coin(), coin(), coin(), coin(), coin(), coin()
	if r.IntN(3) > 0 {
		sizes := []int{0, 511, 512, 513, 700, 1220, 1221, 1232, 1233, 1400, 1480, 1481, 4095, 4096, 4097, 8192, 16384, 65535, r.IntN(4200), r.IntN(4200)}
		opt := m.SetEdns0(uint16(sizes[r.IntN(len(sizes))]), coin()).IsEdns0()
		opt.Hdr.Ttl |= uint32(r.IntN(1 << 15))
		if r.IntN(12) == 0 {
			opt.Hdr.Ttl |= r.Uint32()
		}
		options := []dns.EDNS0{
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac1d2b3c4d5e"}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE}, &dns.EDNS0_PADDING{Padding: make([]byte, r.IntN(9))},
			&dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_LOCAL{Code: registeredOption, Data: make([]byte, r.IntN(90))},
		}
		for r.IntN(6) == 0 {
			opt.Option = append(opt.Option, options[r.IntN(len(options))])
		}
	}
	if r.IntN(40) == 0 {
		m.Question[0].Qclass = uint16(r.IntN(5)) * 64
	}
	wire, err := m.Pack()
	if err != nil {
		return nil
	}
	if r.IntN(20) == 0 {
		wire[r.IntN(len(wire))] = byte(r.IntN(256))
	}
	if r.IntN(60) == 0 {
		wire = append(wire, make([]byte, r.IntN(20))...)
	}
	if r.IntN(60) == 0 {
		wire = wire[:r.IntN(len(wire))]
	}
	return wire
}
