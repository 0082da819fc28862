package records

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// TestAddressed follows a host of addressed endpoints, step by step.
func TestAddressed(t *testing.T) {
	const base = "nginx.default.svc.cluster.local."
	nginx := ServiceKey{"default", "nginx"}
	web := NewPortList([]Port{{"web", "tcp", 80}})
	pod := func(i int, withheld Reason) Endpoint {
		return Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(i), Ports: web, Withheld: withheld, Addressed: withheld == NotReady}
	}
	trie := New()
	trie.EnableCovers()
	for _, step := range []struct {
		what        string
		remove, add []Endpoint
		host        []string // addresses of web-0
		service     []string // addresses of the service
		targets     int      // of SRV records of the service, the host and the port
		exists      bool     // the service and the host do
	}{
		{"a pod has an address", nil, []Endpoint{pod(1, NotReady)}, []string{"10.0.0.1"}, nil, 0, true},
		{"another has it", nil, []Endpoint{pod(1, NotReady)}, []string{"10.0.0.1"}, nil, 0, true},
		{"one of them is gone", []Endpoint{pod(1, NotReady)}, nil, []string{"10.0.0.1"}, nil, 0, true},
		{"it is ready", []Endpoint{pod(1, NotReady)}, []Endpoint{pod(1, Ready)}, []string{"10.0.0.1"}, []string{"10.0.0.1"}, 1, true},
		{"a second pod has an address", nil, []Endpoint{pod(2, NotReady)}, []string{"10.0.0.1"}, []string{"10.0.0.1"}, 1, true},
		{"a third has one", nil, []Endpoint{pod(3, NotReady)}, []string{"10.0.0.1"}, []string{"10.0.0.1"}, 1, true},
		{"the first terminates", []Endpoint{pod(1, Ready)}, []Endpoint{pod(1, Terminating)}, []string{"10.0.0.2", "10.0.0.3"}, nil, 0, true},
		{"the third is gone", []Endpoint{pod(3, NotReady)}, nil, []string{"10.0.0.2"}, nil, 0, true},
		{"the second is ready", []Endpoint{pod(2, NotReady)}, []Endpoint{pod(2, Ready)}, []string{"10.0.0.2"}, []string{"10.0.0.2"}, 1, true},
		{"it no longer is", []Endpoint{pod(2, Ready)}, []Endpoint{pod(2, NotReady)}, []string{"10.0.0.2"}, nil, 0, true},
		{"it is replaced", []Endpoint{pod(2, NotReady)}, []Endpoint{pod(4, NotReady)}, []string{"10.0.0.4"}, nil, 0, true},
		{"all are gone", []Endpoint{pod(4, NotReady), pod(1, Terminating)}, nil, nil, nil, 0, false},
	} {
		update := trie.Update()
		update.Create(nginx)
		for _, e := range step.remove {
			update.Remove(nginx, e)
		}
		for _, e := range step.add {
			update.Add(nginx, e)
		}
		update.Commit()

		result := map[bool]Result{false: Missing, true: Found}
		if got := trie.HasNamespace(clusterLocal, []byte("default")); got != step.exists {
			t.Errorf("%s: HasNamespace is %v", step.what, got)
		}
		for _, name := range []string{"", "web-0."} {
			got, addrs, _ := lookup(trie, name+base, dns.TypeA)
			want := map[string][]string{"": step.service, "web-0.": step.host}[name]
			if got != result[step.exists] || !slices.Equal(addrs, want) {
				t.Errorf("%s: %s is %v with %q, want %v with %q", step.what, name+base, got, addrs, result[step.exists], want)
			}
		}
		for name, exists := range map[string]bool{"": step.exists, "web-0.": step.exists, "_tcp.": step.targets > 0, "_web._tcp.": step.targets > 0} {
			got, _, answer := lookup(trie, name+base, dns.TypeSRV)
			targets := step.targets
			if name == "_tcp." {
				targets = 0
			}
			if got != result[exists] || len(answer.Records) != targets {
				t.Errorf("%s: %s is %v with %d targets, want %v with %d", step.what, name+base, got, len(answer.Records), result[exists], targets)
			}
		}
		for i := range 5 {
			reverse, _ := dns.ReverseAddr(ipv4(i).String())
			_, names, _ := lookup(trie, reverse, dns.TypePTR)
			if got, want := len(names) > 0, slices.Contains(step.host, ipv4(i).String()); got != want {
				t.Errorf("%s: %v has the names %q", step.what, ipv4(i), names)
			}
		}
	}
}

// TestAddressedPorts removes a ready endpoint that was never added, and adds another at the same
// address, where the host has an endpoint that is not ready. The ports that are left of that must
// not have SRV records.
func TestAddressedPorts(t *testing.T) {
	nginx := ServiceKey{"default", "nginx"}
	for what, ports := range map[string]*PortList{"short": universePorts[1], "long": manyPorts(maxShortPorts + 1)} {
		trie := New()
		update := trie.Update()
		update.Create(nginx)
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(1), Withheld: NotReady, Addressed: true})
		update.Commit()
		update = trie.Update()
		update.Remove(nginx, Endpoint{Host: "web-0", Addr: ipv4(1)})
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(1), Ports: ports})
		update.Commit()
		for _, name := range []string{"nginx.default.svc.cluster.local.", "web-0.nginx.default.svc.cluster.local."} {
			if _, targets, _ := lookup(trie, name, dns.TypeSRV); len(targets) > 0 {
				t.Errorf("%s list: %s has the targets %q", what, name, targets)
			}
		}
	}
}

// TestAddressedMemory checks that a pod takes at most 8 bytes more than a ready one does where
// it is addressed, and no more than before once it is ready.
func TestAddressedMemory(t *testing.T) {
	const n = 20_000
	heap := func(withheld Reason, addressed bool) float64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&before)
		trie := New()
		for s := range n / 100 {
			key := ServiceKey{"default", fmt.Sprint("nginx-", s)}
			update := trie.Update()
			update.Create(key)
			for i := range 100 {
				update.Add(key, Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(100*s + i), Ports: universePorts[1],
					Withheld: withheld, Addressed: addressed})
			}
			update.Commit()
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(trie)
		return float64(after.HeapAlloc-before.HeapAlloc) / n
	}
	ready, withheld, addressed := heap(Ready, false), heap(NotReady, false), heap(NotReady, true)
	t.Logf("a ready pod takes %.0f bytes, a withheld one %.0f, an addressed one %.0f", ready, withheld, addressed)
	if addressed > ready+8 {
		t.Errorf("an addressed pod takes %.0f bytes, a ready one %.0f", addressed, ready)
	}
}
