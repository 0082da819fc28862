package records

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// question returns a message with a question, and the size of its name on the wire.
func question(t *testing.T, name string, rrtype uint16) (message []byte, nameSize int) {
	t.Helper()
	m := dns.Msg{Question: []dns.Question{{Name: name, Qtype: rrtype, Qclass: dns.ClassINET}}}
	message, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return message, len(message) - headerSize - questionSize
}

// libraryPacked returns what the DNS library makes of an answer, compressed if it would otherwise
// be larger than maxPlain. The header counts no records.
func libraryPacked(t *testing.T, name string, rrtype uint16, a *Answer, maxPlain int) (message []byte, plain int) {
	t.Helper()
	m := dns.Msg{Question: []dns.Question{{Name: name, Qtype: rrtype, Qclass: dns.ClassINET}}, Answer: a.Records, Extra: a.Glue}
	plain = m.Len()
	m.Compress = plain > maxPlain
	message, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	clear(message[4:headerSize])
	return message, plain
}

// TestPacker compares the Packer with Node.Answer and the DNS library: all names and types of a
// universe, in messages of all sizes, from any start, in any spelling.
func TestPacker(t *testing.T) {
	p := NewPacker()
	p.TTL, p.Zone = 5, "cluster.local."
	packed, left := 0, 0
	for seed := range uint64(90) {
		u := universe{Rand: rand.New(rand.NewPCG(seed, 9)), long: seed%2 == 0, zonal: seed%4 > 1, clusterset: seed >= 60}
		trie, o := u.trie(), oracle{}
		for range 12 {
			randomUpdate(u, trie, o)
		}
		for _, name := range u.names() {
			if u.IntN(3) == 0 {
				name = strings.ToUpper(name)
			}
			var n Name
			n.Fold(name)
			node, result := trie.Find(&n, zoneOf(trie))
			if addr, ok := n.Reverse(); ok {
				node, result = trie.FindAddr(addr)
			}
			if result != Found {
				continue
			}
			for _, rrtype := range allTypes {
				begin, nameSize := question(t, name, rrtype)
				clear(begin[4:headerSize])
				size := len(begin) + u.IntN(900)
				maxPlain, start := size-200+u.IntN(300), u.Uint64()
				if rrtype == dns.TypePTR { // some targets are too long for DNS in this zone
					p.Zone = strings.Repeat(strings.Repeat("z", 63)+".", 3) + strings.Repeat("z", 20+u.IntN(24)) + "."
					size, maxPlain = size+600, size+600
				}
				a := node.Answer(&Query{Name: name, Type: rrtype, Zone: p.Zone, TTL: p.TTL, Size: size, Start: start})
				want, plain := libraryPacked(t, name, rrtype, &a, maxPlain)
				got, ok := p.Append(slices.Grow(begin, 4096), nameSize, &node, &PackerQuery{Type: rrtype, Size: size, Start: start, MaxPlain: maxPlain})
				if !ok {
					left++
					// In a clusterset, the name of a target may be the end of another one.
					nested := slices.ContainsFunc(a.Records, func(rr dns.RR) bool {
						srv, ok := rr.(*dns.SRV)
						return ok && dns.CountLabel(srv.Target) > dns.CountLabel("host.cluster.nginx.default.svc.clusterset.local.")
					})
					if !nested && rrtype != dns.TypePTR || plain <= maxPlain && node.nameRange == nil {
						t.Fatalf("%s %s of %d bytes, %d plain: not packed", name, dns.TypeToString[rrtype], size, maxPlain)
					}
					continue
				}
				packed++
				if !bytes.Equal(got.Message, want) || got.Plain != plain || got.Answers != len(a.Records) || got.Extra != len(a.Glue) ||
					got.Truncated != a.Truncated || got.GlueTruncated != a.GlueTruncated {
					t.Fatalf("%s %s of %d bytes, %d plain, from %d: got %+v\n% x\nwant %+v\n% x", name, dns.TypeToString[rrtype], size, maxPlain, start, got, got.Message, a, want)
				}
			}
		}
	}
	t.Logf("%d answers are packed, %d left to the DNS library", packed, left)
	if packed < 20*left {
		t.Errorf("%d answers are packed, and %d left to the DNS library, want a twentieth at most", packed, left)
	}
}

// TestPackerNested packs targets whose names are the ends of others, so that a pointer to one may go
// into another one.
func TestPackerNested(t *testing.T) {
	const pairs = 12
	trie, key := NewClusterset(), ServiceKey{"default", "nginx"}
	update := trie.Update()
	update.Create(key)
	for i := range pairs {
		id := fmt.Sprint("c", i)
		update.Add(key, Endpoint{Host: "b", Addr: ipv4(i), Ports: universePorts[1], Zone: id})
		update.Add(key, Endpoint{Host: "a", Addr: ipv4(pairs + i), Ports: universePorts[1], Zone: "b." + id})
	}
	update.Commit()
	var n Name
	n.Fold(clusterBase)
	node, _ := trie.Find(&n, clustersetLocal)
	p := NewPacker()
	p.TTL = 5
	for _, maxPlain := range []int{0, 1 << 16} {
		begin, nameSize := question(t, clusterBase, dns.TypeSRV)
		clear(begin[4:headerSize])
		a := node.Answer(&Query{Name: clusterBase, Type: dns.TypeSRV, TTL: p.TTL, Size: 1 << 14})
		want, _ := libraryPacked(t, clusterBase, dns.TypeSRV, &a, maxPlain)
		got, ok := p.Append(slices.Grow(begin, 1<<14), nameSize, &node, &PackerQuery{Type: dns.TypeSRV, Size: 1 << 14, MaxPlain: maxPlain})
		if ok != (maxPlain > 0) || ok && !bytes.Equal(got.Message, want) || got.Answers != 2*pairs {
			t.Errorf("with %d bytes plain, %d targets are packed: %v", maxPlain, got.Answers, ok)
		}
	}
}

// TestPackerWithoutRoom gives the Packer less memory than the records need. It appends nothing, and
// writes nothing behind the capacity.
func TestPackerWithoutRoom(t *testing.T) {
	trie := podTrie(40)
	p := NewPacker()
	for _, q := range []struct {
		name   string
		rrtype uint16
	}{{"nginx.default.svc.cluster.local.", dns.TypeA}, {"nginx.default.svc.cluster.local.", dns.TypeAAAA}, {"_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV}, {"1.0.0.10.in-addr.arpa.", dns.TypePTR}} {
		var n Name
		n.Fold(q.name)
		node, result := trie.Find(&n, clusterLocal)
		if addr, ok := n.Reverse(); ok {
			node, result = trie.FindAddr(addr)
		}
		if result != Found {
			t.Fatalf("%s is not found", q.name)
		}
		begin, nameSize := question(t, q.name, q.rrtype)
		for _, maxPlain := range []int{0, 1 << 16} {
			query := &PackerQuery{Type: q.rrtype, Size: 4096, MaxPlain: maxPlain}
			all, ok := p.Append(slices.Grow(slices.Clone(begin), 1<<14), nameSize, &node, query)
			if !ok { // names of PTR records that have to be compressed
				continue
			}
			for room := range len(all.Message) - len(begin) + 1 {
				buffer := make([]byte, len(all.Message)+9)
				copy(buffer, begin)
				end := len(begin) + room
				got, ok := p.Append(buffer[:len(begin):end], nameSize, &node, query)
				if want := end == len(all.Message); ok != want || !ok && len(got.Message) != len(begin) || slices.ContainsFunc(buffer[end:], func(b byte) bool { return b != 0 }) {
					t.Fatalf("%s %s with room for %d of %d bytes: packed %t, %d bytes", q.name, dns.TypeToString[q.rrtype], room, len(all.Message)-len(begin), ok, len(got.Message))
				}
			}
		}
	}
}

// TestFoldWire compares FoldWire with Fold, and MatchName with Match.
func TestFoldWire(t *testing.T) {
	zones := NewZones([]string{"cluster.local.", "local.", "b.cluster.local.", "10.in-addr.arpa."})
	all := NewZones([]string{"cluster.local.", "."})
	r := rand.New(rand.NewPCG(1, 1))
	taken := 0
	for i := range 60_000 {
		var labels []string
		for range r.IntN(9) {
			label := []string{"a", "B", "cluster", "local", "LOCAL", "in-addr", "arpa", "10", "_tcp", "-", strings.Repeat("x", 1+r.IntN(63))}[r.IntN(11)]
			if r.IntN(30) == 0 {
				label = []string{`a\.b`, `\000`, "*", "a b", `\\`, `a"`, "é"}[r.IntN(7)]
			}
			labels = append(labels, label)
		}
		if r.IntN(2) == 0 {
			labels = append(labels, "Cluster", "local")
		}
		name := dns.Fqdn(strings.Join(labels, "."))
		buffer := make([]byte, 400)
		size, err := dns.PackDomainName(name, buffer, 0, nil, false)
		if _, ok := dns.IsDomainName(name); err != nil || !ok {
			continue
		}
		var want, got Name
		want.Fold(name)
		n := got.FoldWire(buffer[:size+r.IntN(3)])
		if odd := name == "." || strings.ContainsFunc(name, func(c rune) bool { return c > '~' || strings.ContainsRune("\\*\" ", c) }); odd {
			if n != 0 {
				t.Fatalf("%d: takes %q", i, name)
			}
			continue
		}
		taken++
		if n != size || got.length != want.length || got.labels != want.labels || !bytes.Equal(got.text[:got.length], want.text[:want.length]) {
			t.Fatalf("%q: got %d bytes, %q with %d labels", name, n, got.text[:got.length], got.labels)
		}
		for k := range want.labels {
			if !bytes.Equal(got.Label(k), want.Label(k)) {
				t.Fatalf("%q: label %d is %q", name, k, got.Label(k))
			}
		}
		for _, zs := range []Zones{zones, all} {
			if a, b := zs.MatchName(&got), zs.Match(name); a != b {
				t.Fatalf("%q: in zone %v, want %v", name, a, b)
			}
		}
		for cut := range size {
			if got.FoldWire(buffer[:cut]) != 0 {
				t.Fatalf("%q: takes the first %d of %d bytes", name, cut, size)
			}
		}
	}
	if taken < 30_000 {
		t.Errorf("takes %d names only", taken)
	}
	for _, wire := range []string{"", "\x00", "\xc0\x0c", "\x01a\xc0\x0c", "\x40" + strings.Repeat("a", 64) + "\x00", strings.Repeat("\x3f"+strings.Repeat("a", 63), 4) + "\x00", strings.Repeat("\x01a", 127) + "\x01a\x00"} {
		var n Name
		if got := n.FoldWire([]byte(wire)); got != 0 {
			t.Errorf("takes %q, %d bytes", wire, got)
		}
	}
	longest := strings.Repeat("\x01a", 127) + "\x00"
	var n Name
	if got := n.FoldWire([]byte(longest)); got != 255 || n.Len() != 127 {
		t.Errorf("got %d bytes and %d labels of the longest name, want 255 and 127", got, n.Len())
	}
}

func ExamplePacker() {
	trie := podTrie(1)
	var name Name
	query, _ := new(dns.Msg).SetQuestion("web-0.nginx.default.svc.cluster.local.", dns.TypeA).Pack()
	nameSize := name.FoldWire(query[headerSize:])
	node, _ := trie.Find(&name, clusterLocal)
	p := NewPacker()
	packed, ok := p.Append(slices.Grow(query, 512), nameSize, &node, &PackerQuery{Type: dns.TypeA, Size: 512, MaxPlain: 512})
	fmt.Println(packed.Answers, ok)
	// Output: 1 true
}
