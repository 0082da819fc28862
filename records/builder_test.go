package records

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestAnswerFits checks that a reply is at most as large as the query allows, that it is
// complete if the complete one fits, and that it has no room left otherwise. The DNS
// library measures the replies.
func TestAnswerFits(t *testing.T) {
	sizes := []int{100, 512, 1232, 20000, 65535}
	tries := map[string]*Trie{}
	for _, n := range []int{1, 2, 7, 29, 252, 1500} {
		tries[fmt.Sprint(n)] = podTrie(n)
	}
	for _, n := range []int{1, 7, 60, 600} {
		tries[fmt.Sprint(n, " with long lists")] = longListTrie(n)
	}
	for _, n := range []int{1, 7, 29, 252, 1500} {
		tries[fmt.Sprint(n, " in clusters")] = clusterTrie(n, 3)
	}
	for n, trie := range tries {
		start := uint64(12345)
		if strings.Contains(n, "lists") {
			start = 0 // beyond 16 KiB, the length depends on which records come first
		}
		names := []string{
			"nginx.default.svc.cluster.local.", "NginX.default.SVC.cluster.local.",
			"web-0.nginx.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.",
		}
		if trie.clusterset {
			names = []string{"nginx.default.svc.clusterset.local.", "Web-0.c0.NginX.default.svc.clusterset.local.", "_web._tcp.nginx.default.svc.clusterset.local."}
		}
		for _, name := range names {
			for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
				complete, whole := message(t, trie, name, rrtype, 1<<30, 0)
				if whole.Truncated || whole.GlueTruncated {
					t.Fatalf("%s %s of %s is truncated without a limit", name, dns.TypeToString[rrtype], n)
				}
				if len(complete.Answer) == 0 {
					continue // a port has no addresses
				}
				for _, size := range append(sizes, complete.Len()-1, complete.Len()) {
					what := fmt.Sprintf("%s %s of %s in %d", name, dns.TypeToString[rrtype], n, size)
					m, a := message(t, trie, name, rrtype, size, start)
					if len(m.Answer) > 0 && m.Len() > size {
						t.Errorf("%s is a message of %d bytes", what, m.Len())
					}
					// Beyond 16 KiB, the name of a cluster may be a pointer, though it is counted in full.
					inexact := trie.clusterset && rrtype == dns.TypeSRV && size >= maxOffset && complete.Len()+len(".c0")*len(complete.Extra) > size
					if fits := complete.Len() <= size; fits == (a.Truncated || a.GlueTruncated) && (!fits || !inexact) {
						t.Errorf("%s: the complete message has %d bytes, but truncated is %v, of glue %v",
							what, complete.Len(), a.Truncated, a.GlueTruncated)
					}
					if a.Truncated {
						const slack = 100 // bytes; the next record would take more
						if size-m.Len() > slack && len(m.Extra) == 0 {
							t.Errorf("%s leaves %d bytes free", what, size-m.Len())
						}
					}
				}
			}
		}
	}
}

// TestAnswerIsCallers checks that a caller who changes an answer does not change the
// next one.
func TestAnswerIsCallers(t *testing.T) {
	trie := podTrie(3)
	const name = "_web._tcp.nginx.default.svc.cluster.local."
	before, _ := message(t, trie, name, dns.TypeSRV, 1232, 0)
	text := before.String()
	for _, rr := range append(before.Answer, before.Extra...) {
		rr.Header().Name, rr.Header().Ttl = "mutated.", 0
		switch rr := rr.(type) {
		case *dns.SRV:
			rr.Target, rr.Weight = "mutated.", 0
		case *dns.A:
			clear(rr.A)
		case *dns.AAAA:
			clear(rr.AAAA)
		}
	}
	_ = append(before.Extra, new(dns.OPT)) // as the server does
	after, _ := message(t, trie, name, dns.TypeSRV, 1232, 0)
	after.Id = before.Id
	if after.String() != text {
		t.Errorf("after a caller changed a reply, the next one is\n%s\nwant\n%s", after, text)
	}
}
