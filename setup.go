package headless

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer"
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
	c.OnStartup(func() error {
		if err := h.start(s, dnsserver.GetConfig(c), l); err != nil {
			return plugin.Error(pluginName, err)
		}
		return nil
	})
	c.OnShutdown(l.onShutdown)
	c.OnFinalShutdown(l.onFinalShutdown)
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		h.Next = next
		return h
	})
	return nil
}

// newHeadless returns the plugin that a stanza of an instance describes. Its source
// is not started yet, unless it is shared with a plugin that serves.
func newHeadless(s *stanza, l *lifetime) (*Headless, error) {
	source, release, err := acquire(s, l)
	if err != nil {
		return nil, err
	}
	h := &Headless{
		Fall:          s.fall,
		zones:         records.NewZones(s.zones),
		ptrZone:       s.primary(),
		ttl:           s.ttl,
		authoritative: s.authoritative,
		trie:          source.trie,
		source:        source,
		release:       release,
	}
	l.add(h)
	return h, nil
}

// start makes the plugin ready to serve: when it returns nil, the server may open
// its sockets.
func (h *Headless) start(s *stanza, config *dnsserver.Config, l *lifetime) error {
	announce()
	h.delegate = config.Handler("kubernetes") != nil
	h.checkChain(s, config)
	if h.authoritative {
		if err := h.own(config); err != nil {
			return err
		}
	}
	l.startSources()
	return h.awaitSync(l, s.startupTimeout)
}

// own makes the plugin the owner of its zones.
func (h *Headless) own(config *dnsserver.Config) error {
	var err error
	if h.serverAddrs, err = serverAddresses(config.ListenHosts); err != nil {
		return fmt.Errorf("find the addresses of the server: %w", err)
	}
	if t, ok := config.Handler("transfer").(*transfer.Transfer); ok {
		h.transfers = true
		h.notifier = startNotifier(t.Notify, h.zones, h.trie)
		h.source.addNotifier(h.notifier)
	}
	return nil
}

// stop ends notifications and releases the source. It may be called more than once.
func (h *Headless) stop() {
	if h.notifier != nil {
		h.source.removeNotifier(h.notifier)
		h.notifier.stop()
	}
	h.release()
}

// awaitSync waits until there is something to serve, for at most the timeout from
// the start of the instance's sources on. After that, a reload with a new source
// fails: the old instance answers what the new one can't. A server that starts goes on,
// as one that never starts would help nobody.
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
	log.Warningf("starting before the first sync: not every kind of object was listed within %s", timeout)
	return nil
}

// stanza is what a Corefile says of the plugin.
type stanza struct {
	zones          []string
	ttl            uint32 // seconds
	startupTimeout time.Duration
	fall           fall.F
	authoritative  bool
	config         informer.Config // of the source

	places map[string]string // FILE:LINE of each directive, and of the plugin's name
}

// primary is the zone that PTR records point into: the first that is not a
// reverse zone.
func (s *stanza) primary() string {
	i := slices.IndexFunc(s.zones, func(z string) bool {
		return !dns.IsSubDomain("in-addr.arpa.", z) && !dns.IsSubDomain("ip6.arpa.", z)
	})
	if i < 0 {
		return ""
	}
	return s.zones[i]
}

func parse(c *caddy.Controller) (*stanza, error) {
	c.Next() // the directive's own name
	s, err := parseStanza(c)
	if err == nil && c.Next() {
		err = plugin.ErrOnce
	}
	return s, err
}

func parseStanza(c *caddy.Controller) (*stanza, error) {
	s := &stanza{
		ttl:            5,
		startupTimeout: 5 * time.Second,
		places:         map[string]string{pluginName: place(c)},
	}
	s.config.SnapshotInterval = time.Minute
	s.config.Cluster.UserAgent = built.userAgent()
	if err := s.parseZones(c); err != nil {
		return nil, s.errorAt(pluginName, err)
	}
	for c.NextBlock() {
		directive, before := c.Val(), s.places[c.Val()]
		s.places[directive] = place(c)
		if before != "" {
			return nil, s.errorAt(directive, fmt.Errorf("given twice, first at %s", before))
		}
		if err := s.set(c, directive, c.RemainingArgs()); err != nil {
			return nil, s.errorAt(directive, err)
		}
	}
	if err := s.checkCombination(); err != nil {
		return nil, err
	}
	s.checkReach(c)
	return s, nil
}

// place returns the place of the current token.
func place(c *caddy.Controller) string { return fmt.Sprintf("%s:%d", c.File(), c.Line()) }

// errorAt adds to an error in which directive it is, and where that stands.
func (s *stanza) errorAt(directive string, err error) error {
	return fmt.Errorf("%s: %s: %w", s.places[directive], directive, err)
}

// parseZones takes the zones from the directive's arguments, or else those of
// the server block.
func (s *stanza) parseZones(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if err := checkZones(args); err != nil {
		return err
	}
	s.zones = plugin.OriginsFromArgsOrServerBlock(args, c.ServerBlockKeys)
	if s.primary() == "" {
		return fmt.Errorf("zones %q: at least one must not be a reverse zone", s.zones)
	}
	return nil
}

func checkZones(args []string) error {
	for _, arg := range args {
		if len(plugin.Host(arg).NormalizeExact()) == 0 {
			return fmt.Errorf("zone %q: not a domain name nor a network", arg)
		}
	}
	return nil
}

// set takes one line of the stanza.
func (s *stanza) set(c *caddy.Controller, directive string, args []string) error {
	if want, ok := arity[directive]; !ok {
		return unknownDirective(directive)
	} else if len(args) < want.least || len(args) > want.most {
		return fmt.Errorf("needs %s, given %s", want, quoted(args))
	}
	config := &s.config
	switch directive {
	case "endpoint":
		config.Cluster.Endpoint = args[0]
		return checkEndpoint(args[0])
	case "tls":
		config.Cluster.Cert, config.Cluster.Key, config.Cluster.CA = args[0], args[1], args[2]
	case "kubeconfig":
		config.Cluster.Kubeconfig = args[0]
		if len(args) == 2 {
			config.Cluster.Context = args[1]
		}
	case "manifests":
		for _, path := range args {
			config.Manifests = append(config.Manifests, fromRoot(c, path))
		}
	case "namespaces":
		config.Namespaces = args
		return checkNamespaces(args)
	case "namespace_labels":
		config.NamespaceLabels = strings.Join(args, " ")
		return checkSelector(config.NamespaceLabels)
	case "labels":
		config.Labels = strings.Join(args, " ")
		return checkSelector(config.Labels)
	case "endpoints":
		config.Slices = args[0] == "slices"
		if !config.Slices && args[0] != "pods" {
			return fmt.Errorf("%q: neither \"pods\" nor \"slices\"", args[0])
		}
	case "endpoint_pod_names":
		config.PodNames = true
	case "authoritative":
		s.authoritative = true
	case "snapshot":
		return s.setSnapshot(c, args)
	case "ttl":
		return s.setTTL(args[0])
	case "startup_timeout":
		return s.setStartupTimeout(args[0])
	case "fallthrough":
		s.fall.SetZonesFromArgs(args)
		return checkZones(args)
	}
	return nil
}

// fromRoot is a path below the folder of the root plugin, unless it is absolute.
func fromRoot(c *caddy.Controller, path string) string {
	if root := dnsserver.GetConfig(c).Root; root != "" && !filepath.IsAbs(path) {
		return filepath.Join(root, path)
	}
	return path
}

func checkNamespaces(names []string) error {
	for _, name := range names {
		if err := informer.CheckNamespace(name); err != nil {
			return err
		}
	}
	return nil
}

func checkSelector(expression string) error {
	_, err := informer.ParseSelector(expression)
	return err
}

func (s *stanza) setTTL(arg string) error {
	ttl, err := strconv.ParseUint(arg, 10, 32)
	if err != nil || ttl > 3600 {
		return fmt.Errorf("%q: not a number of seconds from 0 to 3600", arg)
	}
	s.ttl = uint32(ttl)
	return nil
}

func (s *stanza) setStartupTimeout(arg string) error {
	timeout, err := time.ParseDuration(arg)
	if err != nil {
		return fmt.Errorf("%q: not a duration, such as 5s", arg)
	}
	if timeout < 0 {
		return fmt.Errorf("%q: must not be negative", arg)
	}
	s.startupTimeout = timeout
	return nil
}

func (s *stanza) setSnapshot(c *caddy.Controller, args []string) error {
	s.config.Snapshot = fromRoot(c, args[0])
	if err := informer.CheckSnapshot(s.config.Snapshot); err != nil {
		return err
	}
	if len(args) == 1 {
		return nil
	}
	interval, err := time.ParseDuration(args[1])
	if err != nil {
		return fmt.Errorf("%q: not a duration, such as 1m", args[1])
	}
	if interval < time.Second {
		return fmt.Errorf("%q: less than a second", args[1])
	}
	s.config.SnapshotInterval = interval
	return nil
}

// arguments is how many arguments a directive takes, and what they are.
type arguments struct {
	least, most int
	what        string
}

func (a arguments) String() string { return a.what }

const unlimited = 1 << 16

var arity = map[string]arguments{
	"endpoint":           {1, 1, "one URL"},
	"tls":                {3, 3, "three files: CERT KEY CACERT"},
	"kubeconfig":         {1, 2, "a file and at most a context"},
	"manifests":          {1, unlimited, "at least one file or folder"},
	"namespaces":         {1, unlimited, "at least one namespace"},
	"namespace_labels":   {1, unlimited, "a label selector"},
	"labels":             {1, unlimited, "a label selector"},
	"endpoints":          {1, 1, "pods or slices"},
	"endpoint_pod_names": {0, 0, "no argument"},
	"authoritative":      {0, 0, "no argument"},
	"snapshot":           {1, 2, "a file and at most a duration"},
	"ttl":                {1, 1, "one number of seconds"},
	"startup_timeout":    {1, 1, "one duration"},
	"fallthrough":        {0, unlimited, "zones, or none for all"},
}
