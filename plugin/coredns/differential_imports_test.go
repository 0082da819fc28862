package main

import (
	"fmt"
	"io"
	stdlog "log"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/internal/apiserver"
)

const (
	diffDefaultClustersets = 40
	// diffRaceClustersets is for the race detector.
	diffRaceClustersets = 30
	// diffImportRounds is the number of changes of each clusterset.
	diffImportRounds = 2
)

// TestDifferentialImports compares headless with a model, and with the kubernetes plugin, on random
// clustersets in one API server, after the first list and after watched changes. Both have the
// option "multicluster". Every difference must be one of [diffImportDeviations]. The environment
// variables are those of [TestDifferential].
func TestDifferentialImports(t *testing.T) {
	clusters := uint64(diffDefaultClustersets)
	if diffRace() {
		clusters = diffRaceClustersets
	}
	clusters = diffSetting(t, "DIFFERENTIAL_CLUSTERS", clusters)
	seed := diffSetting(t, "DIFFERENTIAL_SEED", diffDefaultSeed)
	output := stdlog.Writer()
	stdlog.SetOutput(io.Discard)
	defer stdlog.SetOutput(output)

	counts := make(diffCounts)
	answersBefore := fastAnswers(t)
	for first := uint64(0); first < clusters && !t.Failed(); first += diffAtOnce {
		diffRunImports(t, seed+first, min(diffAtOnce, clusters-first), counts)
	}
	t.Logf("%d clustersets from seed %d on, each in %d states: %v", clusters, seed, 1+diffImportRounds, counts)
	if owned, fast := counts[diffFastOwned], fastAnswers(t)-answersBefore; fast < owned {
		t.Errorf("the fast path answered %d of %d queries for names of headless, want all", fast, owned)
	}
	missing := slices.DeleteFunc(diffImportWanted(), func(kind string) bool { return counts[kind] > 0 })
	if enough := clusters >= diffDefaultClustersets || clusters >= diffRaceClustersets && seed == diffDefaultSeed; enough && !t.Failed() && len(missing) > 0 {
		t.Errorf("no query or change was of these kinds, want some of each: %s", strings.Join(missing, "; "))
	}
}

// diffImportWanted are the counts that must not be zero.
func diffImportWanted() []string {
	out := []string{"agreed", "deviated", diffFastOwned, diffTransferred, diffSerial}
	for _, d := range diffImportDeviations {
		out = append(out, "with deviation: "+d)
	}
	for _, change := range diffChanges {
		out = append(out, "with change: "+change)
	}
	for _, zone := range []string{diffClustersetZone, "cluster.local."} {
		for form, outcomes := range map[string][]string{
			diffFormService: {"answer", "no data", "NXDOMAIN", "passed on"}, diffFormHost: {"answer", "no data", "NXDOMAIN", "passed on"},
			diffFormPort: {"answer", "no data", "NXDOMAIN"}, diffFormProtocol: {"no data", "NXDOMAIN"},
			diffFormCluster: {"NXDOMAIN"}, diffFormDeep: {"NXDOMAIN"}, diffFormOther: {"NXDOMAIN"},
		} {
			if zone == diffClustersetZone && (form == diffFormCluster || form == diffFormDeep) {
				outcomes = append(outcomes, "no data", "answer") // a cluster may have the name of a host, too
			}
			for _, outcome := range outcomes {
				out = append(out, outcome+": "+form+" in "+zone)
			}
		}
	}
	for _, zone := range []string{"in-addr.arpa.", "ip6.arpa."} {
		for _, outcome := range []string{"answer", "no data", "passed on"} {
			out = append(out, outcome+": "+diffFormReverse+" in "+zone)
		}
	}
	return out
}

// diffImportZones are the zones of the kubernetes plugin, and of a zone transfer.
const diffImportZones = "cluster.local clusterset.local in-addr.arpa ip6.arpa"

// diffStartImports starts the plugins.
func diffStartImports(t *testing.T, endpoint string) (started *diffImportServers, stop func()) {
	t.Helper()
	const option = "multicluster clusterset.local\n"
	b := diffBlocks{endpoint: endpoint, byHost: make(map[string]*diffServer)}
	started = &diffImportServers{
		kubernetes: b.add("kubernetes", diffImportZones, option),
		headless: []*diffServer{
			b.add("headless", diffZones, option),
			b.add("headless", diffImportZones, option+"endpoints slices\n"),
		},
		primary: b.add("headless", diffZones, option+"authoritative\n"),
		fast:    b.addFast(t, diffZones, option),
	}
	return started, b.start(t)
}

// diffRunImports compares n clustersets in one API server.
func diffRunImports(t *testing.T, seed, n uint64, counts diffCounts) {
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	api.ServeImports(mcsv1beta1.GroupVersion.Version, "v1alpha1") // kubernetes knows the latter alone
	sets := make([]*diffClusterset, n)
	changes := []apiserver.Change{{Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "settled"}}}}
	for i := range sets {
		sets[i] = diffNewClusterset(seed + uint64(i))
		for _, o := range sets[i].objects() {
			changes = append(changes, apiserver.Change{Object: o})
		}
	}
	api.Apply(changes)
	servers, stop := diffStartImports(t, api.URL)
	defer stop()

	for round := 0; ; round++ {
		diffCheckSerials(t, servers, counts)
		diffCompareImports(t, round, sets, servers, counts)
		if round == diffImportRounds || t.Failed() {
			break
		}
		changes := []apiserver.Change(nil)
		for _, c := range sets {
			changes = append(changes, c.change()...)
		}
		api.Apply(append(changes, diffImportSentinel(round)...))
		diffSettle(t, round, servers.all()...)
		for _, s := range servers.all() {
			s.await(t, fmt.Sprintf("round-%d.settled.svc.clusterset.local.", round), 1, time.Now().Add(time.Minute))
		}
	}
	for _, c := range sets {
		for kind, n := range c.changed {
			counts["with change: "+kind] += n
		}
	}
}

// diffImportSentinel is diffSentinel with the last import and the last slice of an import.
func diffImportSentinel(round int) []apiserver.Change {
	meta := metav1.ObjectMeta{Namespace: "settled", Name: fmt.Sprint("round-", round)}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: meta.Namespace, Name: fmt.Sprint("imported-", round), Labels: map[string]string{diffImportLabel: meta.Name, diffClusterLabel: "c1"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.3"}}},
	}
	last := &mcsv1beta1.ServiceImport{ObjectMeta: meta, Spec: mcsv1beta1.ServiceImportSpec{Type: mcsv1beta1.Headless}}
	return append(diffSentinel(round), apiserver.Change{Object: last}, apiserver.Change{Object: slice})
}

// diffCompareImports compares the clustersets in two goroutines.
func diffCompareImports(t *testing.T, round int, sets []*diffClusterset, servers *diffImportServers, counts diffCounts) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	transfer := servers.primary.transfer(t, diffImportZones)
	const workers = 2
	for worker := range workers {
		wait.Go(func() {
			sum := make(diffCounts)
			for i := worker; i < len(sets); i += workers {
				c := &diffImportComparer{sets[i], sets[i].model(), servers, transfer, sum}
				err := c.compareAll()
				if err == nil && i%diffFastEach == 0 {
					var owned int
					owned, err = diffCompareNames(slices.Sorted(maps.Keys(c.names())), c.isFast, servers.headless[0].direct, servers.fast)
					sum[diffFastOwned] += owned
				}
				if err != nil {
					t.Errorf("DIFFERENTIAL_CLUSTERS=1 DIFFERENTIAL_SEED=%d, after %d changes: %v\n\nThe objects:\n%s", c.seed, round, err, diffManifests(c.objects()[1:]))
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			counts.add(sum)
		})
	}
	wait.Wait()
}

// isFast reports whether the fast path must answer. It leaves large replies to the chain that have
// targets in a cluster with a dotted id.
func (c *diffImportComparer) isFast(name string, reply *dns.Msg) bool {
	const large, labels = 1400, 7 // HOST.CLUSTER.SERVICE.NAMESPACE.svc.clusterset.local
	return diffModel{c.model, 0}.owns(name) && (reply.Len() < large || !slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool {
		srv, ok := rr.(*dns.SRV)
		return ok && dns.CountLabel(srv.Target) > labels
	}))
}

// diffSerial is the key of the count of states in which kubernetes has no serial for the clusterset.
const diffSerial = "with deviation: the serial of a zone is not zero (RFC 1912, section 2.2)"

// diffCheckSerials checks that the zone of the clusterset has a serial.
func diffCheckSerials(t *testing.T, servers *diffImportServers, counts diffCounts) {
	t.Helper()
	const name = "missing.missing.svc." + diffClustersetZone
	for _, s := range []*diffServer{servers.primary, servers.kubernetes} {
		m, err := s.direct(name, dns.TypeA)
		if err != nil || len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA {
			t.Fatalf("%s: %s A: %v, %v; want a denial with an SOA record", s.plugin, name, m, err)
		}
		switch serial := m.Ns[0].(*dns.SOA).Serial; {
		case serial != 0:
		case s == servers.kubernetes:
			counts[diffSerial]++
		default:
			t.Errorf("the serial of %s is 0", diffClustersetZone)
		}
	}
}

// compareNamespace asks the authoritative server for the name of the namespace, which exists while
// a service has a name.
func (c *diffImportComparer) compareNamespace() error {
	for _, zone := range []string{diffClustersetZone, "cluster.local."} {
		want := dns.RcodeNameError
		for service := range c.model.headless {
			if here, _ := (diffModel{c.model, 0}).at(service, nil); strings.HasSuffix(service, "."+zone) && len(here) > 0 {
				want = dns.RcodeSuccess
			}
		}
		r, err := diffAsk(c.servers.primary.direct).reply(c.namespace+".svc."+zone, dns.TypeA)
		if err != nil {
			return err
		}
		if !r.negative(want) {
			return fmt.Errorf("%s.svc.%s: headless replies\n%v\nwant no answer and rcode %d", c.namespace, zone, r.msg, want)
		}
	}
	return nil
}

// compareTransfer compares a transfer with the model.
func (c *diffImportComparer) compareTransfer(names map[string]string) error {
	exact := diffModel{c.model, 0}
	for name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR} {
			var want []diffRR
			if exact.owns(name) {
				want = exact.reply(name, qtype).answer
			}
			if got := diffSection(c.transfer[name][qtype]); !slices.Equal(got, want) {
				return fmt.Errorf("%s %s: the transfer has %+v, want %+v", name, dns.TypeToString[qtype], got, want)
			}
			c.counts[diffTransferred]++
		}
	}
	for name := range c.transfer {
		if names[name] == "" && (strings.HasSuffix(name, "."+c.namespace+".svc."+diffClustersetZone) || c.owns(name)) {
			return fmt.Errorf("%s: the transfer has %v, of no object", name, c.transfer[name])
		}
	}
	return nil
}
