package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// diffTap is a directive that exposes the next plugin, so that most queries need no
// socket.
const diffTap = "difftap"

var (
	diffTapOnce sync.Once
	diffTapped  = make(map[string]plugin.Handler) // by the directive's argument
)

func diffRegisterTap() {
	plugin.Register(diffTap, func(c *caddy.Controller) error {
		c.Next()
		name := c.RemainingArgs()[0]
		dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
			diffTapped[name] = next
			return next
		})
		return nil
	})
	dnsserver.Directives = slices.Insert(dnsserver.Directives, 0, diffTap)
}

// diffServer is a server with one plugin.
type diffServer struct {
	plugin  string
	handler plugin.Handler
	zonal   bool
	addrs   map[string]string // by network
	conns   []*dns.Conn
}

// diffZones are the zones of every plugin.
const diffZones = "cluster.local in-addr.arpa ip6.arpa"

// diffServers are the compared servers: headless with each combination of options, also with
// the fast path, and kubernetes.
type diffServers struct {
	headless   map[diffOptions]*diffServer
	fast       map[diffOptions]string      // addresses of headless with the fast path
	primary    map[diffOptions]*diffServer // headless with one of diffPrimaryOptions and authoritative
	kubernetes map[bool]*diffServer        // by whether it has the option "zonal"
}

// diffPrimaryOptions are the options of the clusters whose answers the test compares with a zone
// transfer.
var diffPrimaryOptions = []diffOptions{{addressed: true}, {addressed: true, zonal: true}}

// ours returns the headless server for a cluster.
func (s *diffServers) ours(c *diffCluster) *diffServer { return s.headless[c.options()] }

// theirs returns the kubernetes server for a cluster.
func (s *diffServers) theirs(c *diffCluster) *diffServer { return s.kubernetes[c.options().zonal] }

func (s *diffServers) all() []*diffServer {
	out := slices.Collect(maps.Values(s.headless))
	return slices.AppendSeq(slices.AppendSeq(out, maps.Values(s.primary)), maps.Values(s.kubernetes))
}

// lines returns the options as lines of a stanza.
func (o diffOptions) lines() string {
	out := ""
	if o.slices {
		out += "endpoints slices\n"
	}
	if o.addressed {
		out += "hosts addressed\n"
	}
	if o.bare {
		out += fmt.Sprintf("denial %d bare\n", diffDenialTTL)
	}
	if o.zonal {
		out += "zonal\n"
	}
	return out
}

// diffStart starts the plugins for random clusters.
func diffStart(t *testing.T, endpoint string) (started *diffServers, stop func()) {
	t.Helper()
	b := diffBlocks{endpoint: endpoint, byHost: make(map[string]*diffServer)}
	started = &diffServers{
		headless:   make(map[diffOptions]*diffServer),
		fast:       make(map[diffOptions]string),
		primary:    make(map[diffOptions]*diffServer),
		kubernetes: map[bool]*diffServer{false: b.add("kubernetes", diffZones, ""), true: b.add("kubernetes", diffZones, "zonal\n")},
	}
	started.kubernetes[true].zonal = true
	for _, o := range diffPrimaryOptions {
		started.primary[o] = b.add("headless", diffZones, o.lines()+"authoritative\n")
		started.primary[o].zonal = o.zonal
	}
	for _, o := range diffAllOptions() {
		started.headless[o] = b.add("headless", diffZones, o.lines())
		started.headless[o].zonal = o.zonal
		started.fast[o] = b.addFast(t, diffZones, o.lines())
	}
	return started, b.start(t)
}

// diffBlocks are server blocks, one for each plugin under test.
type diffBlocks struct {
	endpoint string // of the API server
	corefile string
	byHost   map[string]*diffServer
	fast     int // blocks with the fast path
}

// add adds a plugin, which is tapped.
func (b *diffBlocks) add(plugin, zones, lines string) *diffServer {
	host := fmt.Sprint("127.0.0.", 1+len(b.byHost))
	b.corefile += fmt.Sprintf(".:0 {\n bind %s\n %s %s\n %s %s {\n endpoint %s\n startup_timeout 60s\n %s}\n}\n",
		host, diffTap, host, plugin, zones, b.endpoint, lines)
	b.byHost[host] = &diffServer{plugin: plugin, addrs: make(map[string]string)}
	return b.byHost[host]
}

// addFast adds headless with the fast path, and returns its address. The fast path needs a port,
// and a chain without the tap.
func (b *diffBlocks) addFast(t *testing.T, zones, lines string) string {
	port := cluster.MustFreePort(t)
	b.corefile += fmt.Sprintf(".:%s {\n bind 127.0.1.1\n headless %s {\n endpoint %s\n startup_timeout 60s\n fastpath\n %s}\n}\n", port, zones, b.endpoint, lines)
	b.fast++
	return "127.0.1.1:" + port
}

// start starts the plugins together: at its setup the kubernetes plugin writes klog's logger, which
// the watches of a running plugin read.
func (b *diffBlocks) start(t *testing.T) (stop func()) {
	t.Helper()
	diffTapOnce.Do(diffRegisterTap)
	caddy.Quiet, dnsserver.Quiet = true, true
	instance, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(b.corefile), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	awaitFastSockets(t, b.fast)
	for host, s := range b.byHost {
		s.handler = diffTapped[host]
	}
	for _, listener := range instance.Servers() {
		for _, addr := range []net.Addr{listener.Addr(), listener.LocalAddr()} {
			if host, _, err := net.SplitHostPort(addr.String()); err == nil && b.byHost[host] != nil {
				b.byHost[host].addrs[addr.Network()] = addr.String()
			}
		}
	}
	return func() {
		for _, s := range b.byHost {
			for _, conn := range s.conns {
				conn.Close()
			}
		}
		if err := instance.Stop(); err != nil {
			t.Error(err)
		}
		instance.ShutdownCallbacks()
	}
}

// diffAsk sends a query.
type diffAsk func(name string, qtype uint16) (*dns.Msg, error)

// diffWriter keeps the reply of a handler, for a client over TCP.
type diffWriter struct {
	dns.ResponseWriter // nil: these plugins need no other method
	reply              *dns.Msg
}

var diffAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}

func (w *diffWriter) LocalAddr() net.Addr           { return diffAddr }
func (w *diffWriter) RemoteAddr() net.Addr          { return diffAddr }
func (w *diffWriter) WriteMsg(reply *dns.Msg) error { w.reply = reply; return nil }

// direct calls the plugin. If the plugin passes the query on, there is no next plugin,
// and direct returns the reply that a server sends for the rcode.
func (s *diffServer) direct(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	var w diffWriter
	rcode, _ := s.handler.ServeDNS(context.Background(), &w, m)
	if w.reply == nil {
		return new(dns.Msg).SetRcode(m, rcode), nil
	}
	return w.reply, nil
}

// wire returns a function that sends queries over UDP or TCP, on a new connection: a
// server closes idle ones.
func (s *diffServer) wire(network string) diffAsk {
	conn, err := dns.Dial(network, s.addrs[network])
	if err != nil {
		return func(string, uint16) (*dns.Msg, error) { return nil, err }
	}
	conn.UDPSize = 4096
	s.conns = append(s.conns, conn)
	return func(name string, qtype uint16) (*dns.Msg, error) {
		m := new(dns.Msg)
		m.SetQuestion(name, qtype)
		if network == "udp" {
			m.SetEdns0(4096, false)
		}
		reply, _, err := new(dns.Client).ExchangeWithConn(m, conn)
		if err != nil {
			return nil, fmt.Errorf("query %s over %s: %w", s.plugin, network, err)
		}
		if reply.Truncated && network == "udp" {
			return s.wire("tcp")(name, qtype)
		}
		reply.Extra = slices.DeleteFunc(reply.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
		return reply, nil
	}
}
