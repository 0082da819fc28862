package headless

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/fall"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		input string
		want  func(*stanza) // changes the default to what is wanted
	}{
		{"headless", func(s *stanza) { s.zones = []string{"example.org."} }},
		{"headless cluster.local", func(*stanza) {}},
		{"headless Cluster.Local. in-addr.arpa ip6.arpa {\n}", func(s *stanza) {
			s.zones = []string{"cluster.local.", "in-addr.arpa.", "ip6.arpa."}
		}},
		{"headless 10.0.0.0/8 192.168.0.0/23 cluster.local fd00::/8", func(s *stanza) {
			s.zones = []string{"10.in-addr.arpa.", "0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa.", "cluster.local.", "d.f.ip6.arpa."}
		}},
		{"headless cluster.local {\nendpoint https://10.0.0.1:6443\ntls cert.pem key.pem ca.pem\n}", func(s *stanza) {
			s.config.Cluster.Endpoint = "https://10.0.0.1:6443"
			s.config.Cluster.Cert, s.config.Cluster.Key, s.config.Cluster.CA = "cert.pem", "key.pem", "ca.pem"
		}},
		{"headless cluster.local {\nkubeconfig admin.conf\n}", func(s *stanza) { s.config.Cluster.Kubeconfig = "admin.conf" }},
		{"headless cluster.local {\nkubeconfig admin.conf prod\n}", func(s *stanza) {
			s.config.Cluster.Kubeconfig, s.config.Cluster.Context = "admin.conf", "prod"
		}},
		{"headless cluster.local {\nmanifests a.yaml /b\n}", func(s *stanza) { s.config.Manifests = []string{"a.yaml", "/b"} }},
		{"headless cluster.local {\nnamespaces default prod\n}", func(s *stanza) { s.config.Namespaces = []string{"default", "prod"} }},
		{"headless cluster.local {\nnamespace_labels dns=headless,env in (prod, test)\n}", func(s *stanza) {
			s.config.NamespaceLabels = "dns=headless,env in (prod, test)"
		}},
		{"headless cluster.local {\nlabels !legacy\n}", func(s *stanza) { s.config.Labels = "!legacy" }},
		{"headless cluster.local {\nendpoints pods\n}", func(*stanza) {}},
		{"headless cluster.local {\nendpoints slices\n}", func(s *stanza) { s.config.Slices = true }},
		{"headless cluster.local {\nendpoint_pod_names\n}", func(s *stanza) { s.config.PodNames = true }},
		{"headless cluster.local {\nauthoritative\n}", func(s *stanza) { s.authoritative = true }},
		{"headless cluster.local {\nsnapshot /var/lib/coredns/headless\n}", func(s *stanza) { s.config.Snapshot = "/var/lib/coredns/headless" }},
		{"headless cluster.local {\nsnapshot file 90s\n}", func(s *stanza) {
			s.config.Snapshot, s.config.SnapshotInterval = "file", 90*time.Second
		}},
		{"headless cluster.local {\nttl 0\n}", func(s *stanza) { s.ttl = 0 }},
		{"headless cluster.local {\nttl 3600\n}", func(s *stanza) { s.ttl = 3600 }},
		{"headless cluster.local {\nstartup_timeout 1m30s\n}", func(s *stanza) { s.startupTimeout = 90 * time.Second }},
		{"headless cluster.local {\nfallthrough\n}", func(s *stanza) { s.fall = fall.Root }},
		{"headless cluster.local {\nfallthrough in-addr.arpa 10.0.0.0/8\n}", func(s *stanza) {
			s.fall = fall.F{Zones: []string{"in-addr.arpa.", "10.in-addr.arpa."}}
		}},
	} {
		c := caddy.NewTestController("dns", test.input)
		c.ServerBlockKeys = []string{"dns://example.org.:53"}
		got, err := parse(c)
		if err != nil {
			t.Errorf("%q: %v", test.input, err)
			continue
		}
		want := &stanza{zones: []string{"cluster.local."}, ttl: 5, startupTimeout: 5 * time.Second}
		want.config.Cluster.UserAgent = got.config.Cluster.UserAgent
		want.config.SnapshotInterval = time.Minute
		test.want(want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, want %+v", test.input, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ input, want string }{
		{"headless in-addr.arpa 10.0.0.0/8", `headless: zones ["in-addr.arpa." "10.in-addr.arpa."]: at least one must not be a reverse zone`},
		{"headless cluster..local", `headless: zone "cluster..local"`},
		{"headless cluster.local\nheadless example.org", "can only be used once per Server Block"},
		{"headless {\nendpoint\n}", `endpoint: []: wants one URL`},
		{"headless {\nendpoint a b\n}", `endpoint: ["a" "b"]: wants one URL`},
		{"headless {\ntls a b\n}", `tls: ["a" "b"]: wants three files`},
		{"headless {\nkubeconfig\n}", "kubeconfig: []: wants a file"},
		{"headless {\nkubeconfig a b c\n}", `kubeconfig: ["a" "b" "c"]: wants a file`},
		{"headless {\nmanifests\n}", "manifests: []: wants at least one file or folder"},
		{"headless {\nnamespaces\n}", "namespaces: []: wants at least one namespace"},
		{"headless {\nnamespaces a Bad_Name\n}", `namespaces: "Bad_Name"`},
		{"headless {\nnamespace_labels\n}", "namespace_labels: []: wants a label selector"},
		{"headless {\nnamespace_labels a in b\n}", `namespace_labels: parse label selector "a in b"`},
		{"headless {\nlabels\n}", "labels: []: wants a label selector"},
		{"headless {\nlabels a=b=c\n}", `labels: parse label selector "a=b=c"`},
		{"headless {\nnamespaces a\nnamespace_labels b\n}", `namespaces: can't be combined with "namespace_labels"`},
		{"headless {\nendpoints\n}", "endpoints: []: wants pods or slices"},
		{"headless {\nendpoints pods slices\n}", `endpoints: ["pods" "slices"]: wants pods or slices`},
		{"headless {\nendpoints Slices\n}", `endpoints: "Slices": neither "pods" nor "slices"`},
		{"headless {\nendpoint_pod_names yes\n}", `endpoint_pod_names: ["yes"]: wants no argument`},
		{"headless {\nauthoritative yes\n}", `authoritative: ["yes"]: wants no argument`},
		{"headless {\nsnapshot\n}", "snapshot: []: wants a file, and perhaps a duration"},
		{"headless {\nsnapshot a 1m b\n}", `snapshot: ["a" "1m" "b"]: wants a file, and perhaps a duration`},
		{"headless {\nsnapshot a soon\n}", `snapshot: "soon": not a duration`},
		{"headless {\nsnapshot a 999ms\n}", `snapshot: "999ms": less than a second`},
		{"headless {\nmanifests a\nsnapshot b\n}", `manifests: no API server is asked, but there is also "snapshot"`},
		{"headless {\nttl\n}", "ttl: []: wants one number of seconds"},
		{"headless {\nttl 5s\n}", `ttl: "5s": not a number of seconds from 0 to 3600`},
		{"headless {\nttl -1\n}", `ttl: "-1": not a number of seconds from 0 to 3600`},
		{"headless {\nttl 3601\n}", `ttl: "3601": not a number of seconds from 0 to 3600`},
		{"headless {\nttl 5 6\n}", `ttl: ["5" "6"]: wants one number of seconds`},
		{"headless {\nttl 5\nttl 6\n}", "ttl: given twice"},
		{"headless {\nstartup_timeout\n}", "startup_timeout: []: wants one duration"},
		{"headless {\nstartup_timeout soon\n}", `startup_timeout: "soon": not a duration`},
		{"headless {\nstartup_timeout -5s\n}", `startup_timeout: "-5s": less than nothing`},
		{"headless {\nfallthrough a..b\n}", `fallthrough: zone "a..b"`},
		{"headless {\npods verified\n}", `pods: unknown directive`},
		{"headless {\nmanifests a\nkubeconfig b\n}", `manifests: no API server is asked, but there is also "kubeconfig"`},
		{"headless {\nmanifests a\nendpoint b\n}", `manifests: no API server is asked, but there is also "endpoint"`},
	} {
		c := caddy.NewTestController("dns", test.input)
		c.ServerBlockKeys = []string{"dns://example.org.:53"}
		if _, err := parse(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: the error is %v, want one with %q", test.input, err, test.want)
		}
	}
}

// TestParseRoot checks that manifests and snapshots are found below the folder of the root
// plugin, as other files with data are.
func TestParseRoot(t *testing.T) {
	c := caddy.NewTestController("dns", "headless cluster.local {\nmanifests a.yaml /b.yaml\n}")
	dnsserver.GetConfig(c).Root = "/srv"
	s, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/srv/a.yaml", "/b.yaml"}; !slices.Equal(s.config.Manifests, want) {
		t.Errorf("the manifests are %q, want %q", s.config.Manifests, want)
	}
	c = caddy.NewTestController("dns", "headless cluster.local {\nsnapshot file\n}")
	dnsserver.GetConfig(c).Root = "/srv"
	if s, err = parse(c); err != nil || s.config.Snapshot != "/srv/file" {
		t.Errorf("the snapshot is %+v, %v", s, err)
	}
}

// TestSetup checks that a source that can't work stops the start, and that one
// that can is added to the chain.
func TestSetup(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for input, want := range map[string]string{
		"headless cluster.local {\nmanifests " + bad + "\n}":                            "plugin/headless: read manifest \"" + bad + "\": document 1: pods",
		"headless cluster.local {\nkubeconfig /no/such/file\n}":                         `plugin/headless: load kubeconfig "/no/such/file"`,
		"headless cluster.local {\nttl soon\n}":                                         "plugin/headless: Testfile:2: ttl: \"soon\"",
		"headless cluster.local {\nendpoint https://10.0.0.1\ntls /no /no /no\n}":       "/no",
		"headless cluster.local {\nkubeconfig testdata/handler.yaml no-such-context\n}": "plugin/headless: load kubeconfig",
	} {
		if err := setup(caddy.NewTestController("dns", input)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want one with %q", input, err, want)
		}
	}
	c := caddy.NewTestController("dns", example)
	if err := setup(c); err != nil {
		t.Fatal(err)
	}
	defer c.Get(lifetimeKey{}).(*lifetime).end()
	plugins := dnsserver.GetConfig(c).Plugin
	if len(plugins) != 1 || plugins[0](nil).Name() != "headless" {
		t.Errorf("the chain is %v", plugins)
	}
}

// TestAwaitSync checks that a start without an API server goes on.
func TestAwaitSync(t *testing.T) {
	h := newTestHeadless(t, "headless cluster.local {\nendpoint http://127.0.0.1:1\n}")
	l := &lifetime{plugins: []*Headless{h}}
	l.start()
	if err := h.awaitSync(l, time.Millisecond); err != nil {
		t.Error(err)
	}
	if h.Ready() {
		t.Error("ready without an API server")
	}
}
