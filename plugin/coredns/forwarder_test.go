//go:build cluster

package main_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestWhyThroughForwarders asks through what stands between clients and servers, and with several
// clients. The explanation passes everything; an extended DNS error does not.
func TestWhyThroughForwarders(t *testing.T) {
	manifests, err := filepath.Abs("../../testdata/run")
	if err != nil {
		t.Fatal(err)
	}
	direct := corefileServer(t, "direct", fmt.Sprintf(".:PORT {\nbind 127.0.0.1\nheadless cluster.local in-addr.arpa {\nmanifests %s\nauthoritative\n}\n}", manifests))
	const (
		missing = "web-9.nginx.default.svc.cluster.local."
		ede     = "no pod with hostname web-9"
	)
	reasons := []string{
		"no pod with hostname web-9 in namespace default",
		"service nginx: 3 of 3 endpoints ready, from pods of manifests",
		"service nginx: it selects 3 pods; the name of pod web-0 is web-0.nginx",
	}
	for _, tc := range []struct {
		name string
		port string
		ede  bool
	}{
		{"directly", direct, true},
		{"dnsmasq", dnsmasq(t, direct), true},
		{"unbound", unbound(t, direct), false},
		{"cache", corefileServer(t, "cache", fmt.Sprintf(".:PORT {\nbind 127.0.0.1\ncache 30\nforward . 127.0.0.1:%s\n}", direct)), false},
		{"NodeLocal", nodeLocal(t, direct, "denial 9984 5"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dig := func(args ...string) (string, error) {
				return command("dig", append([]string{"@127.0.0.1", "-p", tc.port, "+tries=1", "+time=2"}, args...)...)
			}
			cluster.Eventually(t, 10*time.Second, func() error {
				_, err := dig("web-0.nginx.default.svc.cluster.local.")
				return err
			})
			for i := range 2 { // the second answer may come from a cache
				got := whyOf(t, tc.port, missing)
				if slices.Sort(got); !slices.Equal(got, reasons) { // unbound rotates the records
					t.Errorf("the reasons are %q, want %q", got, reasons)
				}
				out, err := dig(missing)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out, "status: NXDOMAIN") || strings.Contains(out, "EDE") && !tc.ede {
					t.Errorf("dig prints %s, want NXDOMAIN, and no extended error", out)
				}
				if tc.ede && (i == 0 || tc.port == direct) && !strings.Contains(out, "; EDE: 0 (Other): ("+ede+")") {
					t.Errorf("dig prints %s, want %q", out, ede)
				}
			}
		})
	}

	for _, tc := range []struct {
		client string
		want   []string
	}{
		{"kdig @127.0.0.1 -p PORT +edns " + missing, []string{"EDE: 0 (Other): '" + ede + "'"}},
		{"kdig @127.0.0.1 -p PORT +short TXT _why." + missing, reasons},
		{"drill -p PORT TXT _why." + missing + " @127.0.0.1", reasons},
		{"delv -i @127.0.0.1 -p PORT TXT _why." + missing, reasons},
		{"busybox nslookup -type=txt _why." + missing + " 127.0.0.1:PORT", reasons},
	} {
		args := strings.Fields(strings.ReplaceAll(tc.client, "PORT", direct))
		cluster.Eventually(t, 10*time.Second, func() error {
			out, err := command(args[0], args[1:]...)
			if err != nil {
				return err
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					return fmt.Errorf("%s prints %s, want %q", tc.client, out, want)
				}
			}
			return nil
		})
	}
}
