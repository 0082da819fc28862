package records

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// universeClusters are the clusters of the universe. One may be above another, or above a host, or
// have the name of a host.
var universeClusters = []string{"c1", "eu.c1", "c2", "web-1.c2", "web-7", "x-c1"}

// clusterNames returns names of clusters and of hosts in them, and some that do not exist.
func clusterNames(base string) []string {
	var names []string
	for _, cluster := range append(universeClusters, "eu", "C2", "ap.c1", "web-2.c2", "none", "1", "c", `eu\.c1`, "_c1") {
		names = append(names, cluster+"."+base, "_tcp."+cluster+"."+base, "_web._tcp."+cluster+"."+base)
		for i := range 9 {
			names = append(names, fmt.Sprintf("web-%d.%s.%s", i, cluster, base))
		}
	}
	return names
}

// TestClusterset compares the trie of a clusterset with the oracle after random updates, also with
// labels that collide: lookups, denials and images.
func TestClusterset(t *testing.T) {
	for _, mask := range []uint32{^uint32(0), 1} {
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			setHashMask(t, mask)
			if mask == 1 {
				setPortionSize(t, 1)
			}
			for seed := range uint64(3) {
				u := universe{Rand: rand.New(rand.NewPCG(seed, uint64(mask))), long: seed%2 == 1, zonal: seed > 1, clusterset: true}
				trie, o := u.trie(), oracle{}
				trie.EnableCovers()
				names := u.names()
				for round := range 20 {
					randomUpdate(u, trie, o)
					compare(t, trie, o, names)
					if round%4 < 3 {
						continue
					}
					compareDenials(t, trie, o.ofClusterset(), names)
					compareImage(t, u, trie.Image(), o.ofClusterset(), clustersetLocal)
				}
				if n := len(slices.Collect(trie.v4.load().all)) + len(slices.Collect(trie.v6.load().all)) + trie.addrs.Load().v4.len(); n > 0 {
					t.Errorf("the reverse index has %d names", n)
				}
			}
		})
	}
}

// compareDenials compares the denials of all names that have no records with the oracle, which must
// be that of ofClusterset.
func compareDenials(t *testing.T, trie *Trie, o oracle, names []string) {
	t.Helper()
	for _, name := range names {
		for _, rrtype := range allTypes {
			result, data := o.findIn(trie, name, rrtype)
			if result == Outside || len(data) > 0 {
				continue
			}
			want, ok := o.denyHost(name, rrtype)
			if !ok {
				continue
			}
			if _, got := denial(trie, name, rrtype); got.Cause != want.Cause || string(got.Host) != string(want.Host) ||
				string(got.Cluster) != string(want.Cluster) || got.Reason != want.Reason || got.Subdomain != "" || len(got.Port)+len(got.Protocol) > 0 {
				t.Fatalf("the denial of %s %s is %s, want %s", name, dns.TypeToString[rrtype], describeDenial(got), describeDenial(want))
			}
		}
	}
}

// denyHost returns the denial of a name below a service of a clusterset, or false if the name has the
// form of that of a port.
func (o oracle) denyHost(name string, rrtype uint16) (d Denial, ok bool) {
	labels := dns.SplitDomainName(foldASCII(name))
	n := len(labels) - 5 // labels left of the service
	key := ServiceKey{labels[n+1], labels[n]}
	below := labels[:n]
	port := func(label string) bool { return len(label) > 1 && label[0] == '_' }
	if n == 0 || n <= 2 && !slices.ContainsFunc(below, func(l string) bool { return !port(l) }) {
		return d, false
	}
	full := strings.Join(below, ".")
	of := func(cluster string) func(Endpoint) bool {
		return func(e Endpoint) bool { _, id, _ := strings.Cut(e.Host, "."); return id == cluster }
	}
	at := func(e Endpoint) bool { return e.Host == full }
	named := o.named(key)
	result, _ := o.find(name, dns.TypeMX)
	isHost := slices.ContainsFunc(named, at)
	switch {
	case result == Found && !isHost:
		return Denial{Cause: OnlyClusters, Cluster: []byte(full)}, true
	case result == Missing && n == 1:
		return Denial{Cause: NoCluster, Cluster: []byte(full)}, true
	case result == Missing && slices.ContainsFunc(below, port):
		return Denial{Cause: NoSuchName}, true
	}
	cluster := strings.Join(below[1:], ".")
	d.Host, d.Cluster = []byte(below[0]), []byte(cluster)
	withheld := slices.DeleteFunc(slices.Clone(o[key]), func(e Endpoint) bool { return !at(e) || e.Withheld == Ready })
	switch {
	case isHost && rrtype == dns.TypeA:
		d.Cause = NoIPv4
	case isHost && rrtype == dns.TypeAAAA:
		d.Cause = NoIPv6
	case isHost && rrtype != dns.TypeSRV:
		d.Cause = OtherTypes
	case isHost && slices.ContainsFunc(o.ready(key), at):
		d.Cause = NoTargets
	case isHost:
		d.Cause, d.Reason = HostWithheld, NotReady
	case len(withheld) > 0:
		d.Cause, d.Reason = HostWithheld, reasons
		for _, e := range withheld {
			d.Reason = min(d.Reason, e.Withheld)
		}
	case slices.ContainsFunc(named, of(cluster)):
		d.Cause = NoHost
	default:
		d.Cause = NoCluster
	}
	return d, true
}

// checkClusters checks that a snapshot counts the hosts of each cluster.
func checkClusters(t *testing.T, s *snapshot) {
	t.Helper()
	if s.clusters == nil {
		return
	}
	s.clusters.check(t)
	if s.zones != nil {
		t.Errorf("endpoints of clusters are in the topology zones %q", s.zones.names)
	}
	want := map[cluster]int32{}
	for h := range s.hosts.all {
		want[cluster(h.label[strings.Index(h.label, ".")+1:])]++
	}
	for x := range s.clusters.all {
		if x.refs() != want[x.key] {
			t.Errorf("cluster %s has %d hosts, want %d", x.key, x.refs(), want[x.key])
		}
		delete(want, x.key)
	}
	if len(want) > 0 {
		t.Errorf("the clusters %v are missing", want)
	}
}
