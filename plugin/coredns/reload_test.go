package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// TestReload changes the Corefile again and again under load, as the reload
// plugin does: no query goes without an answer, and none gets a wrong one. A
// connection that CoreDNS has not accepted when it closes a socket is reset,
// whatever the plugins are, so clients try again, as resolvers do (RFC 7766,
// section 6.2.4).
func TestReload(t *testing.T) {
	dir := nginxFolder(t)
	_, port := freeAddress(t)
	corefile := func(ttl int) caddy.Input {
		return caddy.CaddyfileInput{
			Contents:       fmt.Appendf(nil, ".:%s {\nbind 127.0.0.1\nheadless cluster.local {\nmanifests %s\nttl %d\n}\ncache\n}", port, dir, ttl),
			Filepath:       "Corefile",
			ServerTypeName: "dns",
		}
	}
	caddy.Quiet, dnsserver.Quiet = true, true
	instance, err := caddy.Start(corefile(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		instance.ShutdownCallbacks()
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := &served{udp: "127.0.0.1:" + port, tcp: "127.0.0.1:" + port}

	var stop atomic.Bool
	var asked, retries atomic.Int64
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp"} {
		clients.Go(func() {
			for !stop.Load() {
				m, err := s.ask(nginx+" A", network, 1232)
				for range 2 {
					if err != nil {
						retries.Add(1)
						m, err = s.ask(nginx+" A", network, 1232)
					}
				}
				if err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 2 {
					t.Errorf("over %s: %v, %v", network, m, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for ttl := 2; ttl <= 6; ttl++ {
		if instance, err = instance.Restart(corefile(ttl)); err != nil {
			t.Fatal(err)
		}
		// The last to answer with the old TTL is the server that was replaced.
		deadline := time.Now().Add(30 * time.Second)
		for {
			m, err := s.ask(nginx+" A", "udp", 1232)
			if err == nil && m.Answer[0].Header().Ttl == uint32(ttl) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after a reload: %v, %v", m, err)
			}
		}
		// Enough queries with this Corefile before the next.
		for before := asked.Load(); asked.Load() < before+200 && !t.Failed() && time.Now().Before(deadline); {
			if _, err := s.ask(nginx+" A", "udp", 1232); err != nil {
				retries.Add(1)
			}
		}
	}
	stop.Store(true)
	clients.Wait()
	t.Logf("%d queries, %d retries, 5 reloads", asked.Load(), retries.Load())
}

// TestNoPinnedDenial asks for a pod too early, with a TTL of an hour and a cache
// behind: the pod is there when it is there, not an hour later.
func TestNoPinnedDenial(t *testing.T) {
	dir := nginxFolder(t)
	s := serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\nheadless cluster.local {\nmanifests %s\nttl 3600\n}\ncache 3600\n}", dir))
	for range 3 {
		s.want(t, "web-2."+nginx+" A", "NXDOMAIN")
	}
	if err := os.WriteFile(filepath.Join(dir, "web-2.yaml"), []byte(podManifest("web-2", "10.244.0.3")), 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := s.ask("web-2."+nginx+" A", "udp", 1232)
		if err == nil && len(m.Answer) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, %v", m, err)
		}
		<-tick.C
	}
}
