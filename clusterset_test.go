package headless

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"golang.org/x/time/rate"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/records"
)

const clustersetStanza = `headless cluster.local in-addr.arpa ip6.arpa {
	manifests testdata/clusterset.yaml
	multicluster clusterset.local
}`

const soaClusterset = "clusterset.local. 5 IN SOA ns.dns.clusterset.local. hostmaster.clusterset.local. 1 7200 1800 86400 5"

func startClusterset(t testing.TB, stanza string) *Headless {
	t.Helper()
	h := startTestHeadless(t, stanza)
	h.serverAddrs = []netip.Addr{netip.MustParseAddr("10.96.0.53")}
	return h
}

// clustersetCases are those of a stanza without authoritative.
var clustersetCases = []test.Case{
	// Services and ports: of all clusters.
	{Qname: "db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Answer: []dns.RR{
		test.A("db.prod.svc.clusterset.local. 5 IN A 10.1.0.1"),
		test.A("db.prod.svc.clusterset.local. 5 IN A 10.1.0.3"),
		test.A("db.prod.svc.clusterset.local. 5 IN A 10.3.0.1"),
	}},
	{Qname: "DB.prod.svc.Clusterset.local.", Qtype: dns.TypeAAAA, Answer: []dns.RR{test.AAAA("DB.prod.svc.Clusterset.local. 5 IN AAAA fd00:2::1")}},
	{Qname: "_sql._tcp.db.prod.svc.clusterset.local.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{
			test.SRV("_sql._tcp.db.prod.svc.clusterset.local. 5 IN SRV 0 33 5432 10-1-0-3.c1.db.prod.svc.clusterset.local."),
			test.SRV("_sql._tcp.db.prod.svc.clusterset.local. 5 IN SRV 0 33 5432 db-0.c1.db.prod.svc.clusterset.local."),
			test.SRV("_sql._tcp.db.prod.svc.clusterset.local. 5 IN SRV 0 33 5433 db-0.eu.c2.db.prod.svc.clusterset.local."),
		},
		Extra: []dns.RR{
			test.A("10-1-0-3.c1.db.prod.svc.clusterset.local. 5 IN A 10.1.0.3"),
			test.A("db-0.c1.db.prod.svc.clusterset.local. 5 IN A 10.1.0.1"),
			test.AAAA("db-0.eu.c2.db.prod.svc.clusterset.local. 5 IN AAAA fd00:2::1"),
		}},
	{Qname: "_tcp.db.prod.svc.clusterset.local.", Qtype: dns.TypeSRV, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "_none._tcp.db.prod.svc.clusterset.local.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},

	// Hosts, each in its cluster.
	{Qname: "db-0.c1.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("db-0.c1.db.prod.svc.clusterset.local. 5 IN A 10.1.0.1")}},
	{Qname: "db-0.c1.db.prod.svc.clusterset.local.", Qtype: dns.TypeAAAA, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "db-0.EU.c2.db.prod.svc.clusterset.local.", Qtype: dns.TypeAAAA, Answer: []dns.RR{test.AAAA("db-0.EU.c2.db.prod.svc.clusterset.local. 5 IN AAAA fd00:2::1")}},
	{Qname: "db-0.eu.c2.db.prod.svc.clusterset.local.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{test.SRV("db-0.eu.c2.db.prod.svc.clusterset.local. 5 IN SRV 0 100 5433 db-0.eu.c2.db.prod.svc.clusterset.local.")},
		Extra:  []dns.RR{test.AAAA("db-0.eu.c2.db.prod.svc.clusterset.local. 5 IN AAAA fd00:2::1")}},
	{Qname: "db-0.c3.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("db-0.c3.db.prod.svc.clusterset.local. 5 IN A 10.3.0.1")}},
	{Qname: "db-1.c1.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "db-0.c9.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "db-0.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "sql.tcp.db.prod.svc.clusterset.local.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},

	// Clusters have names without records.
	{Qname: "c1.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "c2.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "eu.c2.db.prod.svc.clusterset.local.", Qtype: dns.TypeSRV, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "c9.db.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},

	// An import without a ready endpoint, and slices that no headless import has.
	{Qname: "idle.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},
	{Qname: "vip.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "vip-0.c1.vip.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "lone.lone.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "derived.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "clusterset.local.", Qtype: dns.TypeSOA, Rcode: rcodeNext},
	{Qname: "dns-version.clusterset.local.", Qtype: dns.TypeTXT, Rcode: rcodeNext},

	// The cluster's own zone has nothing of imports, nor have reverse names.
	{Qname: "db.prod.svc.cluster.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("db.prod.svc.cluster.local. 5 IN A 10.4.0.1")}},
	{Qname: "db-9.db.prod.svc.cluster.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("db-9.db.prod.svc.cluster.local. 5 IN A 10.4.0.1")}},
	{Qname: "db-0.c1.db.prod.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "derived.prod.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "1.0.4.10.in-addr.arpa.", Qtype: dns.TypePTR, Answer: []dns.RR{test.PTR("1.0.4.10.in-addr.arpa. 5 IN PTR db-9.db.prod.svc.cluster.local.")}},
	{Qname: "1.0.1.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: rcodeNext},
	{Qname: "1.0.3.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: rcodeNext},
	{Qname: "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR, Rcode: rcodeNext},
}

// TestClusterset asks for names of a clusterset zone, whether or not it is among the plugin's zones,
// and over a fast path, too.
func TestClusterset(t *testing.T) {
	for _, stanza := range []string{clustersetStanza, strings.Replace(clustersetStanza, "cluster.local", "clusterset.local cluster.local", 1)} {
		checkCases(t, startClusterset(t, stanza), clustersetCases)
	}
}

// TestClustersetAuthority asks for the names that only an authoritative plugin has.
func TestClustersetAuthority(t *testing.T) {
	h := startClusterset(t, strings.Replace(clustersetStanza, "{", "{\nauthoritative", 1))
	cases := slices.DeleteFunc(slices.Clone(clustersetCases), func(tc test.Case) bool { return tc.Rcode == rcodeNext })
	checkCases(t, h, append(cases,
		test.Case{Qname: "clusterset.local.", Qtype: dns.TypeSOA, Answer: []dns.RR{test.SOA(soaClusterset)}},
		test.Case{Qname: "clusterset.local.", Qtype: dns.TypeNS, Answer: []dns.RR{test.NS("clusterset.local. 5 IN NS ns.dns.clusterset.local.")},
			Extra: []dns.RR{test.A("ns.dns.clusterset.local. 5 IN A 10.96.0.53")}},
		test.Case{Qname: "dns-version.clusterset.local.", Qtype: dns.TypeTXT, Answer: []dns.RR{test.TXT(`dns-version.clusterset.local. 28800 IN TXT "1.0.0"`)}},
		test.Case{Qname: "dns-version.cluster.local.", Qtype: dns.TypeTXT, Answer: []dns.RR{test.TXT(`dns-version.cluster.local. 28800 IN TXT "1.1.0"`)}},
		test.Case{Qname: "svc.clusterset.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaClusterset)}},
		test.Case{Qname: "prod.svc.clusterset.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaClusterset)}},
		test.Case{Qname: "lone.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},
		test.Case{Qname: "vip.prod.svc.clusterset.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaClusterset)}},
		test.Case{Qname: "1.0.1.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA("in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1 7200 1800 86400 5")}},
	))
	// The names of the records of a transfer are those that a query gets; each of the zone and of the imports.
	checkTransfer(t, h, map[string]int{"clusterset.local.": 18})
	for _, rr := range receive(t, h, "clusterset.local.", 0) {
		if rr.Header().Rrtype == dns.TypePTR || !dns.IsSubDomain("clusterset.local.", rr.Header().Name) {
			t.Errorf("the transfer has %v", rr)
		}
	}
}

// TestClustersetRoot serves a clusterset zone that has the reverse zones below it.
func TestClustersetRoot(t *testing.T) {
	h := startClusterset(t, "headless cluster.local {\nauthoritative\nmanifests testdata/clusterset.yaml\nmulticluster .\n}")
	for qname, want := range map[string]int{
		"1.0.4.10.in-addr.arpa.": dns.RcodeNameError, "arpa.": dns.RcodeNameError, "10.in-addr.arpa.": dns.RcodeNameError,
		"db-0.c1.db.prod.svc.": dns.RcodeSuccess,
	} {
		if got, _ := ask(t, h, new(dns.Msg).SetQuestion(qname, dns.TypePTR), &test.ResponseWriter{}); got != want {
			t.Errorf("%s: got rcode %d, want %d", qname, got, want)
		}
	}
	for _, rr := range receive(t, h, ".", 0) {
		if rr.Header().Rrtype == dns.TypePTR {
			t.Errorf("the transfer has %v", rr)
		}
	}
}

// TestClustersetChanges changes the slices of an import, and a service. Each change moves the serial of
// its own zone alone, and its secondaries are notified.
func TestClustersetChanges(t *testing.T) {
	r := newRig(t)
	r.api.ServeImports("v1beta1")
	imported := &mcsv1beta1.ServiceImport{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db"}}
	imported.Spec.Type = mcsv1beta1.Headless
	r.api.Put(imported)
	h := newTestHeadless(t, "headless cluster.local {\nauthoritative\nendpoint "+r.api.URL+"\nmulticluster clusterset.local\n}")
	type change struct {
		zone   string
		serial uint32
	}
	notified := make(chan change, 100)
	h.notifier = startNotifier(func(zone string) error {
		notified <- change{zone, h.trieOf(h.zones.Match(zone)).Serial()}
		return nil
	}, h.ownedZones(), h.trieOf)
	h.source.addNotifier(h.notifier)
	h.source.start()
	<-h.source.informer.Synced()
	answer := func(qname string) func() string {
		return func() string {
			_, m := ask(t, h, new(dns.Msg).SetQuestion(qname, dns.TypeA), &test.ResponseWriter{})
			if len(m.Answer) == 0 {
				return dns.RcodeToString[m.Rcode]
			}
			return m.Answer[0].(*dns.A).A.String()
		}
	}
	last := map[string]uint32{} // serials of the latest NOTIFY by zone
	// await waits for an answer, and for a NOTIFY of the zone with its serial. It fails on another
	// NOTIFY without a change.
	await := func(zone, qname, want string) {
		t.Helper()
		await(t, answer(qname), want)
		trie := h.trieOf(h.zones.Match(zone))
		<-time.After(trie.SerialDelay())
		for last[zone] != trie.Serial() {
			next := <-notified
			if next.serial == last[next.zone] {
				t.Fatalf("%s: got a NOTIFY with the serial %d again", next.zone, next.serial)
			}
			last[next.zone] = next.serial
		}
	}
	slice := func(address string) {
		r.api.Put(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db-c1",
				Labels: map[string]string{mcsv1beta1.LabelServiceName: "db", mcsv1beta1.LabelSourceCluster: "c1"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Hostname: ptr.To("db-0")}},
		})
	}
	slice("10.1.0.1")
	await("clusterset.local.", "db-0.c1.db.default.svc.clusterset.local.", "10.1.0.1")
	name, address := r.put()
	await("cluster.local.", name+".nginx.default.svc.cluster.local.", address)
	for _, address := range []string{"10.1.0.2", "10.1.0.3"} {
		slice(address)
		await("clusterset.local.", "db.default.svc.clusterset.local.", address)
	}
	name, address = r.put()
	await("cluster.local.", name+".nginx.default.svc.cluster.local.", address)

	if h.trie.Serial() == h.imports.Serial() {
		t.Fatalf("both zones have the serial %d", h.trie.Serial())
	}
	for zone, trie := range map[string]*records.Trie{"cluster.local.": h.trie, "clusterset.local.": h.imports} {
		_, apex := ask(t, h, new(dns.Msg).SetQuestion(zone, dns.TypeSOA), &test.ResponseWriter{})
		_, denial := ask(t, h, new(dns.Msg).SetQuestion("none."+zone, dns.TypeA), &test.ResponseWriter{})
		for what, rr := range map[string]dns.RR{"apex": apex.Answer[0], "denial": denial.Ns[0], "transfer": receive(t, h, zone, 0)[0]} {
			if got := rr.(*dns.SOA).Serial; got != trie.Serial() {
				t.Errorf("the SOA of %s of %s has the serial %d, want %d", what, zone, got, trie.Serial())
			}
		}
		if rrs := receive(t, h, zone, trie.Serial()); len(rrs) != 1 {
			t.Errorf("%s: a secondary that is up to date gets %d records, want the SOA alone", zone, len(rrs))
		}
	}
}

// TestClustersetExplained checks the explanation of names, their kind, and why they are negative.
func TestClustersetExplained(t *testing.T) {
	h := startClusterset(t, strings.Replace(clustersetStanza, "{", "{\nauthoritative\nzonal", 1))
	h.whyLimiter.SetLimit(rate.Inf)
	h.metadata = true
	const db = "ServiceImport db: 4 of 5 endpoints ready: 2 in c1, 1 in c3, 1 in eu.c2"
	const waits = "endpoint 10.1.0.2 of EndpointSlice db-c1: not ready, with the name db-1.c1.db"
	const form = "not a name of a headless service: such names are SERVICE.NAMESPACE.svc.ZONE, as this zone is of a clusterset, and HOST.CLUSTER and _PORT._PROTOCOL below it"
	for _, tc := range []struct{ name, reasons, metadata string }{
		{"db.prod.svc", db + "\n" + waits, "service prod/db    answer: "},
		{"db-1.c1.db.prod.svc", waits, "endpoint prod/db db-1 c1  nxdomain: pod db-1: not ready"},
		{"db-0.eu.c2.db.prod.svc", "endpoint fd00:2::1 of EndpointSlice db-eu: ready, with the name db-0.eu.c2.db",
			"endpoint prod/db db-0 eu.c2  nodata: pod db-0: no IPv4 address"},
		{"db-7.c1.db.prod.svc", "cluster c1: no endpoint of ServiceImport db there has the hostname db-7\n" + db + "\n" + waits,
			"endpoint prod/db db-7 c1  nxdomain: no pod with hostname db-7 in cluster c1"},
		{"db-0.c9.db.prod.svc", "cluster c9: no endpoint of ServiceImport db there has the hostname db-0\nhostname db-0: it is in cluster c1 and c3 and eu.c2, where its name is db-0.c1.db\n" + db + "\n" + waits,
			"endpoint prod/db db-0 c9  nxdomain: service db in cluster c9: no ready endpoint"},
		{"db-0.db.prod.svc", "cluster db-0: no endpoint of ServiceImport db is there\nhostname db-0: it is in cluster c1 and c3 and eu.c2, where its name is db-0.c1.db\n" + db + "\n" + waits,
			"cluster prod/db  db-0  nxdomain: service db in cluster db-0: no ready endpoint"},
		{"c1.db.prod.svc", "cluster c1: 2 of 3 endpoints of ServiceImport db ready there; the cluster's name has no records, the names of the endpoints are below it\n" + db + "\n" + waits,
			"cluster prod/db  c1  nodata: only names of a cluster's pods below"},
		{"eu.c2.db.prod.svc", "cluster eu.c2: 1 of 1 endpoints of ServiceImport db ready there; the cluster's name has no records, the names of the endpoints are below it\n" + db + "\n" + waits,
			"endpoint prod/db eu c2  nodata: only names of a cluster's pods below"},
		{"_none._tcp.db.prod.svc", "ServiceImport db: its EndpointSlices have no tcp port named none; they have sql (5432/tcp), sql (5433/tcp)\n" + db + "\n" + waits,
			"port prod/db   none/tcp nxdomain: service db: no tcp port named none"},
		{"_tcp.db.prod.svc", "ServiceImport db: only names of ports, such as _sql._tcp, are below _tcp\n" + db + "\n" + waits,
			"port prod/db   /tcp nodata: only names of ports below"},
		{"vip-0.c1.vip.prod.svc", "ServiceImport vip: its type is not Headless, so its endpoints have no names; it is Headless while the exported services have clusterIP: None",
			"endpoint prod/vip vip-0 c1  nxdomain: no headless service vip in namespace prod"},
		{"lone.lone.svc", "lone/lone: no ServiceImport that this server watches; there is one while a cluster exports the service and the implementation of the Multi-Cluster Services API works\nlone/lone: the number of EndpointSlices that wait for the ServiceImport is 1",
			"service lone/lone    nxdomain: no headless service lone in namespace lone"},
		{"_x.db-0.c1.db.prod.svc", "", " /    nxdomain: neither a pod nor a port has such a name"},
		{"us-a.pin._zone.db.prod.svc", "", " /    nxdomain: neither a pod nor a port has such a name"},
		{"prod.svc", form, " /    nodata: "},
	} {
		want := "NOERROR\n" + tc.reasons
		if tc.reasons == "" {
			want = "NXDOMAIN"
		}
		if got := askWhy(t, h, "_why."+tc.name+".clusterset.local. TXT"); got != want {
			t.Errorf("%s: the explanation is\n%s\nwant\n%s", tc.name, got, want)
		}
		_, m := metadataOf(t, h, tc.name+".clusterset.local.", dns.TypeA)
		port := m[metaPortName]
		if m[metaProtocol] != "" {
			port += "/" + m[metaProtocol]
		}
		got := fmt.Sprintf("%s %s/%s %s %s %s %s: %s", m[metaKind], m[metaNamespace], m[metaService], m[metaEndpoint], m[metaCluster], port, m[metaOutcome], m[metaReason])
		if got != tc.metadata {
			t.Errorf("%s: the metadata is %q, want %q", tc.name, got, tc.metadata)
		}
	}
}
