package records

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// podTrie returns a trie with one service of n pods, each with an IPv4 address, an IPv6
// address and a port.
func podTrie(n int) *Trie { return podTrieWith(n, ipv4, ipv6) }

// podTrieWith is podTrie for pods with other addresses.
func podTrieWith(n int, addrs ...func(int) netip.Addr) *Trie {
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		host := fmt.Sprint("web-", i)
		for _, addr := range addrs {
			update.Add(key, Endpoint{Host: host, Hostname: true, Addr: addr(i), Ports: universePorts[1]})
		}
	}
	update.Commit()
	return trie
}

func ipv4(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func ipv6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// portTrie returns a trie with one service of n pods with the ports.
func portTrie(n int, ports *PortList) *Trie {
	trie := New()
	update := trie.Update()
	update.Create(ServiceKey{"default", "nginx"})
	for i := range n {
		update.Add(ServiceKey{"default", "nginx"}, Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: ports})
	}
	update.Commit()
	return trie
}

// zonedTrie returns a trie with one service of n pods in some zones.
func zonedTrie(n, zones int) *Trie {
	trie := New()
	trie.EnableZones()
	update := trie.Update()
	update.Create(ServiceKey{"default", "nginx"})
	for i := range n {
		update.Add(ServiceKey{"default", "nginx"}, zonedPod(i, zones))
	}
	update.Commit()
	return trie
}

// zonedPod returns the i-th pod of zonedTrie.
func zonedPod(i, zones int) Endpoint {
	return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: universePorts[1], Zone: fmt.Sprint("zone-", i%zones)}
}

// clusterTrie returns the trie of a clusterset with one service of n pods in some clusters, each with
// an IPv4 address, an IPv6 address and a port.
func clusterTrie(n, clusters int) *Trie {
	trie := NewClusterset()
	update := trie.Update()
	update.Create(ServiceKey{"default", "nginx"})
	for i := range n {
		e := clusterPod(i, clusters)
		update.Add(ServiceKey{"default", "nginx"}, e)
		e.Addr = ipv6(i)
		update.Add(ServiceKey{"default", "nginx"}, e)
	}
	update.Commit()
	return trie
}

// clusterPod returns the i-th pod of clusterTrie.
func clusterPod(i, clusters int) Endpoint {
	return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: universePorts[1], Zone: fmt.Sprint("c", i%clusters)}
}

// manyPorts returns a list of n ports.
func manyPorts(n int) *PortList {
	ports := make([]Port, n)
	for i := range ports {
		ports[i] = Port{fmt.Sprint("p", i), "tcp", uint16(1 + i)}
	}
	return NewPortList(ports)
}

// longListTrie returns a trie with one service of n hosts. A host has one or both of
// two long lists, which have ports in common, and perhaps a short list.
func longListTrie(n int) *Trie {
	key := ServiceKey{"default", "nginx"}
	lists := [2][]Port{{{"web", "tcp", 80}}, {{"web", "tcp", 8080}, {"web", "tcp", 80}}}
	for k := range lists {
		for i := range maxShortPorts {
			lists[k] = append(lists[k], Port{fmt.Sprint("p", i), "udp", uint16(1000 + i*(1+k))})
		}
	}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		e := Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i)}
		for k, ports := range []*PortList{NewPortList(lists[0]), NewPortList(lists[1]), universePorts[1]} {
			if i%(k+2) == 0 || k == 1 && i%2 == 1 {
				e.Ports = ports
				update.Add(key, e)
			}
		}
	}
	update.Commit()
	return trie
}

// manyNamesTrie returns a trie with n services. Each has a host with the same address.
func manyNamesTrie(n int) *Trie {
	trie := New()
	update := trie.Update()
	for i := range n {
		key := ServiceKey{"default", fmt.Sprint("s-", i)}
		update.Create(key)
		update.Add(key, Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(1)})
	}
	update.Commit()
	return trie
}

// testZones are the zones of the tests.
var testZones = NewZones([]string{"cluster.local."}).WithExternal("example.org.").WithClustersets("clusterset.local.")

var clusterLocal, exampleOrg, clustersetLocal = testZones.Match("cluster.local."), testZones.Match("example.org."), testZones.Match("clusterset.local.")

// zoneOf returns the zone of the names of services in a trie.
func zoneOf(trie *Trie) *Zone {
	if trie.clusterset {
		return clustersetLocal
	}
	return clusterLocal
}

// lookup answers a query as the handler does, for messages of any size.
func lookup(t *Trie, name string, rrtype uint16) (Result, []string, Answer) {
	var n Name
	n.Fold(name)
	var node Node
	var result Result
	if addr, ok := n.Reverse(); ok {
		node, result = t.FindAddr(addr)
	} else if zone := testZones.Match(name); zone != nil {
		node, result = t.Find(&n, zone)
	}
	if result != Found {
		return result, nil, Answer{}
	}
	answer := node.Answer(&Query{Name: name, Type: rrtype, Zone: "cluster.local.", TTL: 5, Size: 1 << 20})
	var data []string
	for _, rr := range answer.Records {
		// A target below the name asked has the spelling of that name.
		data = append(data, strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String())))
	}
	slices.Sort(data)
	return result, data, answer
}

// denial returns why a name has no records of a type.
func denial(trie *Trie, name string, rrtype uint16) (Result, Denial) {
	var n Name
	n.Fold(name)
	if addr, ok := n.Reverse(); ok {
		node, result := trie.FindAddr(addr)
		return result, node.Denial(&n, clusterLocal, rrtype)
	}
	zone := testZones.Match(name)
	if zone == nil {
		return Outside, Denial{}
	}
	node, result := trie.Find(&n, zone)
	return result, node.Denial(&n, zone, rrtype)
}

func lookupAnswer(trie *Trie, name string, rrtype uint16) Answer {
	_, _, a := lookup(trie, name, rrtype)
	return a
}

func lookupRecords(trie *Trie, name string, rrtype uint16) []dns.RR {
	return lookupAnswer(trie, name, rrtype).Records
}

// message returns the largest reply that the handler may build from an answer.
func message(t *testing.T, trie *Trie, name string, rrtype uint16, size int, start uint64) (*dns.Msg, Answer) {
	t.Helper()
	var n Name
	n.Fold(name)
	node, result := trie.Find(&n, zoneOf(trie))
	if result != Found {
		t.Fatalf("the lookup of %s is %v", name, result)
	}
	a := node.Answer(&Query{Name: name, Type: rrtype, TTL: 5, Size: size, Start: start})
	m := new(dns.Msg)
	m.SetQuestion(name, rrtype)
	m.Response, m.Compress = true, true
	m.Answer, m.Extra = a.Records, a.Glue
	return m, a
}

// setHashMask makes labels collide until the end of the test.
func setHashMask(t *testing.T, mask uint32) {
	t.Helper()
	old := hashMask
	hashMask = mask
	t.Cleanup(func() { hashMask = old })
}

// setPortionSize makes portions small until the end of the test.
func setPortionSize(t *testing.T, size int) {
	t.Helper()
	old := portionSize
	portionSize = size
	t.Cleanup(func() { portionSize = old })
}
