package headless

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/bufsize"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"
)

// fastBlock is what the fast path needs to know about the server block of a plugin.
type fastBlock struct {
	addrs   []string // of the servers, as in dnsserver.Server.Addr
	chain   []plugin.Handler
	shuffle bool   // the block has the loadbalance plugin
	bufsize uint16 // the argument of the bufsize plugin, or 0 without it
	debug   bool   // the block has the debug plugin: a panic ends the process
}

// fastNeighbours are the directives that may come before headless in a server block with the fast
// path. The fast path does what the first four do to a reply. The others see no query that it
// answers, or change neither the query nor the reply.
var fastNeighbours = []string{
	"prometheus", "errors", "loadbalance", "bufsize",
	"root", "bind", "debug", "reload", "ready", "health", "pprof", "cancel", "timeouts",
	"quic", "grpc_server", "https", "https3", // other transports of the block
	"nsid", "any", "chaos", // answer other queries
}

// decorate registers a callback that each server of the block calls before it serves a UDP socket.
// CoreDNS makes the servers after the setup, so decorate must be called during the setup.
func (l *lifetime) decorate(config *dnsserver.Config) error {
	if config.UDPDecorateWriterFunc != nil {
		return errors.New("another plugin of the server block decorates the UDP writer, and would not see the replies; leave out that plugin or \"fastpath\"")
	}
	config.UDPDecorateWriterFunc = func(s *dnsserver.Server) dns.DecorateWriter {
		l.serveFast(s)
		return nil
	}
	return nil
}

// startFastPath prepares the fast path of the plugin. Its sockets open once a server begins to serve.
func (h *Headless) startFastPath(c *caddy.Controller, l *lifetime) error {
	b, err := newFastBlock(c, h, l)
	if err != nil {
		return err
	}
	h.fastBlock = b
	l.reserveSockets(b.addrs)
	return nil
}

// newFastBlock returns the server block of h. It returns an error if the fast path would answer a
// query that another plugin or server block has to see.
func newFastBlock(c *caddy.Controller, h *Headless, l *lifetime) (*fastBlock, error) {
	config := dnsserver.GetConfig(c)
	b := &fastBlock{chain: config.Handlers(), debug: config.Debug}
	block, err := blockOf(c, l)
	if err != nil {
		return nil, err
	}
	if err := b.checkNeighbours(block); err != nil {
		return nil, err
	}
	if b.shuffle, err = shuffles(block.Tokens["loadbalance"]); err != nil {
		return nil, err
	}
	switch p := config.Handler("bufsize").(type) {
	case bufsize.Bufsize:
		b.bufsize = uint16(p.Size)
	case nil:
	default:
		return nil, fmt.Errorf("plugin \"bufsize\" is of an unknown kind, %T", p)
	}
	if b.addrs, err = checkListeners(configsOf(c), h); err != nil {
		return nil, err
	}
	return b, nil
}

// blockOf returns the directives of the server block, from the Corefile of the instance.
func blockOf(c *caddy.Controller, l *lifetime) (caddyfile.ServerBlock, error) {
	for _, i := range caddy.Instances() {
		if storedLifetime(i) != l {
			continue
		}
		file := i.Caddyfile()
		blocks, err := caddyfile.Parse(file.Path(), bytes.NewReader(file.Body()), dnsserver.Directives)
		if err != nil {
			return caddyfile.ServerBlock{}, fmt.Errorf("read the Corefile again: %w", err)
		}
		if c.ServerBlockIndex < len(blocks) {
			return blocks[c.ServerBlockIndex], nil
		}
	}
	return caddyfile.ServerBlock{}, errors.New("the Corefile of the server block is not known")
}

// checkNeighbours returns an error if a plugin has to see the queries that the fast path answers.
func (b *fastBlock) checkNeighbours(block caddyfile.ServerBlock) error {
	has := func(directive string) bool {
		return block.Tokens[directive] != nil || slices.ContainsFunc(b.chain, func(p plugin.Handler) bool { return p.Name() == directive })
	}
	for _, directive := range dnsserver.Directives[:max(0, slices.Index(dnsserver.Directives, pluginName))] {
		if has(directive) && !slices.Contains(fastNeighbours, directive) {
			return fmt.Errorf("%q comes before headless and would not see the queries that the fast path answers; leave out %q or \"fastpath\"", directive, directive)
		}
	}
	if has("view") {
		return errors.New("\"view\" chooses a server block for each query, which the fast path does not; leave out \"view\" or \"fastpath\"")
	}
	return nil
}

// shuffles reports whether the directive loadbalance shuffles addresses. It returns an error if
// the directive does anything else.
func shuffles(tokens []caddyfile.Token) (bool, error) {
	var words []string
	for _, t := range tokens {
		words = append(words, t.Text)
	}
	switch line := strings.Join(words, " "); line {
	case "":
		return false, nil
	case "loadbalance", "loadbalance round_robin":
		return true, nil
	default:
		return false, fmt.Errorf("%q: the fast path can shuffle addresses, but not choose among them; write \"loadbalance\" alone or leave out \"fastpath\"", line)
	}
}

// configsOf returns the configurations of all server blocks of the instance, of one zone each. It
// must not be called before CoreDNS has made the servers: a configuration that does not exist is
// added.
func configsOf(c *caddy.Controller) (configs []*dnsserver.Config) {
	at := *c
	at.ServerBlockIndex, at.ServerBlockKeyIndex = 0, 0
	for {
		config := dnsserver.GetConfig(&at)
		switch {
		case config.Port != "":
			configs = append(configs, config)
			at.ServerBlockKeyIndex++
		case at.ServerBlockKeyIndex == 0: // neither the block nor the zone existed
			return configs
		default:
			at.ServerBlockIndex, at.ServerBlockKeyIndex = at.ServerBlockIndex+1, 0
		}
	}
}

// listener is an address with the configurations that a server has there.
type listener struct {
	own, others []*dnsserver.Config
}

// checkListeners returns the addresses on which the fast path answers for h. It returns an error
// if a query for a name of h may be for another server block on such an address.
func checkListeners(configs []*dnsserver.Config, h *Headless) (addrs []string, err error) {
	listeners := make(map[string]*listener)
	for _, config := range configs {
		for _, host := range config.ListenHosts {
			addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, config.Port))
			if err != nil {
				return nil, fmt.Errorf("address %q: %w", net.JoinHostPort(host, config.Port), err)
			}
			key := config.Transport + "://" + addr.String()
			if listeners[key] == nil {
				listeners[key] = new(listener)
			}
			l := listeners[key]
			if config.Handler(pluginName) != h {
				l.others = append(l.others, config)
				continue
			}
			l.own = append(l.own, config)
			if config.Transport == transport.DNS && !slices.Contains(addrs, key) {
				addrs = append(addrs, key)
			}
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("the server block has no address of plain DNS, over UDP; leave out \"fastpath\"")
	}
	for _, addr := range addrs {
		if err := listeners[addr].check(h); err != nil {
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
	}
	return addrs, nil
}

// check returns an error if the address is not served as the fast path would, or if a name of h
// there may be for another server block.
func (l *listener) check(h *Headless) error {
	for _, config := range slices.Concat(l.own, l.others) {
		switch {
		case config.Port == "0":
			return errors.New("the kernel chooses the port there, and the fast path would not know it; give a port or leave out \"fastpath\"")
		case config.NumSockets > 1:
			return errors.New("\"multisocket\" opens several sockets there; leave out \"multisocket\" or \"fastpath\"")
		case config.ProxyProtoConnPolicy != nil:
			return errors.New("\"proxyproto\" reads the address of the client from the packet there; leave out \"proxyproto\" or \"fastpath\"")
		case len(config.TsigSecret) > 0:
			return errors.New("\"tsig\" checks signatures there; leave out \"tsig\" or \"fastpath\"")
		case config.UDPDecorateWriterFunc != nil && !usesFastPath(config):
			return errors.New("a plugin of another server block, such as \"shed\", decorates the UDP writer there; leave out that plugin or \"fastpath\"")
		}
	}
	for i := range h.zones {
		if err := l.checkZone(h.zones[i].Name); err != nil {
			return err
		}
	}
	return nil
}

// usesFastPath reports whether the server block has a headless plugin with the fast path.
func usesFastPath(config *dnsserver.Config) bool {
	h, ok := config.Handler(pluginName).(*Headless)
	return ok && h.fastPath
}

// checkZone returns an error unless each query for a name in the zone is for the server block of
// the plugin. A server sends a query to the block with the longest zone that the name is in.
func (l *listener) checkZone(zone string) error {
	block := ""
	for _, config := range l.own {
		if dns.IsSubDomain(config.Zone, zone) && len(config.Zone) > len(block) {
			block = config.Zone
		}
	}
	if block == "" {
		return fmt.Errorf("zone %q is not wholly in the server block, so not all queries for it arrive; give headless zones inside of the block's", zone)
	}
	for _, config := range l.others {
		if dns.IsSubDomain(zone, config.Zone) || dns.IsSubDomain(config.Zone, zone) && dns.IsSubDomain(block, config.Zone) {
			return fmt.Errorf("the server block of zone %q has names in zone %q of headless, and the fast path would not ask it; give them different addresses, or leave out \"fastpath\"", config.Zone, zone)
		}
	}
	return nil
}

// serveFast makes the fast path answer for the plugins of the instance on the address of a server.
// The server is about to serve its own socket.
func (l *lifetime) serveFast(s *dnsserver.Server) {
	a := new(fastAnswerer)
	debug := false
	for _, h := range l.plugins {
		if h.fastBlock != nil && slices.Contains(h.fastBlock.addrs, s.Addr) {
			a.plugins = append(a.plugins, newFastPlugin(h, h.fastBlock, s.Addr))
			debug = debug || h.fastBlock.debug
		}
	}
	if socket := socketAt(s.Addr, l); socket != nil {
		socket.serve(s, a, debug)
	}
}
