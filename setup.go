package headless

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"

	"github.com/headless-dns/headless/records"
)

func init() { plugin.Register(pluginName, setup) }

func setup(c *caddy.Controller) error {
	l := lifetimeOf(c)
	s, err := parse(c)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	h, err := newHeadless(s, l)
	if err != nil {
		return plugin.Error(pluginName, s.sourceError(err))
	}
	config := dnsserver.GetConfig(c)
	if h.fastPath {
		if err := l.decorate(config); err != nil {
			return plugin.Error(pluginName, s.errorAt("fastpath", err))
		}
	}
	c.OnStartup(func() error {
		if h.fastPath {
			if err := h.startFastPath(c, l); err != nil {
				return plugin.Error(pluginName, s.errorAt("fastpath", err))
			}
		}
		h.startClients(c, s, l)
		if err := h.start(s, config, l); err != nil {
			return plugin.Error(pluginName, err)
		}
		return nil
	})
	c.OnShutdown(l.onShutdown)
	c.OnFinalShutdown(l.onFinalShutdown)
	config.AddPlugin(func(next plugin.Handler) plugin.Handler {
		h.Next = next
		return h
	})
	return nil
}

// newHeadless returns the plugin of a stanza, and adds it to the lifetime of its instance. The
// source is not started yet, unless a serving plugin shares it.
func newHeadless(s *stanza, l *lifetime) (*Headless, error) {
	source, release, err := acquire(s, l)
	if err != nil {
		return nil, err
	}
	h := &Headless{
		Fall:          s.fall,
		zones:         records.NewZones(s.zones).WithExternal(s.external...).WithClustersets(s.clusterset...),
		ptrZone:       s.ptrZone(),
		ttl:           s.ttl,
		denial:        s.denial,
		authoritative: s.authoritative,
		zonal:         s.config.Zonal,
		explain:       s.explain,
		whyLimiter:    newWhyLimiter(),
		randomStart:   rand.Uint64,
		fastPath:      s.fastPath,
		trie:          source.tries.Services,
		imports:       source.tries.Imports,
		source:        source,
		release:       release,
	}
	for i := range h.zones {
		h.soaNames = append(h.soaNames, soaNames(h.zones[i].Name))
	}
	l.add(h)
	return h, nil
}

// start prepares the plugin to serve. The server opens its sockets once the start of every plugin
// has returned nil.
func (h *Headless) start(s *stanza, config *dnsserver.Config, l *lifetime) error {
	h.delegate = config.Handler("kubernetes") != nil
	h.metadata = config.Handler("metadata") != nil
	h.warnChain(s, config)
	if owned := h.ownedZones(); len(owned) > 0 {
		if err := h.startAuthority(config, owned); err != nil {
			return err
		}
	}
	l.startSources()
	return h.awaitSync(l, s.startupTimeout)
}

// ownedZones returns the zones that the plugin is authoritative for.
func (h *Headless) ownedZones() (owned records.Zones) {
	for i := range h.zones {
		if h.owns(&h.zones[i]) {
			owned = append(owned, h.zones[i])
		}
	}
	return owned
}

// startAuthority prepares the plugin to answer for whole zones: it finds the addresses of
// their name server, and starts to notify their secondaries.
func (h *Headless) startAuthority(config *dnsserver.Config, owned records.Zones) error {
	var err error
	if h.serverAddrs, err = serverAddresses(config.ListenHosts); err != nil {
		return fmt.Errorf("find the addresses of the server: %w", err)
	}
	if t, ok := config.Handler("transfer").(*transfer.Transfer); ok {
		h.transfers = true
		h.notifier = startNotifier(t.Notify, owned, h.trieOf)
		h.source.addNotifier(h.notifier)
	}
	return nil
}

// stop stops notifications and releases the index of clients and the source. It may be called more than once.
func (h *Headless) stop() {
	if h.notifier != nil {
		h.source.removeNotifier(h.notifier)
		h.notifier.stop()
	}
	if h.releaseClients != nil {
		h.releaseClients()
	}
	h.release()
}

// awaitSync waits for the first sync of the source. It waits no longer than the timeout, which
// counts from the start of the lifetime's sources. If the source is not synced by then:
//
//   - A reload fails if it adds the source, as the old instance can answer and the new one can't.
//   - Otherwise the server starts with a warning, and can answer for other zones meanwhile.
func (h *Headless) awaitSync(l *lifetime, timeout time.Duration) error {
	select {
	case <-h.source.informer.Synced():
		return nil
	case <-time.After(time.Until(l.started.Add(timeout))):
	}
	if h.source.synced() {
		return nil
	}
	if l.usesAlone(h.source) && l.replacesServing() {
		return fmt.Errorf("reload: not every kind of object was listed within startup_timeout, %s; the old Corefile stays in force", timeout)
	}
	log.Warningf("starting before the first sync: not every kind of object was listed within %s; %s", timeout, built)
	return nil
}

// parse returns the one stanza of a server block.
func parse(c *caddy.Controller) (*stanza, error) {
	c.Next() // the plugin's name
	s, err := parseStanza(c)
	if err == nil && c.Next() {
		err = plugin.ErrOnce
	}
	return s, err
}

func parseStanza(c *caddy.Controller) (*stanza, error) {
	s := &stanza{
		ttl:            5,
		explain:        true,
		startupTimeout: 5 * time.Second,
		places:         map[string]string{pluginName: place(c)},
	}
	s.config.SnapshotInterval = time.Minute
	s.config.Cluster.UserAgent = built.userAgent()
	if err := s.parseZones(c); err != nil {
		return nil, s.errorAt(pluginName, err)
	}
	for c.NextBlock() {
		directive, first := c.Val(), s.places[c.Val()]
		s.places[directive] = place(c)
		if first != "" {
			return nil, s.errorAt(directive, fmt.Errorf("given twice, first at %s", first))
		}
		if err := s.setDirective(c, directive, c.RemainingArgs()); err != nil {
			return nil, s.errorAt(directive, err)
		}
	}
	if s.places["denial"] == "" {
		s.denial.ttl = s.ttl
	}
	if err := s.checkCombination(); err != nil {
		return nil, err
	}
	if err := s.settleZones(); err != nil {
		return nil, err
	}
	s.warnUnreachable(c)
	return s, nil
}
