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
		want  func(*stanza) // changes the defaults to the wanted settings
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
		{"headless cluster.local {\nhosts ready\n}", func(*stanza) {}},
		{"headless cluster.local {\nhosts addressed\n}", func(s *stanza) { s.config.Addressed = true }},
		{"headless cluster.local {\nexplain off\n}", func(s *stanza) { s.explain = false }},
		{"headless cluster.local {\ndenial 0\n}", func(s *stanza) { s.denial.ttl = 0 }},
		{"headless cluster.local {\ndenial 3600 bare\nttl 7\n}", func(s *stanza) { s.ttl, s.denial = 7, denialOptions{3600, true} }},
		{"headless cluster.local {\nendpoint_pod_names\n}", func(s *stanza) { s.config.PodNames = true }},
		{"headless cluster.local {\nzonal\n}", func(s *stanza) { s.config.Zonal = true }},
		{"headless cluster.local {\nauthoritative\n}", func(s *stanza) { s.authoritative = true }},
		{"headless cluster.local {\nexternal Example.org sub.example.org.\n}", func(s *stanza) {
			s.external, s.externalOnly = []string{"example.org.", "sub.example.org."}, true
		}},
		{"headless cluster.local {\nexternal example.net\n}", func(s *stanza) { s.external = []string{"example.net."} }},
		{"headless cluster.local example.org {\nexternal cluster.example\n}", func(s *stanza) {
			s.zones, s.external = []string{"cluster.local.", "example.org."}, []string{"cluster.example."}
		}},
		{"headless cluster.local {\nmulticluster Clusterset.local mcs.example.org.\n}", func(s *stanza) {
			s.config.MultiCluster, s.clusterset = true, []string{"clusterset.local.", "mcs.example.org."}
		}},
		{"headless clusterset.local cluster.local {\nmulticluster clusterset.local\n}", func(s *stanza) {
			s.config.MultiCluster, s.clusterset = true, []string{"clusterset.local."}
		}},
		{"headless {\nmulticluster example.org\n}", func(s *stanza) {
			s.config.MultiCluster, s.zones, s.clusterset = true, []string{}, []string{"example.org."}
		}},
		{"headless cluster.local {\nmulticluster in.example.org\nexternal out.example.org\n}", func(s *stanza) {
			s.config.MultiCluster, s.clusterset, s.external = true, []string{"in.example.org."}, []string{"out.example.org."}
		}},
		{"headless cluster.local {\nsnapshot /no-such-file\n}", func(s *stanza) { s.config.Snapshot = "/no-such-file" }},
		{"headless cluster.local {\nsnapshot file 90s\n}", func(s *stanza) {
			s.config.Snapshot, s.config.SnapshotInterval = "file", 90*time.Second
		}},
		{"headless cluster.local {\nttl 0\n}", func(s *stanza) { s.ttl, s.denial.ttl = 0, 0 }},
		{"headless cluster.local {\nttl 3600\n}", func(s *stanza) { s.ttl, s.denial.ttl = 3600, 3600 }},
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
		want := &stanza{zones: []string{"cluster.local."}, ttl: 5, denial: denialOptions{ttl: 5}, explain: true, startupTimeout: 5 * time.Second, places: got.places}
		want.config.Cluster.UserAgent = got.config.Cluster.UserAgent
		want.config.SnapshotInterval = time.Minute
		test.want(want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", test.input, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		input string
		want  string // part of the error, some with the place of the directive
	}{
		{"headless in-addr.arpa 10.0.0.0/8", `Testfile:1: headless: zones ["in-addr.arpa." "10.in-addr.arpa."]: at least one must not be a reverse zone`},
		{"headless cluster..local", `Testfile:1: headless: zone "cluster..local"`},
		{"headless cluster.local\nheadless example.org", "can only be used once per Server Block"},
		{"headless {\nendpoint\n}", `Testfile:2: endpoint: needs one URL, given none`},
		{"headless {\nendpoint a b\n}", `endpoint: needs one URL, given "a" "b"`},
		{"headless {\nendpoint ftp://10.0.0.1\n}", `endpoint: "ftp://10.0.0.1": not the URL of an API server, such as https://10.0.0.1:6443`},
		{"headless {\nendpoint https:///api\n}", `endpoint: "https:///api": not the URL of an API server`},
		{"headless {\nendpoint https://:6443\n}", `endpoint: "https://:6443": not the URL of an API server`},
		{"headless {\nendpoint unix:///run/api\n}", `endpoint: "unix:///run/api": not the URL of an API server`},
		{"headless {\nendpoint https://10.0.0.1:x\n}", `endpoint: "https://10.0.0.1:x": not a URL: invalid port ":x" after host`},
		{"headless {\ntls a b\n}", `tls: needs three files: CERT KEY CACERT, given "a" "b"`},
		{"headless {\nttl 5\ntls a b c\n\n}", `Testfile:3: tls: needs "endpoint"`},
		{"headless {\ntls a b c\nkubeconfig d\n}", `Testfile:2: tls: needs "endpoint"`},
		{"headless {\nkubeconfig\n}", "kubeconfig: needs a file and at most a context, given none"},
		{"headless {\nkubeconfig a b c\n}", `kubeconfig: needs a file and at most a context, given "a" "b" "c"`},
		{"headless {\nmanifests\n}", "manifests: needs at least one file or folder, given none"},
		{"headless {\nnamespaces\n}", "namespaces: needs at least one namespace, given none"},
		{"headless {\nnamespaces a Bad_Name\n}", `namespaces: "Bad_Name"`},
		{"headless {\nnamespace_labels\n}", "namespace_labels: needs a label selector, given none"},
		{"headless {\nnamespace_labels a in b\n}", `namespace_labels: parse label selector "a in b"`},
		{"headless {\nlabels\n}", "labels: needs a label selector, given none"},
		{"headless {\nlabels a=b=c\n}", `labels: parse label selector "a=b=c"`},
		{"headless {\nnamespace_labels b\nnamespaces a\nttl 5\n}", `Testfile:3: namespaces: can't be combined with "namespace_labels" at Testfile:2`},
		{"headless {\nendpoints\n}", "endpoints: needs pods or slices, given none"},
		{"headless {\nendpoints pods slices\n}", `endpoints: needs pods or slices, given "pods" "slices"`},
		{"headless {\nendpoints Slices\n}", `endpoints: "Slices": neither "pods" nor "slices"`},
		{"headless {\nhosts\n}", "hosts: needs ready or addressed, given none"},
		{"headless {\nhosts Addressed\n}", `hosts: "Addressed": neither "ready" nor "addressed"`},
		{"headless {\nhosts ready addressed\n}", `hosts: needs ready or addressed, given "ready" "addressed"`},
		{"headless {\ndenial\n}", `denial: needs a number of seconds and at most "bare", given none`},
		{"headless {\ndenial bare\n}", `denial: "bare": not a number of seconds from 0 to 3600`},
		{"headless {\ndenial 5 naked\n}", `denial: "naked": not "bare"`},
		{"headless {\ndenial 5 bare 5\n}", `denial: needs a number of seconds and at most "bare", given "5" "bare" "5"`},
		{"headless {\ndenial 3601\n}", `denial: "3601": not a number of seconds from 0 to 3600`},
		{"headless {\nendpoint_pod_names yes\n}", `endpoint_pod_names: needs no argument, given "yes"`},
		{"headless {\nzonal yes\n}", `zonal: needs no argument, given "yes"`},
		{"headless {\nauthoritative yes\n}", `authoritative: needs no argument, given "yes"`},
		{"headless {\nexternal\n}", "external: needs at least one zone, given none"},
		{"headless {\nexternal example..org\n}", `Testfile:2: external: zone "example..org": neither a domain name nor a network`},
		{"headless cluster.local {\nexternal example.org Cluster.Local\n}", `Testfile:2: external: zone "cluster.local.": also a zone of the cluster`},
		{"headless {\nexternal example.org\n}", `external: zone "example.org.": also a zone of the cluster`},
		{"headless cluster.local {\nexternal example.net 10.0.0.0/8\n}", `external: zone "10.in-addr.arpa.": a reverse zone has no names of services`},
		{"headless cluster.local {\nexternal ip6.arpa\n}", `external: zone "ip6.arpa.": a reverse zone has no names of services`},
		{"headless cluster.local {\nexternal example.net EXAMPLE.net.\n}", `external: zone "example.net.": given twice`},
		{"headless {\nmulticluster\n}", "multicluster: needs at least one zone, given none"},
		{"headless {\nmulticluster example..org\n}", `Testfile:2: multicluster: zone "example..org": neither a domain name nor a network`},
		{"headless cluster.local {\nmulticluster 10.0.0.0/8\n}", `multicluster: zone "10.in-addr.arpa.": a reverse zone has no names of services`},
		{"headless cluster.local {\nmulticluster clusterset.local Clusterset.Local.\n}", `multicluster: zone "clusterset.local.": given twice`},
		{"headless clusterset.local ip6.arpa {\nmulticluster clusterset.local\n}", `Testfile:1: headless: zones ["ip6.arpa."]: at least one must not be a reverse zone`},
		{"headless cluster.local {\nexternal a.org b.org\nmulticluster b.org\n}", `Testfile:2: external: zone "b.org.": also a zone of "multicluster" at Testfile:3`},
		{"headless cluster.local b.org {\nmulticluster b.org\nexternal b.org\n}", `Testfile:3: external: zone "b.org.": also a zone of "multicluster" at Testfile:2`},
		{"headless cluster.local {\nexternal example.net\nexternal example.com\n}", "Testfile:3: external: given twice, first at Testfile:2"},
		{"headless {\nsnapshot\n}", "snapshot: needs a file and at most a duration, given none"},
		{"headless {\nsnapshot a 1m b\n}", `snapshot: needs a file and at most a duration, given "a" "1m" "b"`},
		{"headless {\nsnapshot a soon\n}", `snapshot: "soon": not a duration`},
		{"headless {\nsnapshot a 999ms\n}", `snapshot: "999ms": less than a second`},
		{"headless {\nsnapshot testdata\n}", `Testfile:2: snapshot: "testdata": not a regular file`},
		{"headless {\nsnapshot testdata/handler.yaml\n}", `snapshot: "testdata/handler.yaml": not a snapshot, and would be overwritten by one`},
		{"headless {\nsnapshot /no/such/folder/file\n}", `snapshot: "/no/such/folder": no such file or directory`},
		{"headless {\nttl\n}", "ttl: needs one number of seconds, given none"},
		{"headless {\nttl 5s\n}", `ttl: "5s": not a number of seconds from 0 to 3600`},
		{"headless {\nttl -1\n}", `ttl: "-1": not a number of seconds from 0 to 3600`},
		{"headless {\nttl 3601\n}", `ttl: "3601": not a number of seconds from 0 to 3600`},
		{"headless {\nttl 5 6\n}", `ttl: needs one number of seconds, given "5" "6"`},
		{"headless {\nttl 5\n\nttl 6\n}", "Testfile:4: ttl: given twice, first at Testfile:2"},
		{"headless {\nstartup_timeout\n}", "startup_timeout: needs one duration, given none"},
		{"headless {\nstartup_timeout soon\n}", `startup_timeout: "soon": not a duration`},
		{"headless {\nstartup_timeout -5s\n}", `startup_timeout: "-5s": must not be negative`},
		{"headless {\nfallthrough a..b\n}", `fallthrough: zone "a..b"`},
		{"headless {\nendpoint b\nmanifests a\n}", `Testfile:3: manifests: can't be combined with "endpoint" at Testfile:2`},
		{"headless {\nmanifests a\nkubeconfig b\n}", `manifests: can't be combined with "kubeconfig"`},
		{"headless {\nmanifests a\ntls b c d\n}", `manifests: can't be combined with "tls"`},
		{"headless {\nmanifests a\nsnapshot b\n\n\n}", `Testfile:2: manifests: can't be combined with "snapshot" at Testfile:3`},
	} {
		c := caddy.NewTestController("dns", test.input)
		c.ServerBlockKeys = []string{"dns://example.org.:53"}
		if _, err := parse(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want %q", test.input, err, test.want)
		}
	}
}

// TestParseWarnings checks the warnings about stanzas that the plugin accepts.
func TestParseWarnings(t *testing.T) {
	for _, test := range []struct{ input, want string }{
		{"headless", ""},
		{"headless example.org sub.example.org", ""},
		{"headless cluster.local", `Testfile:1: headless: zone "cluster.local." is outside of the server block`},
		{"headless example.org cluster.local", `zone "cluster.local." is outside of the server block`},
		{"headless cluster.local {\nexternal example.org\n}", ""}, // the block is there for the external zone
		{"headless {\nexternal example.net\n}", `Testfile:2: external: zone "example.net." is outside of the server block, where no query for it arrives`},
		{"headless cluster.local {\nexternal sub.example.org\nfallthrough sub.example.org\n}", ""},
		{"headless cluster.local {\nmulticluster example.org\nfallthrough example.org\n}", ""},
		{"headless {\nmulticluster example.net\n}", `Testfile:2: multicluster: zone "example.net." is outside of the server block, where no query for it arrives`},
		{"headless org", ""}, // the zone of the block is in it
		{"headless {\nfallthrough\n}", ""},
		{"headless {\nfallthrough sub.example.org org\n}", ""},
		{"headless {\nttl 5\nfallthrough example.net example.org\n}", `Testfile:3: fallthrough: zone "example.net." is outside of the plugin's zones`},
		{"headless {\nkubeconfig a\nendpoint b:6443\n}", `Testfile:3: endpoint: ignored, as "kubeconfig" at Testfile:2`},
		{"headless {\nendpoint b:6443\n}", ""},
		{"headless {\nendpoint [fd00::1]:6443\n}", ""},
		{"headless {\nendpoint localhost\n}", ""},
	} {
		c := caddy.NewTestController("dns", test.input)
		c.ServerBlockKeys = []string{"dns://example.org.:53"}
		text := logged(t, func() {
			if _, err := parse(c); err != nil {
				t.Errorf("%q: %v", test.input, err)
			}
		})
		if test.want == "" && text != "" || !strings.Contains(text, test.want) {
			t.Errorf("%q: got log %q, want %q", test.input, text, test.want)
		}
		if test.want != "" {
			checkLine(t, text, "WARNING")
		}
	}
}

// TestParseRoot checks that relative paths of manifests and snapshots start at the folder of the
// root plugin, as those of other plugins do.
func TestParseRoot(t *testing.T) {
	c := caddy.NewTestController("dns", "headless cluster.local {\nmanifests a.yaml /b.yaml\n}")
	dnsserver.GetConfig(c).Root = "/srv"
	s, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/srv/a.yaml", "/b.yaml"}; !slices.Equal(s.config.Manifests, want) {
		t.Errorf("got manifests %q, want %q", s.config.Manifests, want)
	}
	c = caddy.NewTestController("dns", "headless cluster.local {\nsnapshot file\n}")
	dir := t.TempDir()
	dnsserver.GetConfig(c).Root = dir
	if s, err = parse(c); err != nil || s.config.Snapshot != filepath.Join(dir, "file") {
		t.Errorf("got stanza %+v and error %v, want the snapshot file in %s", s, err, dir)
	}
}

// TestSetup checks that the setup fails if the source can't work, and that it adds the plugin to
// the chain otherwise.
func TestSetup(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for input, want := range map[string]string{
		"headless cluster.local {\nttl 5\nmanifests " + bad + "\n}":                            "plugin/headless: Testfile:3: manifests: read manifest \"" + bad + "\": document 1: pods",
		"headless cluster.local {\nkubeconfig /no/such/file\n}":                                `plugin/headless: Testfile:2: kubeconfig: load kubeconfig "/no/such/file"`,
		"headless cluster.local {\nkubeconfig /dev/null\n}":                                    `Testfile:2: kubeconfig: load kubeconfig "/dev/null": it names no cluster`,
		"headless cluster.local {\nttl soon\n}":                                                "plugin/headless: Testfile:2: ttl: \"soon\"",
		"headless cluster.local {\nendpoint https://10.0.0.1\ntls /no /no /no\n}":              "Testfile:3: tls: create client for API server",
		"headless cluster.local {\nttl 5\nkubeconfig testdata/handler.yaml no-such-context\n}": "plugin/headless: Testfile:3: kubeconfig: load kubeconfig",
		"# no pod\nheadless cluster.local":                                                     `plugin/headless: Testfile:2: headless: no API server is given, and this is not a pod: set "endpoint", "kubeconfig" or "manifests"`,
	} {
		if err := setup(caddy.NewTestController("dns", input)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", input, err, want)
		}
	}
	c := caddy.NewTestController("dns", overlayStanza)
	if err := setup(c); err != nil {
		t.Fatal(err)
	}
	defer c.Get(lifetimeKey{}).(*lifetime).end()
	plugins := dnsserver.GetConfig(c).Plugin
	if len(plugins) != 1 || plugins[0](nil).Name() != "headless" {
		t.Errorf("got chain %v, want the plugin alone", plugins)
	}
}

// TestAwaitSync checks that a server starts without an API server.
func TestAwaitSync(t *testing.T) {
	h := newTestHeadless(t, "headless cluster.local {\nendpoint http://127.0.0.1:1\n}")
	l := &lifetime{plugins: []*Headless{h}}
	l.startSources()
	if err := h.awaitSync(l, time.Millisecond); err != nil {
		t.Error(err)
	}
	if h.Ready() {
		t.Error("ready without an API server")
	}
}
