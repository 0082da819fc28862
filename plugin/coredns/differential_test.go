package main

import (
	"fmt"
	"io"
	stdlog "log"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/internal/apiserver"
)

// Environment variables: DIFFERENTIAL_CLUSTERS is the number of clusters, and
// DIFFERENTIAL_SEED the seed of the first one. The seeds are consecutive.
const (
	diffDefaultClusters = 1000
	diffDefaultSeed     = 1
	// diffRaceClusters is for the race detector, which takes ten times as long. They fit
	// into one start of the servers, see diffStart.
	diffRaceClusters = 200
	// diffAtOnce is the number of clusters, each a namespace, in one API server.
	diffAtOnce = 250
	// diffRounds is the number of changes of each cluster.
	diffRounds = 1
	// diffLongLists is the key of the count of queries about clusters with long port lists.
	diffLongLists = "with long lists of ports, of all sorts"
	// diffWireEach: the test also queries one in so many clusters over the network.
	diffWireEach = 50
)

func diffSetting(t *testing.T, name string, value uint64) uint64 {
	if text := os.Getenv(name); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q: not a number", name, text)
		}
		return n
	}
	return value
}

// diffRace reports whether the race detector is on.
func diffRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestDifferential compares headless with the kubernetes plugin on random clusters in one
// API server, after the first list and after watched changes. Every difference must be
// one of [diffDeviations], or follow from the options of the server for the cluster.
func TestDifferential(t *testing.T) {
	clusters := uint64(diffDefaultClusters)
	if diffRace() {
		clusters = diffRaceClusters
	}
	clusters = diffSetting(t, "DIFFERENTIAL_CLUSTERS", clusters)
	seed := diffSetting(t, "DIFFERENTIAL_SEED", diffDefaultSeed)
	output := stdlog.Writer()
	stdlog.SetOutput(io.Discard)
	defer stdlog.SetOutput(output)

	answersBefore := fastAnswers(t)
	counts := make(diffCounts)
	for first := uint64(0); first < clusters && !t.Failed(); first += diffAtOnce {
		diffRun(t, seed+first, min(diffAtOnce, clusters-first), counts)
	}
	t.Logf("%d clusters from seed %d on, each in %d states: %v", clusters, seed, 1+diffRounds, counts)
	if owned, fast := counts[diffFastOwned], fastAnswers(t)-answersBefore; fast < owned {
		t.Errorf("the fast path answered %d of %d queries for names of headless, want all", fast, owned)
	}
	// A few clusters have all kinds only from a seed that was tried.
	enough := clusters >= diffDefaultClusters || clusters >= diffRaceClusters && seed == diffDefaultSeed
	if missing := counts.missing(); enough && !t.Failed() && len(missing) > 0 {
		t.Errorf("no query was of these kinds, want some of each: %s", strings.Join(missing, "; "))
	}
}

// diffRun compares n clusters in one API server.
func diffRun(t *testing.T, seed, n uint64, counts diffCounts) {
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	clusters := make([]*diffCluster, n)
	changes := []apiserver.Change{{Object: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "settled"}}}}
	for i := range clusters {
		clusters[i] = diffNewCluster(seed + uint64(i))
		for _, o := range clusters[i].objects() {
			changes = append(changes, apiserver.Change{Object: o})
		}
	}
	api.Apply(changes)

	servers, stop := diffStart(t, api.URL)
	defer stop()

	for round := 0; ; round++ {
		diffCompare(t, round, clusters, servers, counts)
		if round == diffRounds || t.Failed() {
			return
		}
		changes := []apiserver.Change(nil)
		for _, c := range clusters {
			changes = append(changes, c.change()...)
		}
		api.Apply(append(changes, diffSentinel(round)...))
		diffSettle(t, round, servers.all()...)
	}
}

// diffCompare compares the clusters in two goroutines, and some of them also over the
// network.
func diffCompare(t *testing.T, round int, clusters []*diffCluster, servers *diffServers, counts diffCounts) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	transferred := make(map[diffOptions]diffTransfer)
	for o, primary := range servers.primary {
		transferred[o] = primary.transfer(t, diffZones)
	}
	const workers = 2
	for worker := range workers {
		wait.Go(func() {
			sum := make(diffCounts)
			for i := worker; i < len(clusters); i += workers {
				f := clusters[i].facts()
				found := make(diffCounts)
				ours := servers.ours(f.diffCluster).direct
				comparer := &diffComparer{f, ours, servers.theirs(f.diffCluster).direct, found, false}
				err := comparer.compareAll()
				if all := transferred[f.options()]; err == nil && all != nil {
					err = comparer.compareTransfer(all)
				}
				if err == nil && i%diffFastEach == 0 {
					var owned int
					owned, err = f.compareFast(ours, servers.fast[f.options()])
					sum[diffFastOwned] += owned
				}
				sum.add(found)
				for option, on := range map[string]bool{
					"endpoints slices": f.options().slices, "hosts addressed": f.options().addressed, "denial bare": f.options().bare,
					"zonal": f.options().zonal,
				} {
					if on {
						sum.addAs("with "+option+", of all sorts", found)
					}
				}
				lists := f.longLists()
				if lists > 0 {
					sum.addAs(diffLongLists, found)
				}
				if lists > 8 {
					err = fmt.Errorf("a service has %d long port lists, want at most the 8 that headless serves", lists)
				}
				if err != nil {
					t.Errorf("DIFFERENTIAL_CLUSTERS=1 DIFFERENTIAL_SEED=%d, after %d changes: %v\n\nThe objects:\n%s", f.seed, round, err, f)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			counts.add(sum)
		})
	}
	wait.Wait()
	for i := 0; i < len(clusters) && !t.Failed(); i += diffWireEach {
		f := clusters[i].facts()
		for _, network := range []string{"udp", "tcp"} {
			wire := make(diffCounts)
			if err := (&diffComparer{f, servers.ours(f.diffCluster).wire(network), servers.theirs(f.diffCluster).wire(network), wire, network == "udp"}).compareAll(); err != nil {
				t.Errorf("DIFFERENTIAL_CLUSTERS=1 DIFFERENTIAL_SEED=%d, after %d changes, over %s: %v\n\nThe objects:\n%s", f.seed, round, network, err, f)
			}
			counts.addAs("over "+network+", of all sorts", wire)
		}
	}
}

// diffSentinel returns the last changes of a round. A watch delivers events in order: a
// plugin that answers for one object of each kind has seen the round.
func diffSentinel(round int) []apiserver.Change {
	meta := metav1.ObjectMeta{Namespace: "settled", Name: fmt.Sprint("round-", round)}
	svc := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, ClusterIPs: []string{corev1.ClusterIPNone}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		Selector: map[string]string{"round": meta.Name},
		Ports:    []corev1.ServicePort{{Port: 1, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(1)}},
	}}
	pod := &corev1.Pod{ObjectMeta: meta, Status: corev1.PodStatus{
		Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "192.0.2.1"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}}
	pod.Labels = svc.Spec.Selector
	manual := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{
		Addresses: []string{"192.0.2.2"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
	}}}
	manual.Labels = map[string]string{discoveryv1.LabelServiceName: meta.Name}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Labels: map[string]string{diffZoneLabel: meta.Name}}}
	pod.Spec.NodeName = node.Name
	out := []apiserver.Change{{Object: node}, {Object: svc}, {Object: pod}, {Object: manual}}
	for _, s := range diffControlled(diffNewCluster(0).rand, svc, []*corev1.Pod{pod}, []*corev1.Node{node}) {
		out = append(out, apiserver.Change{Object: s})
	}
	// A service without a selector, and a slice that the controller has left.
	left := svc.DeepCopy()
	left.Name, left.Spec.Selector = diffLeft(round), nil
	slice := manual.DeepCopy()
	slice.Name, slice.Labels = left.Name, map[string]string{discoveryv1.LabelServiceName: left.Name, discoveryv1.LabelManagedBy: diffController}
	return append(out, apiserver.Change{Object: left}, apiserver.Change{Object: slice})
}

func diffLeft(round int) string { return fmt.Sprint("left-", round) }

// diffSettle waits until the servers have seen the last changes of a round.
func diffSettle(t *testing.T, round int, servers ...*diffServer) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, s := range servers {
		last := fmt.Sprint("round-", round)
		want := map[string]int{last: 2, diffLeft(round): 1}
		if s.zonal {
			want[last+".pin._zone."+last] = 1
		}
		for service, addresses := range want {
			s.await(t, service+".settled.svc.cluster.local.", addresses, deadline)
		}
	}
}

// await waits until a name has so many addresses.
func (s *diffServer) await(t *testing.T, name string, addresses int, deadline time.Time) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		m, err := s.direct(name, dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[netip.Addr]bool)
		for _, rr := range m.Answer {
			if a, ok := netip.AddrFromSlice(rr.(*dns.A).A.To4()); ok {
				seen[a] = true
			}
		}
		if len(seen) == addresses {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the last change is missing at %s:\n%v", s.plugin, name, m)
		}
		<-tick.C
	}
}
