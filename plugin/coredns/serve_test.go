package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// served is a whole CoreDNS, with every plugin, in this process.
type served struct{ udp, tcp string } // the addresses of its first server block

// serve runs a CoreDNS until the test ends.
func serve(t *testing.T, corefile string) *served {
	t.Helper()
	caddy.Quiet, dnsserver.Quiet = true, true
	instance, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		t.Fatalf("%v\n%s", err, corefile)
	}
	t.Cleanup(func() {
		instance.ShutdownCallbacks()
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
	})
	listener := instance.Servers()[0]
	return &served{udp: listener.LocalAddr().String(), tcp: listener.Addr().String()}
}

// ask sends a query, given as a name and a type, and returns the reply. size is the
// client's UDP buffer size; up to 512 bytes the query has no EDNS.
func (s *served) ask(question, network string, size uint16) (*dns.Msg, error) {
	name, qtype, _ := strings.Cut(question, " ")
	m := new(dns.Msg).SetQuestion(name, dns.StringToType[qtype])
	if size > dns.MinMsgSize {
		m.SetEdns0(size, false)
	}
	address := s.udp
	if network == "tcp" {
		address = s.tcp
	}
	client := dns.Client{Net: network, Timeout: 5 * time.Second}
	r, _, err := client.Exchange(m, address)
	if err != nil {
		return nil, err
	}
	if r.Question[0] != m.Question[0] {
		return nil, fmt.Errorf("question of the reply: got %v, want %v", r.Question[0], m.Question[0])
	}
	return r, nil
}

// describe returns the rcode and the data of the answers.
func describe(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(out, " ")
}

// manifest is a headless service nginx.
const manifest = `
apiVersion: v1
kind: Service
metadata: {name: nginx}
spec: {clusterIP: None, selector: {app: nginx}, ports: [{name: web, port: 80}]}
`

// podManifest returns a ready pod of the service.
func podManifest(name, ip string) string {
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: nginx}}
spec: {hostname: %s, subdomain: nginx, containers: [{name: nginx}]}
status: {podIP: %s, conditions: [{type: Ready, status: "True"}]}
`, name, name, ip)
}
