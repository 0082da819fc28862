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
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer"
)

// stanza is the configuration of the plugin in one server block.
type stanza struct {
	zones          []string // of the cluster, and reverse zones
	external       []string // zones
	clusterset     []string // zones
	externalOnly   bool     // no zone of another kind is in the server block
	ttl            uint32   // seconds
	denial         denialOptions
	startupTimeout time.Duration
	fall           fall.F
	authoritative  bool
	explain        bool
	fastPath       bool
	config         informer.Config // of the source

	places map[string]string // FILE:LINE by directive, and of the plugin's name
}

// denialOptions are the arguments of the directive "denial".
type denialOptions struct {
	ttl  uint32 // seconds; that of the stanza unless given
	bare bool   // NXDOMAIN for a name that a pod may be about to get has no SOA record
}

// ptrZone returns the zone that PTR records point into: the first one that is not a reverse
// zone, or "".
func (s *stanza) ptrZone() string {
	i := slices.IndexFunc(s.zones, func(z string) bool { return !isReverse(z) })
	if i < 0 {
		return ""
	}
	return s.zones[i]
}

// isReverse reports whether the zone has reverse names.
func isReverse(zone string) bool {
	return dns.IsSubDomain("in-addr.arpa.", zone) || dns.IsSubDomain("ip6.arpa.", zone)
}

// place returns FILE:LINE of the current token.
func place(c *caddy.Controller) string { return fmt.Sprintf("%s:%d", c.File(), c.Line()) }

// errorAt adds a directive and its place to an error.
func (s *stanza) errorAt(directive string, err error) error {
	return fmt.Errorf("%s: %s: %w", s.places[directive], directive, err)
}

// parseZones takes the zones from the plugin's arguments, or from the server block if there
// are none.
func (s *stanza) parseZones(c *caddy.Controller) error {
	args := c.RemainingArgs()
	if err := checkZones(args); err != nil {
		return err
	}
	s.zones = plugin.OriginsFromArgsOrServerBlock(args, c.ServerBlockKeys)
	return nil
}

func checkZones(args []string) error {
	for _, arg := range args {
		if len(plugin.Host(arg).NormalizeExact()) == 0 {
			return fmt.Errorf("zone %q: neither a domain name nor a network", arg)
		}
	}
	return nil
}

// addZones adds the arguments of a directive to the zones of one kind, which have no reverse names.
func (s *stanza) addZones(kind *[]string, args []string) error {
	if err := checkZones(args); err != nil {
		return err
	}
	for _, arg := range args {
		for _, zone := range plugin.Host(arg).NormalizeExact() {
			switch {
			case isReverse(zone):
				return fmt.Errorf("zone %q: a reverse zone has no names of services", zone)
			case slices.Contains(*kind, zone):
				return fmt.Errorf("zone %q: given twice", zone)
			}
			*kind = append(*kind, zone)
		}
	}
	return nil
}

// settleZones gives each zone one kind. Zones of "multicluster" may also be among those of the
// plugin, as the kubernetes plugin wants it.
func (s *stanza) settleZones() error {
	s.zones = slices.DeleteFunc(s.zones, func(zone string) bool { return slices.Contains(s.clusterset, zone) })
	if len(s.zones) > 0 && s.ptrZone() == "" || len(s.zones)+len(s.clusterset) == 0 {
		return s.errorAt(pluginName, fmt.Errorf("zones %q: at least one must not be a reverse zone", s.zones))
	}
	for _, zone := range s.external {
		switch {
		case slices.Contains(s.zones, zone):
			return s.errorAt("external", fmt.Errorf("zone %q: also a zone of the cluster; name those behind \"headless\"", zone))
		case slices.Contains(s.clusterset, zone):
			return s.errorAt("external", fmt.Errorf("zone %q: also a zone of \"multicluster\" at %s", zone, s.places["multicluster"]))
		}
	}
	return nil
}

// setDirective parses one line of the stanza.
func (s *stanza) setDirective(c *caddy.Controller, directive string, args []string) error {
	if option, ok := copiedOptions[directive]; ok {
		return s.setCopied(directive, option, args)
	}
	if want, ok := directives[directive]; !ok {
		return unknownDirective(directive)
	} else if err := want.check(args); err != nil {
		return err
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
	case "hosts":
		config.Addressed = args[0] == "addressed"
		if !config.Addressed && args[0] != "ready" {
			return fmt.Errorf("%q: neither \"ready\" nor \"addressed\"", args[0])
		}
	case "endpoint_pod_names":
		config.PodNames = true
	case "zonal":
		config.Zonal = true
	case "explain":
		s.explain = args[0] == "on"
		if !s.explain && args[0] != "off" {
			return fmt.Errorf("%q: neither \"on\" nor \"off\"", args[0])
		}
	case "authoritative":
		s.authoritative = true
	case "external":
		return s.addZones(&s.external, args)
	case "multicluster":
		config.MultiCluster = true
		return s.addZones(&s.clusterset, args)
	case "fastpath":
		s.fastPath = true
	case "snapshot":
		return s.setSnapshot(c, args)
	case "ttl":
		return parseTTL(args[0], &s.ttl)
	case "denial":
		if s.denial.bare = len(args) == 2; s.denial.bare && args[1] != "bare" {
			return fmt.Errorf("%q: not \"bare\"", args[1])
		}
		return parseTTL(args[0], &s.denial.ttl)
	case "startup_timeout":
		return s.setStartupTimeout(args[0])
	case "fallthrough":
		s.fall.SetZonesFromArgs(args)
		return checkZones(args)
	}
	return nil
}

// fromRoot returns a relative path below the folder of the root plugin, and an absolute path
// unchanged.
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

func parseTTL(arg string, seconds *uint32) error {
	ttl, err := strconv.ParseUint(arg, 10, 32)
	if err != nil || ttl > 3600 {
		return fmt.Errorf("%q: not a number of seconds from 0 to 3600", arg)
	}
	*seconds = uint32(ttl)
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

// arguments describes the arguments of a directive.
type arguments struct {
	least, most int // how many
	what        string
}

const unlimited = 1 << 16

// check returns an error unless there are as many arguments as the directive needs.
func (a arguments) check(args []string) error {
	if len(args) < a.least || len(args) > a.most {
		return fmt.Errorf("needs %s, given %s", a.what, quoteArgs(args))
	}
	return nil
}

// directives are the directives of a stanza. The documentation lists the same ones.
var directives = map[string]arguments{
	"endpoint":           {1, 1, "one URL"},
	"tls":                {3, 3, "three files: CERT KEY CACERT"},
	"kubeconfig":         {1, 2, "a file and at most a context"},
	"manifests":          {1, unlimited, "at least one file or folder"},
	"namespaces":         {1, unlimited, "at least one namespace"},
	"namespace_labels":   {1, unlimited, "a label selector"},
	"labels":             {1, unlimited, "a label selector"},
	"endpoints":          {1, 1, "pods or slices"},
	"hosts":              {1, 1, "ready or addressed"},
	"endpoint_pod_names": {0, 0, "no argument"},
	"zonal":              {0, 0, "no argument"},
	"explain":            {1, 1, "on or off"},
	"authoritative":      {0, 0, "no argument"},
	"external":           {1, unlimited, "at least one zone"},
	"multicluster":       {1, unlimited, "at least one zone"},
	"fastpath":           {0, 0, "no argument"},
	"snapshot":           {1, 2, "a file and at most a duration"},
	"ttl":                {1, 1, "one number of seconds"},
	"denial":             {1, 2, "a number of seconds and at most \"bare\""},
	"startup_timeout":    {1, 1, "one duration"},
	"fallthrough":        {0, unlimited, "zones, or none for all"},
}
