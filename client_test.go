package headless

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/plugin/autopath"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// clientManifests writes pods, of no service, and returns the path.
func clientManifests(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	pod := func(meta, spec, ips, phase string) {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {%s}\nspec: {%s}\nstatus: {phase: %s, podIPs: [%s]}\n", meta, spec, phase, ips)
	}
	pod(`name: shop-7d4, namespace: team-a, labels: {app: shop, app.kubernetes.io/name: Shop, odd: "a\nb"}`, "", "{ip: 10.0.0.1}, {ip: \"fd00::1\"}", "Running")
	pod("name: plain, namespace: team-b", "nodeName: node-1", "{ip: 10.0.0.2}", "Pending")
	pod("name: proxy, namespace: kube-system", "hostNetwork: true, nodeName: node-1", "{ip: 192.0.2.1}", "Running")
	pod("name: nodelocal, namespace: kube-system, labels: {app: dns}", "hostNetwork: true, nodeName: node-1", "{ip: 192.0.2.1}", "Running")
	pod("name: moved, namespace: team-a, labels: {topology.kubernetes.io/zone: EU-1b}", "nodeName: node-1", "{ip: 10.0.0.6}", "Running")
	b.WriteString("---\napiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: {topology.kubernetes.io/zone: eu-1a}}\n")
	pod("name: one, namespace: team-a", "", "{ip: 10.0.0.3}", "Running")
	pod("name: two, namespace: team-b", "", "{ip: 10.0.0.3}", "Running")
	pod("name: job, namespace: team-a", "", "{ip: 10.0.0.4}", "Succeeded")
	file := filepath.Join(t.TempDir(), "clients.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// queryFrom returns a query from an address.
func queryFrom(address, qname string) request.Request {
	return request.Request{W: &test.ResponseWriter{RemoteIP: address}, Req: new(dns.Msg).SetQuestion(qname, dns.TypeA)}
}

// TestClientMetadata checks the metadata about clients, whatever they ask for.
func TestClientMetadata(t *testing.T) {
	file := clientManifests(t)
	h := startTestHeadless(t, "headless cluster.local {\nzonal\nmanifests "+file+"\n}")
	of := func(h *Headless, address, qname string) map[string]string {
		ctx := h.Metadata(metadata.ContextWithMetadata(context.Background()), queryFrom(address, qname))
		out := make(map[string]string)
		for label, value := range metadata.ValueFuncs(ctx) {
			if strings.HasPrefix(label, "headless/client-") {
				if !metadata.IsLabel(label) {
					t.Errorf("%q is no label of metadata", label)
				}
				out[label] = value()
			}
		}
		return out
	}
	if got := of(h, "10.0.0.1", "example.org."); len(got) > 0 {
		t.Errorf("without an index: got %q", got)
	}
	defer h.source.informer.IndexClients()()
	shop := map[string]string{"headless/client-namespace": "team-a", "headless/client-pod": "shop-7d4", "headless/client-label/app": "shop",
		"headless/client-label/app.kubernetes.io/name": "Shop", "headless/client-label/odd": `a\nb`}
	moved := map[string]string{"headless/client-namespace": "team-a", "headless/client-pod": "moved", "headless/client-node": "node-1",
		"headless/client-zone": "eu-1b", "headless/client-label/topology.kubernetes.io/zone": "EU-1b"}
	for _, tc := range []struct {
		address string
		want    map[string]string
	}{
		{"10.0.0.1", shop},
		{"fd00::1", shop},
		{"10.0.0.2", map[string]string{"headless/client-namespace": "team-b", "headless/client-pod": "plain", "headless/client-node": "node-1", "headless/client-zone": "eu-1a"}},
		{"10.0.0.6", moved},
		{"192.0.2.1", map[string]string{"headless/client-node": "node-1", "headless/client-zone": "eu-1a"}},
		{"10.0.0.3", nil},
		{"10.0.0.4", nil},
		{"10.0.0.5", nil},
	} {
		for _, qname := range []string{"example.org.", "nginx.default.svc.cluster.local."} {
			if got := of(h, tc.address, qname); !maps.Equal(got, tc.want) {
				t.Errorf("%s asks for %s: got %q, want %q", tc.address, qname, got, tc.want)
			}
		}
	}
	plain := startTestHeadless(t, "headless cluster.local {\nmanifests "+file+"\n}")
	defer plain.source.informer.IndexClients()()
	for address, want := range map[string]map[string]string{"10.0.0.6": moved, "192.0.2.1": {"headless/client-node": "node-1"}} {
		if got := of(plain, address, "example.org."); !maps.Equal(got, want) {
			t.Errorf("without zonal, %s: got %q, want %q", address, got, want)
		}
	}
}

// TestAutoPath checks the search paths of clients.
func TestAutoPath(t *testing.T) {
	file := clientManifests(t)
	h := startTestHeadless(t, "headless Cluster.local example.org in-addr.arpa {\nzonal\nexternal example.net\nmulticluster clusterset.local\nmanifests "+file+"\n}")
	const name = "nginx.team-a.svc.cluster.local."
	if got := h.AutoPath(queryFrom("10.0.0.1", name)); got != nil {
		t.Errorf("without an index: got %q", got)
	}
	defer h.source.informer.IndexClients()()
	for _, tc := range []struct {
		address, qname string
		host           []string
		want           []string
	}{
		{"10.0.0.1", name, nil, []string{"team-a.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", ""}},
		{"fd00::1", "x.CLUSTER.local.", []string{"host.example."}, []string{"team-a.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "host.example.", ""}},
		{"10.0.0.2", "x.example.org.", nil, []string{"team-b.svc.example.org.", "svc.example.org.", "example.org.", ""}},
		{"10.0.0.1", "example.com.", nil, nil},
		{"10.0.0.1", "x.example.net.", nil, nil},
		{"10.0.0.1", "x.clusterset.local.", nil, nil},
		{"10.0.0.1", "1.0.0.10.in-addr.arpa.", nil, nil},
		{"192.0.2.1", name, nil, nil},
		{"10.0.0.3", name, nil, nil},
		{"10.0.0.4", name, nil, nil},
		{"10.0.0.5", name, nil, nil},
	} {
		h.search = tc.host
		if got := h.AutoPath(queryFrom(tc.address, tc.qname)); !slices.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("%s asks for %s: got %q, want %q", tc.address, tc.qname, got, tc.want)
		}
	}
	root := startTestHeadless(t, "headless . {\nzonal\nmulticluster clusterset.local\nmanifests "+file+"\n}")
	if got, want := root.AutoPath(queryFrom("10.0.0.1", "x.")), []string{"team-a.svc.", "svc.", ""}; !slices.Equal(got, want) {
		t.Errorf("in the root zone: got %q, want %q", got, want)
	}
	unsynced := newTestHeadless(t, "headless cluster.local {\nendpoint http://127.0.0.1:1\n}")
	defer unsynced.source.informer.IndexClients()()
	if got := unsynced.AutoPath(queryFrom("10.0.0.1", name)); got != nil {
		t.Errorf("before the first sync: got %q", got)
	}
}

// TestReadSearch reads the search path of the server's host.
func TestReadSearch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if got := readSearch(file); got != nil {
		t.Errorf("without a file: got %q", got)
	}
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.53\nsearch Example.org . sub.example.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := readSearch(file), []string{"example.org.", "sub.example."}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestIndexOfClients reloads Corefiles with and without a plugin that asks for clients. The index
// exists while a server block has one, and a reload that adds or removes it keeps the source.
func TestIndexOfClients(t *testing.T) {
	r := newRig(t)
	_, address := r.put()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("search example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	corefile := func(first, second string) caddy.Input {
		return caddy.CaddyfileInput{ServerTypeName: "dns", Filepath: "Corefile", Contents: fmt.Appendf(nil,
			"cluster.local:%[1]s {\nbind 127.0.0.1\n%[3]s\nheadless {\nendpoint %[2]s\n}\n}\ncluster.example:%[1]s {\nbind 127.0.0.1\n%[4]s\nheadless {\nendpoint %[2]s\n}\n}\n",
			r.port, r.api.URL, first, second)}
	}
	indexed := func() bool {
		q := queryFrom(address, "cluster.local.")
		_, ok := livePlugins()[0].client(&q)
		return ok
	}
	var err error
	if r.instance, err = caddy.Start(corefile("", "")); err != nil {
		t.Fatal(err)
	}
	source := livePlugins()[0].source
	if indexed() {
		t.Error("at the start: clients are indexed")
	}
	for _, tc := range []struct {
		first, second string
		want          bool
	}{
		{"", "metadata", true},
		{"metadata", "", true},
		{"metadata", "metadata", true},
		{"", "", false},
		{"autopath @headless", "", true},
		{"autopath @kubernetes", "autopath " + resolv, false},
		{"", "autopath org @headless", true},
		{"", "", false},
	} {
		r.reload(t, corefile(tc.first, tc.second), "")
		if indexed() != tc.want {
			t.Errorf("%q and %q: clients are indexed: %t", tc.first, tc.second, !tc.want)
		}
		checkLive(t, tc.first+tc.second, 1, 2)
		if livePlugins()[0].source != source {
			t.Errorf("%q and %q: another source", tc.first, tc.second)
		}
	}
}

// TestAutopathWithSlices checks the warning about a chain in which autopath completes nothing.
func TestAutopathWithSlices(t *testing.T) {
	r := newRig(t)
	text := cluster.CaptureLog(t)
	corefile := fmt.Sprintf("cluster.local:%s {\nbind 127.0.0.1\nautopath @headless\nlate\nheadless {\nendpoint %s\nendpoints slices\n}\n}\n", r.port, r.api.URL)
	var err error
	if r.instance, err = caddy.Start(caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}); err != nil {
		t.Fatal(err)
	}
	if want := "Corefile:7: endpoints: no pods are watched"; !strings.Contains(text(), want) {
		t.Errorf("got log %q, want %q in it", text(), want)
	}
}
