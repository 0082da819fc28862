package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/headless-dns/headless/internal/cluster"
)

// startWith starts a CoreDNS and stops it, and returns the error of the start.
func startWith(corefile string) error {
	caddy.Quiet, dnsserver.Quiet = true, true
	instance, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		return err
	}
	instance.ShutdownCallbacks()
	return instance.Stop()
}

// testCertificate writes a certificate that signs itself, and its key, and returns the files.
func testCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// TestFastPathNeighbours starts a server whose stanza has "fastpath" with other plugins and server
// blocks. It must not start where another plugin, or another server block, has to see a query that
// the fast path would answer. The error names what is in the way.
func TestFastPathNeighbours(t *testing.T) {
	dir := nginxFolder(t)
	certificate, key := testCertificate(t)
	weights := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(weights, []byte("w\n10.0.0.1 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port, other := cluster.MustFreePort(t), cluster.MustFreePort(t)
	stanza := "headless cluster.local in-addr.arpa {\nmanifests " + dir + "\nfastpath\n}\n"
	block := func(plugins string) string {
		return fmt.Sprintf(".:%s {\nbind 127.0.0.1\n%s\n%s}\n", port, plugins, stanza)
	}
	// beside is a server block on the same address.
	beside := func(zone, plugins string) string {
		return fmt.Sprintf("%s:%s {\nbind 127.0.0.1\n%s\n}\n", zone, port, plugins)
	}
	for _, tc := range []struct{ what, corefile, want string }{
		{"alone", block(""), ""},
		{"what the fast path does", block("errors\nprometheus 127.0.0.1:0\nloadbalance\nbufsize 1232"), ""},
		{"what only listens", block("root /\ncancel\ntimeouts {\nread 3s\n}\ndebug\npprof 127.0.0.1:0\nhealth 127.0.0.1:0\nready 127.0.0.1:0\nnsid x\nany\nchaos"), ""},
		{"what comes after", block("cache\nhosts {\n10.0.0.1 x\n}\nforward . 127.0.0.1\ntemplate ANY ANY {\nrcode NXDOMAIN\n}\nloop\nwhoami"), ""},
		{"loadbalance round_robin", block("loadbalance round_robin"), ""},
		{"loadbalance weighted", block("loadbalance weighted " + weights), `"loadbalance weighted ` + weights + `"`},
		{"loadbalance prefer", block("loadbalance {\nprefer 10.0.0.0/8\n}"), `"loadbalance { prefer 10.0.0.0/8 }"`},
		{"log", block("log"), `"log" comes before headless`},
		{"dnstap", block("dnstap /tmp/dnstap.sock"), `"dnstap" comes before headless`},
		{"trace", block("trace 127.0.0.1:9"), `"trace" comes before headless`},
		{"acl", block("acl {\nallow\n}"), `"acl" comes before headless`},
		{"rewrite", block("rewrite name a b"), `"rewrite" comes before headless`},
		{"autopath", block("autopath /etc/resolv.conf"), `"autopath" comes before headless`},
		{"autopath of headless", block("autopath @headless"), `"autopath" comes before headless`},
		{"metadata", block("metadata"), `"metadata" comes before headless`},
		{"dns64", block("dns64"), `"dns64" comes before headless`},
		{"local", block("local"), `"local" comes before headless`},
		{"multisocket", block("multisocket 2"), `"multisocket" comes before headless`},
		{"proxyproto", block("proxyproto {\nallow 127.0.0.0/8\n}"), `"proxyproto" comes before headless`},
		{"shed", block("shed"), "decorates the UDP writer"},
		{"tsig", block("tsig {\nsecret k. NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk=\n}"), `"tsig" comes before headless`},
		{"view", block("view v {\nexpr true\n}"), `"view" chooses`},
		{"DoT alone", fmt.Sprintf("tls://.:%s {\nbind 127.0.0.1\ntls %s %s\n%s}\n", port, certificate, key, stanza), "no address of plain DNS"},
		{"DoT beside", fmt.Sprintf(".:%s tls://.:%s {\nbind 127.0.0.1\ntls %s %s\n%s}\n", port, other, certificate, key, stanza), ""},
		{"a port that the kernel chooses", ".:0 {\nbind 127.0.0.1\n" + stanza + "}\n", "the kernel chooses the port"},
		{"headless for more than the block", fmt.Sprintf("sub.cluster.local:%s {\nbind 127.0.0.1\n%s}\n", port, stanza), `zone "cluster.local." is not wholly in the server block`},

		{"a block of another zone", block("") + beside("example.org", "log\nwhoami"), ""},
		{"a block above", fmt.Sprintf("cluster.local:%[1]s in-addr.arpa:%[1]s {\nbind 127.0.0.1\n%[2]s}\n", port, stanza) + beside(".", "log\nwhoami"), ""},
		{"a block below", block("") + beside("sub.cluster.local", "whoami"), `the server block of zone "sub.cluster.local."`},
		{"a block of the same zone", block("") + beside("cluster.local", "whoami"), `the server block of zone "cluster.local."`},
		{"a block between", block("") + beside("local", "whoami"), `the server block of zone "local."`},
		{"a block below on another address", block("") + fmt.Sprintf("sub.cluster.local:%s {\nbind 127.0.0.1\nwhoami\n}\n", other), ""},
		{"a block with proxyproto", block("") + beside("example.org", "proxyproto {\nallow 127.0.0.0/8\n}\nwhoami"), `"proxyproto" reads`},
		{"a block with tsig", block("") + beside("example.org", "tsig {\nsecret k. NoTCJU+DMqFWywaPyxSijrDEA/eC3nK0xi3AMEZuPVk=\n}\nwhoami"), `"tsig" checks`},
		{"a block with shed", block("") + beside("example.org", "shed\nwhoami"), "decorates the UDP writer"},
		{"two blocks with fastpath", block("") + beside("example.org", strings.ReplaceAll(stanza, "cluster.local in-addr.arpa", "")), ""},
		{"a nested block with fastpath", block("") + beside("sub.cluster.local", strings.ReplaceAll(stanza, "cluster.local in-addr.arpa", "")), `the server block of zone "sub.cluster.local."`},
		{"an imported block", "(chain) {\nlog\n}\n" + block("import chain"), `"log" comes before headless`},
	} {
		err := startWith(tc.corefile)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.what, err)
		case tc.want != "" && err == nil:
			t.Errorf("%s: started, want the error %q", tc.what, tc.want)
		case tc.want != "" && (!strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "plugin/headless: Corefile:") || !strings.Contains(err.Error(), ": fastpath: ")):
			t.Errorf("%s: got %q, want %q", tc.what, err, tc.want)
		}
	}
}

// TestFastPathDirectives fails if CoreDNS has a directive that comes before headless and that this
// list does not know. Think whether the fast path may answer in spite of it, and then add it to the
// first or the second list.
func TestFastPathDirectives(t *testing.T) {
	allowed := []string{"root", "cancel", "quic", "grpc_server", "https", "https3", "timeouts", "reload", "nsid", "bufsize", "bind", "debug",
		"ready", "health", "pprof", "prometheus", "errors", "any", "chaos", "loadbalance"}
	refused := []string{"metadata", "geoip", "proxyproto", "multisocket", "trace", "shed", "log", "dnstap", "local", "dns64", "siit", "tsig", "rewrite", "autopath", "acl"}
	before := slices.Clone(dnsserver.Directives[:slices.Index(dnsserver.Directives, "headless")])
	before = slices.DeleteFunc(before, func(d string) bool { return d == diffTap })
	known := slices.Concat(allowed, refused)
	slices.Sort(known)
	slices.Sort(before)
	if !slices.Equal(known, before) {
		t.Errorf("the directives before headless are %q, want %q", before, known)
	}
}
