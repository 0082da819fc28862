package records_test

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// Publish a service of two pods, one of them not ready, and look up its port.
func Example() {
	trie := records.New()
	nginx := records.ServiceKey{Namespace: "default", Name: "nginx"}
	web := records.NewPortList([]records.Port{{Name: "web", Protocol: "tcp", Number: 80}})

	update := trie.Update()
	update.Create(nginx)
	update.Add(nginx, records.Endpoint{Host: "web-0", Hostname: true, Addr: netip.MustParseAddr("10.244.1.5"), Ports: web})
	update.Add(nginx, records.Endpoint{Host: "web-1", Hostname: true, Addr: netip.MustParseAddr("10.244.1.6"), Ports: web, Withheld: records.NotReady})
	update.Commit()

	zones := records.NewZones([]string{"cluster.local."})
	const qname = "_web._tcp.nginx.default.svc.cluster.local."
	var name records.Name
	name.Fold(qname)
	if node, result := trie.Find(&name, zones.Match(qname)); result == records.Found {
		answer := node.Answer(&records.Query{Name: qname, Type: dns.TypeSRV, TTL: 5, Size: 1232})
		fmt.Println(answer.Records[0])
		fmt.Println(answer.Glue[0])
	}
	name.Fold("web-1.nginx.default.svc.cluster.local.")
	if node, result := trie.Find(&name, &zones[0]); result == records.Missing {
		fmt.Println("web-1 is", node.Denial(&name, &zones[0], dns.TypeA).Reason)
	}
	// Output:
	// _web._tcp.nginx.default.svc.cluster.local.	5	IN	SRV	0 100 80 web-0.nginx.default.svc.cluster.local.
	// web-0.nginx.default.svc.cluster.local.	5	IN	A	10.244.1.5
	// web-1 is not ready
}
