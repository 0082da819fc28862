package records

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// externalName returns the external name of what has a name in the cluster's zone.
func externalName(name string) string {
	return strings.Replace(name, ".svc.cluster.local.", ".example.org.", 1)
}

// inExternal returns what the oracle has at a name of the cluster's zone, as the external zone
// has it: only of the external services.
func (u universe) inExternal(trie *Trie, o oracle, name string, rrtype uint16) (Result, []string) {
	labels := dns.SplitDomainName(foldASCII(name))
	n := len(labels)
	if n < 5 || !u.external[ServiceKey{labels[n-4], labels[n-5]}] {
		return Outside, nil
	}
	result, data := o.findIn(trie, name, rrtype)
	for i := range data {
		data[i] = externalName(data[i])
	}
	return result, data
}

// compareExternal compares all names of the external zone with the oracle.
func compareExternal(t *testing.T, u universe, trie *Trie, o oracle) {
	t.Helper()
	for _, name := range u.names() {
		if !strings.HasSuffix(name, ".svc.cluster.local.") {
			continue
		}
		for _, rrtype := range allTypes {
			result, data, answer := lookup(trie, externalName(name), rrtype)
			want, wantData := u.inExternal(trie, o, name, rrtype)
			if result != want || !slices.Equal(data, wantData) {
				t.Fatalf("the lookup of %s %s is %v with records %q, want %v with %q",
					externalName(name), dns.TypeToString[rrtype], result, data, want, wantData)
			}
			if rrtype == dns.TypeSRV {
				compareGlue(t, trie, externalName(name), answer)
			}
			if result, data, _ := lookup(trie, strings.Replace(name, "cluster.local.", "example.org.", 1), rrtype); result != Outside {
				t.Fatalf("%s has a label \"svc\" in the external zone: %v, %q", name, result, data)
			}
		}
	}
	services, populated := 0, map[string]int64{}
	for key := range u.external {
		if !u.external[key] {
			continue
		}
		services++
		if len(o.named(key)) > 0 {
			populated[key.Namespace]++
		}
	}
	for _, namespace := range []string{"default", "prod", "none"} {
		if got, want := trie.HasNamespace(exampleOrg, []byte(namespace)), populated[namespace] > 0; got != want {
			t.Fatalf("HasNamespace(%s) is %v in the external zone, want %v", namespace, got, want)
		}
	}
	if got, want := trie.external.populated.Load(), populated["default"]+populated["prod"]; got != want {
		t.Fatalf("%d external services are populated, want %d", got, want)
	}
	if got := len(trie.external.image()); got != services {
		t.Fatalf("%d services are external, want %d", got, services)
	}
}

// compareExternalImage compares the external names of an image with the oracle.
func compareExternalImage(t *testing.T, u universe, image *Image) {
	t.Helper()
	var got, want []string
	for name, node := range image.Names(exampleOrg) {
		for _, rrtype := range Types {
			for rrs := range node.All(&Query{Name: name, Type: rrtype}) {
				for _, rr := range rrs {
					got = append(got, rr.String())
				}
			}
		}
	}
	for name, node := range image.Names(clusterLocal) {
		labels := dns.SplitDomainName(name)
		if n := len(labels); !u.external[ServiceKey{labels[n-4], labels[n-5]}] {
			continue
		}
		for _, rrtype := range Types {
			for rrs := range node.All(&Query{Name: name, Type: rrtype}) {
				for _, rr := range rrs {
					want = append(want, strings.ReplaceAll(rr.String(), ".svc.cluster.local.", ".example.org."))
				}
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the external zone of an image has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSetExternal checks which updates make a service external, and that those which change
// nothing publish nothing.
func TestSetExternal(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	web0 := Endpoint{Host: "web-0", Addr: ipv4(1)}
	create := func(u *Update) { u.Create(nginx); u.Add(nginx, web0) }
	set := func(external bool) func(*Update) { return func(u *Update) { u.SetExternal(nginx, external) } }
	remove := func(u *Update) { u.Delete(nginx) }
	trie := New()
	for i, step := range []struct {
		what      string
		calls     []func(*Update)
		published int
		want      Result
	}{
		{"set without a service", []func(*Update){set(true)}, 0, Outside},
		{"create", []func(*Update){create}, 1, Outside},
		{"unset what is not set", []func(*Update){set(false)}, 0, Outside},
		{"set", []func(*Update){set(true)}, 1, Found},
		{"set again", []func(*Update){set(true)}, 0, Found},
		{"unset and set", []func(*Update){set(false), set(true)}, 0, Found},
		{"unset", []func(*Update){set(false)}, 1, Outside},
		{"set and unset", []func(*Update){set(true), set(false)}, 0, Outside},
		{"set once more", []func(*Update){set(true)}, 1, Found},
		{"delete and create", []func(*Update){remove, create}, 1, Outside},
		{"set, delete and create", []func(*Update){set(true), remove, create}, 1, Outside},
		{"delete, set and create", []func(*Update){remove, set(true), create}, 1, Found},
		{"delete", []func(*Update){remove}, 1, Outside},
		{"create without it", []func(*Update){create}, 1, Outside},
		{"delete and set", []func(*Update){remove, set(true)}, 1, Outside},
		{"set before create", []func(*Update){set(true), create}, 1, Found},
		{"unset and delete", []func(*Update){set(false), remove}, 1, Outside},
	} {
		before := trie.serial.last.Swap(0)
		update := trie.Update()
		for _, call := range step.calls {
			call(update)
		}
		n := update.Commit()
		got, _, _ := lookup(trie, "web-0.nginx.default.example.org.", dns.TypeA)
		if n != step.published || got != step.want {
			t.Errorf("step %d, %s: %d services are published and the name is %v, want %d and %v", i, step.what, n, got, step.published, step.want)
		}
		if moved := trie.serial.last.Load() != 0; moved != (step.published > 0) {
			t.Errorf("step %d, %s: the serial moved: %v", i, step.what, moved)
		}
		trie.serial.last.Store(before)
		if got, want := trie.HasNamespace(exampleOrg, []byte("default")), step.want == Found; got != want {
			t.Errorf("step %d, %s: HasNamespace is %v, want %v", i, step.what, got, want)
		}
	}
}

// TestExternalNameServer checks that no service has the name of a zone's name server.
func TestExternalNameServer(t *testing.T) {
	trie := New()
	update := trie.Update()
	for _, key := range []ServiceKey{{"dns", "ns"}, {"ns", "dns"}} {
		update.Create(key)
		update.SetExternal(key, true)
		update.Add(key, Endpoint{Host: "web-0", Addr: ipv4(1)})
	}
	update.Commit()
	for name, want := range map[string]Result{
		"ns.dns.example.org.": Outside, "web-0.ns.dns.example.org.": Outside, "ns.dns.svc.cluster.local.": Found,
		"dns.ns.example.org.": Found,
	} {
		if got, _, _ := lookup(trie, name, dns.TypeA); got != want {
			t.Errorf("the lookup of %s is %v, want %v", name, got, want)
		}
	}
}

// TestExternalDenial checks that a denial takes the labels of its name from the right places.
func TestExternalDenial(t *testing.T) {
	trie := New()
	trie.EnableZones()
	key := ServiceKey{"default", "nginx"}
	update := trie.Update()
	update.Create(key)
	update.SetExternal(key, true)
	update.Create(ServiceKey{"default", "inner"})
	for _, key := range []ServiceKey{key, {"default", "inner"}} {
		update.Add(key, Endpoint{Host: "web-0", Addr: ipv4(1), Ports: universePorts[1], Zone: "a"})
	}
	update.Commit()
	for name, want := range map[string]string{
		"web-0":                 "NoIPv6 default nginx web-0",
		"web-9":                 "NoHost default nginx web-9",
		"_x._tcp":               "NoPort default nginx tcp x",
		"_udp":                  "NoPort default nginx udp",
		"a.b":                   "NoSuchName default nginx",
		"b.pin._zone":           "NoZone default nginx b",
		"_x._tcp.b.pin._zone":   "NoPort default nginx tcp x",
		"a.only._zone":          "NoSuchName default nginx",
		"_web._tcp.c.pin._zone": "OnlySRV default nginx tcp web c",
	} {
		for zone, below := range map[string]string{"cluster.local.": "nginx.default.svc.cluster.local.", "example.org.": "nginx.default.example.org."} {
			_, d := denial(trie, name+"."+below, dns.TypeAAAA)
			names := map[Cause]string{NoIPv6: "NoIPv6", NoHost: "NoHost", NoPort: "NoPort", NoSuchName: "NoSuchName", NoZone: "NoZone", OnlySRV: "OnlySRV"}
			got := strings.Join(strings.Fields(fmt.Sprintf("%s default %s %s %s %s %s", names[d.Cause], d.Service, d.Host, d.Protocol, d.Port, d.Zone)), " ")
			if got != want {
				t.Errorf("%s in %s: the denial is %q, want %q", name, zone, got, want)
			}
		}
	}
	for name, want := range map[string]string{
		"inner.default.example.org.": "default/inner", "web-0.inner.default.example.org.": "default/inner", "inner.default.svc.cluster.local.": "/",
		"x.y.example.org.": "y/x", "y.example.org.": "/", "example.org.": "/", "svc.cluster.local.": "/", "x.svc.cluster.local.": "/", "x.y.svc.cluster.local.": "y/x",
	} {
		if _, d := denial(trie, name, dns.TypeMX); string(d.Namespace)+"/"+string(d.Service) != want && d.Cause != OtherTypes {
			t.Errorf("the denial of %s is of %s/%s, want %s", name, d.Namespace, d.Service, want)
		}
	}
}

// TestExternalEnds reads the external zone while a service leaves it and gets other addresses in
// the same commit. Nobody may see those in the external zone.
func TestExternalEnds(t *testing.T) {
	key := ServiceKey{"default", "nginx"}
	open, secret := Endpoint{Host: "web-0", Addr: ipv4(1)}, Endpoint{Host: "web-0", Addr: netip.MustParseAddr("192.0.2.1")}
	trie := New()
	update := trie.Update()
	update.Create(key)
	update.SetExternal(key, true)
	update.Add(key, open)
	update.Commit()
	var stop atomic.Bool
	var readers sync.WaitGroup
	readers.Go(func() {
		for !stop.Load() {
			if _, data, _ := lookup(trie, "web-0.nginx.default.example.org.", dns.TypeA); slices.Contains(data, "192.0.2.1") {
				t.Error("the external zone has an address that the service got when it left")
				return
			}
		}
	})
	for round := 0; round < 20_000 && !t.Failed(); round++ {
		from, to, external := open, secret, false
		if round%2 == 1 {
			from, to, external = secret, open, true
		}
		update := trie.Update()
		update.Remove(key, from)
		update.Add(key, to)
		update.SetExternal(key, external)
		update.Commit()
	}
	stop.Store(true)
	readers.Wait()
}
