package records

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

var benchSizes = []int{1, 100, 10_000}

func BenchmarkFind(b *testing.B) {
	for _, n := range benchSizes {
		trie := podTrie(n)
		zones := NewZones([]string{"cluster.local.", "in-addr.arpa.", "ip6.arpa."})
		for what, name := range map[string]string{
			"host":         fmt.Sprintf("web-%d.nginx.default.svc.cluster.local.", n/2),
			"case":         fmt.Sprintf("WEB-%d.nginx.default.SVC.cluster.local.", n/2),
			"no-host":      "web-x.nginx.default.svc.cluster.local.",
			"no-service":   "kubernetes.default.svc.cluster.local.",
			"another-zone": "www.example.org.",
		} {
			b.Run(fmt.Sprintf("%s/n=%d", what, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if zone := zones.Match(name); zone != nil {
						var folded Name
						folded.Fold(name)
						trie.Find(&folded, zone)
					}
				}
			})
		}
	}
}

func BenchmarkFindAddr(b *testing.B) {
	for _, n := range benchSizes {
		trie := podTrie(n)
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				trie.FindAddr(ipv4(n / 2))
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, n := range benchSizes {
		trie := podTrie(n)
		for _, test := range []struct {
			what, name string
			rrtype     uint16
		}{
			{"host-A", fmt.Sprintf("web-%d.nginx.default.svc.cluster.local.", n/2), dns.TypeA},
			{"service-A", "nginx.default.svc.cluster.local.", dns.TypeA},
			{"service-SRV", "_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV},
		} {
			for transport, size := range map[string]int{"udp": 1232, "tcp": dns.MaxMsgSize} {
				b.Run(fmt.Sprintf("%s/%s/n=%d", test.what, transport, n), func(b *testing.B) {
					b.ReportAllocs()
					var name Name
					name.Fold(test.name)
					for i := uint64(0); b.Loop(); i++ {
						node, _ := trie.Find(&name, clusterLocal)
						node.Answer(&Query{Name: test.name, Type: test.rrtype, TTL: 5, Size: size, Start: i})
					}
				})
			}
		}
	}
}

// BenchmarkUpdate measures one pod that becomes unready and ready again.
// BenchmarkZonal measures names of topology zones: of services of n pods in 3 zones, and of as many
// in 63; and the change of one pod.
func BenchmarkZonal(b *testing.B) {
	for _, n := range benchSizes {
		for _, zones := range []int{3, maxZones} {
			trie := zonedTrie(n, zones)
			for _, test := range []struct {
				what, name string
				rrtype     uint16
			}{
				{"service-A", "nginx.default.svc.cluster.local.", dns.TypeA},
				{"zone-A", "zone-1.pin._zone.nginx.default.svc.cluster.local.", dns.TypeA},
				{"zone-SRV", "_web._tcp.zone-1.prefer._zone.nginx.default.svc.cluster.local.", dns.TypeSRV},
				{"host-SRV", "web-1.nginx.default.svc.cluster.local.", dns.TypeSRV},
			} {
				b.Run(fmt.Sprintf("%s/zones=%d/n=%d", test.what, zones, n), func(b *testing.B) {
					b.ReportAllocs()
					var name Name
					name.Fold(test.name)
					for i := uint64(0); b.Loop(); i++ {
						node, _ := trie.Find(&name, clusterLocal)
						node.Answer(&Query{Name: test.name, Type: test.rrtype, TTL: 5, Size: 512, Start: i})
					}
				})
			}
			b.Run(fmt.Sprintf("change/zones=%d/n=%d", zones, n), func(b *testing.B) {
				benchmarkChange(b, trie, zonedPod(n/2, zones))
			})
		}
	}
}

// benchmarkChange makes an endpoint of the service nginx unready and ready again.
func benchmarkChange(b *testing.B, trie *Trie, e Endpoint) {
	key := ServiceKey{"default", "nginx"}
	states := [2]Endpoint{e, e}
	states[1].Withheld = NotReady
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		update := trie.Update()
		update.Remove(key, states[i%2])
		update.Add(key, states[(i+1)%2])
		update.Commit()
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			trie := podTrieWith(n, ipv4)
			benchmarkChange(b, trie, Endpoint{Host: fmt.Sprint("web-", n/2), Hostname: true, Addr: ipv4(n / 2), Ports: universePorts[1]})
		})
	}
}

// BenchmarkAddressed measures the change of one pod where hosts have the addresses of pods that
// are not ready: of 10,000 pods with names of their own, and of as many that share one name, which
// a ready pod takes from them and gives back.
func BenchmarkAddressed(b *testing.B) {
	const n = 10_000
	key := ServiceKey{"default", "nginx"}
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			trie := New()
			update := trie.Update()
			update.Create(key)
			pod := func(i int, withheld Reason) Endpoint {
				e := Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: universePorts[1], Withheld: withheld, Addressed: true}
				if shared {
					e.Host = "web-0"
				}
				return e
			}
			for i := range n {
				update.Add(key, pod(i, NotReady))
			}
			update.Commit()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				from, to := NotReady, Ready
				if i%2 == 1 {
					from, to = to, from
				}
				update := trie.Update()
				update.Remove(key, pod(i/2%n, from))
				update.Add(key, pod(i/2%n, to))
				update.Commit()
				i++
			}
		})
	}
}
