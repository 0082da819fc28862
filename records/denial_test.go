package records

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// TestDenial checks the cause of each kind of negative answer.
func TestDenial(t *testing.T) {
	trie := New()
	trie.EnableZones()
	u := trie.Update()
	nginx, empty, none := ServiceKey{"default", "nginx"}, ServiceKey{"default", "empty"}, ServiceKey{"default", "none"}
	early := ServiceKey{"default", "early"}
	addr := netip.MustParseAddr
	ports := NewPortList([]Port{{"web", "tcp", 80}, {"", "sctp", 81}, {"", "udp", 82}, {"dns", "udp", 53}})
	for _, key := range []ServiceKey{nginx, empty, none, early} {
		u.Create(key)
	}
	u.Add(nginx, Endpoint{Host: "web-0", Hostname: true, Addr: addr("10.244.0.1"), Ports: ports, Zone: "a"})
	u.Add(nginx, Endpoint{Host: "web-6", Hostname: true, Addr: addr("fd00::6"), Zone: "b.c"})
	u.Add(nginx, Endpoint{Host: "10-244-0-9", Addr: addr("10.244.0.9")})
	u.AddStray(nginx, Stray{"web-9", "web"})
	u.AddStray(nginx, Stray{"web-0", "web"}) // another pod has the name
	u.AddStray(nginx, Stray{"web-1", "web"}) // the reason of another pod comes first
	for i, reason := range []Reason{NotReady, NoAddress, Terminating, WrongFamily} {
		u.Add(nginx, Endpoint{Host: fmt.Sprint("web-", i+1), Hostname: true, Withheld: reason})
	}
	u.Add(nginx, Endpoint{Host: "web-1", Hostname: true, Withheld: Terminating})
	for _, reason := range []Reason{WrongFamily, NotReady} { // two pods with one hostname
		u.Add(nginx, Endpoint{Host: "peer", Hostname: true, Withheld: reason})
	}
	u.Add(empty, Endpoint{Host: "web-1", Hostname: true, Withheld: NotReady})
	u.Add(empty, Endpoint{Withheld: NoAddress})
	u.AddStray(none, Stray{"web-1", ""})
	u.Add(early, Endpoint{Host: "web-0", Hostname: true, Addr: addr("10.244.0.20"), Ports: ports, Withheld: NotReady, Addressed: true})
	u.Add(early, Endpoint{Host: "web-1", Hostname: true, Addr: addr("10.244.0.21"), Ports: ports, Withheld: Terminating, Addressed: true})
	u.Commit()
	if got, want := trie.Stats().Endpoints, (Counts{Ready: 3, NotReady: 4, NoAddress: 2, Terminating: 3, WrongFamily: 2}); got != want {
		t.Errorf("the numbers of endpoints are %v, want %v", got, want)
	}

	withheld := func(host string, r Reason) Denial {
		return Denial{Cause: HostWithheld, Host: []byte(host), Reason: r}
	}
	port := func(cause Cause, port, protocol string) Denial {
		return Denial{Cause: cause, Port: []byte(port), Protocol: []byte(protocol)}
	}
	zonal := func(cause Cause, zone, port, protocol string) Denial {
		return Denial{Cause: cause, Zone: []byte(zone), Port: []byte(port), Protocol: []byte(protocol)}
	}
	for _, test := range []struct {
		name   string
		rrtype uint16
		result Result
		want   Denial
	}{
		{"web-1.nginx", dns.TypeA, Missing, withheld("web-1", Terminating)},
		{"WEB-1.nginx", dns.TypeTXT, Missing, withheld("web-1", Terminating)},
		{"web-2.nginx", dns.TypeA, Missing, withheld("web-2", NoAddress)},
		{"web-3.nginx", dns.TypeA, Missing, withheld("web-3", Terminating)},
		{"web-4.nginx", dns.TypeA, Missing, withheld("web-4", WrongFamily)},
		{"peer.nginx", dns.TypeA, Missing, withheld("peer", NotReady)},
		{"web-1.empty", dns.TypeA, Missing, withheld("web-1", NotReady)},
		{"web-9.nginx", dns.TypeA, Missing, Denial{Cause: HostElsewhere, Host: []byte("web-9"), Subdomain: "web"}},
		{"web-1.none", dns.TypeA, Missing, Denial{Cause: HostElsewhere, Host: []byte("web-1")}},
		{"web-5.nginx", dns.TypeA, Missing, Denial{Cause: NoHost, Host: []byte("web-5")}},
		{"web-5.empty", dns.TypeA, Missing, Denial{Cause: NoHost, Host: []byte("web-5")}},
		{"web.nginx", dns.TypeA, Missing, Denial{Cause: NoHost, Host: []byte("web")}},
		{"a.web-0.nginx", dns.TypeA, Missing, Denial{Cause: NoSuchName}},
		{"a._web._tcp.nginx", dns.TypeA, Missing, Denial{Cause: NoSuchName}},
		{"_web.tcp.nginx", dns.TypeSRV, Missing, Denial{Cause: NoSuchName}},
		{"empty", dns.TypeA, Missing, Denial{Cause: NoEndpoint}},
		{"none", dns.TypeSRV, Missing, Denial{Cause: NoEndpoint}},
		{"_web._tcp.empty", dns.TypeSRV, Missing, port(NoEndpoint, "web", "tcp")},
		{"_tcp.none", dns.TypeSRV, Missing, port(NoEndpoint, "", "tcp")},
		{"_http._tcp.nginx", dns.TypeSRV, Missing, port(NoPort, "http", "tcp")},
		{"_web._sctp.nginx", dns.TypeSRV, Missing, port(UnnamedPort, "web", "sctp")},
		{"_dns2._udp.nginx", dns.TypeSRV, Missing, port(UnnamedPort, "dns2", "udp")},
		{"_sctp.nginx", dns.TypeSRV, Missing, port(UnnamedPort, "", "sctp")},
		{"_quic.nginx", dns.TypeSRV, Missing, port(NoPort, "", "quic")},

		{"web-0.nginx", dns.TypeAAAA, Found, Denial{Cause: NoIPv6, Host: []byte("web-0")}},
		{"web-6.nginx", dns.TypeA, Found, Denial{Cause: NoIPv4, Host: []byte("web-6")}},
		{"web-6.nginx", dns.TypeSRV, Found, Denial{Cause: NoTargets, Host: []byte("web-6")}},
		{"web-0.nginx", dns.TypeTXT, Found, Denial{Cause: OtherTypes, Host: []byte("web-0")}},
		{"nginx", dns.TypeMX, Found, Denial{Cause: OtherTypes}},
		{"_web._tcp.nginx", dns.TypeA, Found, port(OnlySRV, "web", "tcp")},
		{"_tcp.nginx", dns.TypeSRV, Found, port(OnlyPorts, "", "tcp")},

		{"_zone.nginx", dns.TypeA, Found, Denial{Cause: OnlyZones}},
		{"pin._zone.nginx", dns.TypeSRV, Found, Denial{Cause: OnlyZones}},
		{"a.pin._zone.nginx", dns.TypeAAAA, Found, zonal(NoIPv6, "a", "", "")},
		{"a.pin._zone.nginx", dns.TypeMX, Found, zonal(OtherTypes, "a", "", "")},
		{"b.c.prefer._zone.nginx", dns.TypeA, Found, zonal(NoIPv4, "b.c", "", "")},
		{"b.c.pin._zone.nginx", dns.TypeSRV, Found, zonal(NoTargets, "b.c", "", "")},
		{"x.y.pin._zone.nginx", dns.TypeA, Found, zonal(NoZone, "x.y", "", "")},
		{"x.pin._zone.nginx", dns.TypeSRV, Found, zonal(NoZone, "x", "", "")},
		{"x.pin._zone.nginx", dns.TypeTXT, Found, zonal(OtherTypes, "x", "", "")},
		{"x.prefer._zone.nginx", dns.TypeTXT, Found, Denial{Cause: OtherTypes}},
		{"_web._tcp.a.pin._zone.nginx", dns.TypeA, Found, zonal(OnlySRV, "a", "web", "tcp")},
		{"_web._tcp.b.c.pin._zone.nginx", dns.TypeA, Found, zonal(OnlySRV, "b.c", "web", "tcp")},
		{"_web._tcp.b.c.pin._zone.nginx", dns.TypeSRV, Found, zonal(NoZone, "b.c", "web", "tcp")},
		{"_web._tcp.b.c.prefer._zone.nginx", dns.TypeA, Found, port(OnlySRV, "web", "tcp")},
		{"_tcp.a.pin._zone.nginx", dns.TypeSRV, Found, zonal(OnlyPorts, "a", "", "tcp")},
		{"_http._tcp.a.pin._zone.nginx", dns.TypeSRV, Missing, port(NoPort, "http", "tcp")},
		{"_sctp.a.prefer._zone.nginx", dns.TypeSRV, Missing, port(UnnamedPort, "", "sctp")},
		{"only._zone.nginx", dns.TypeA, Missing, Denial{Cause: NoSuchName}},
		{"a.only._zone.nginx", dns.TypeA, Missing, Denial{Cause: NoSuchName}},
		{"_web._tcp.pin._zone.nginx", dns.TypeA, Missing, Denial{Cause: NoSuchName}},
		{"a._b.pin._zone.nginx", dns.TypeA, Found, zonal(NoZone, "a._b", "", "")},
		{"_a._b._c.pin._zone.nginx", dns.TypeA, Missing, Denial{Cause: NoSuchName}},
		{"a.pin._zone.empty", dns.TypeA, Missing, Denial{Cause: NoEndpoint}},
		{"_zone.none", dns.TypeA, Missing, Denial{Cause: NoEndpoint}},
		{"a.pin._zone.early", dns.TypeA, Found, zonal(NoZone, "a", "", "")},
		{"a.prefer._zone.early", dns.TypeA, Found, Denial{Cause: NoEndpoint}},

		{"early", dns.TypeA, Found, Denial{Cause: NoEndpoint}},
		{"early", dns.TypeSRV, Found, Denial{Cause: NoEndpoint}},
		{"early", dns.TypeMX, Found, Denial{Cause: OtherTypes}},
		{"web-0.early", dns.TypeSRV, Found, withheld("web-0", NotReady)},
		{"web-0.early", dns.TypeAAAA, Found, Denial{Cause: NoIPv6, Host: []byte("web-0")}},
		{"web-0.early", dns.TypeMX, Found, Denial{Cause: OtherTypes, Host: []byte("web-0")}},
		{"web-1.early", dns.TypeA, Missing, withheld("web-1", Terminating)},
		{"_web._tcp.early", dns.TypeSRV, Missing, port(NoEndpoint, "web", "tcp")},
		{"_tcp.early", dns.TypeSRV, Missing, port(NoEndpoint, "", "tcp")},

		{"other", dns.TypeA, Outside, Denial{Cause: NoService}},
		{"web-0.other", dns.TypeA, Outside, Denial{Cause: NoService}},
	} {
		result, got := denial(trie, test.name+".default.svc.cluster.local.", test.rrtype)
		want := test.want
		switch {
		case want.Cause == NoService:
			want.Namespace, want.Service = []byte("default"), []byte("other")
		case want.Cause != Unexplained:
			want.Service = got.Service
		}
		want.Counts = got.Counts
		if result != test.result || describeDenial(got) != describeDenial(want) {
			t.Errorf("%s %s is %v: %s, want %v: %s", test.name, dns.TypeToString[test.rrtype], result, describeDenial(got), test.result, describeDenial(want))
		}
	}
	if _, d := denial(trie, "web-9.empty.default.svc.cluster.local.", dns.TypeA); string(d.Service) != "empty" || d.Counts != (Counts{NotReady: 1, NoAddress: 1}) {
		t.Errorf("the denial is of service %q with %v", d.Service, d.Counts)
	}
	for _, name := range []string{"default.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "a.b.pod.cluster.local."} {
		if _, d := denial(trie, name, dns.TypeA); d.Cause != Unexplained {
			t.Errorf("%s: %s", name, describeDenial(d))
		}
	}
	if result, d := denial(trie, "1.0.244.10.in-addr.arpa.", dns.TypeA); result != Found || d.Cause != OnlyPTR {
		t.Errorf("the reverse name is %v: %s", result, describeDenial(d))
	}
	if _, d := denial(trie, "2.0.244.10.in-addr.arpa.", dns.TypePTR); d.Cause != Unexplained {
		t.Errorf("the reverse name of no endpoint: %s", describeDenial(d))
	}

	u = trie.Update()
	u.RemoveStray(nginx, Stray{"web-9", "web"})
	u.RemoveStray(nginx, Stray{"web-9", "web"})
	u.RemoveStray(none, Stray{"web-1", "other"})
	u.Commit()
	if _, d := denial(trie, "web-9.nginx.default.svc.cluster.local.", dns.TypeA); d.Cause != NoHost {
		t.Errorf("the denial of a hostname that was removed: %s", describeDenial(d))
	}
	if _, d := denial(trie, "web-1.none.default.svc.cluster.local.", dns.TypeA); d.Cause != HostElsewhere {
		t.Errorf("the denial of a hostname after another was removed: %s", describeDenial(d))
	}
}

func describeDenial(d Denial) string {
	return fmt.Sprintf("cause %d, namespace %q, service %q, host %q, port %q, protocol %q, zone %q, reason %q, subdomain %q, %v",
		d.Cause, d.Namespace, d.Service, d.Host, d.Port, d.Protocol, d.Zone, d.Reason, d.Subdomain, d.Counts)
}

// TestDenialAllocs checks that a denial takes no memory.
func TestDenialAllocs(t *testing.T) {
	trie := New()
	key := ServiceKey{"default", "nginx"}
	u := trie.Update()
	u.Create(key)
	for i := range 1000 {
		u.Add(key, Endpoint{Host: fmt.Sprint("web-", i), Withheld: NotReady})
	}
	u.Commit()
	var name Name
	name.Fold("web-777.nginx.default.svc.cluster.local.")
	if n := testing.AllocsPerRun(100, func() {
		node, _ := trie.Find(&name, clusterLocal)
		if node.Denial(&name, clusterLocal, dns.TypeA).Reason != NotReady {
			t.Fatal("the reason is missing")
		}
	}); n > 0 {
		t.Errorf("a denial takes %v allocations, want none", n)
	}
}
