package headless

import (
	"context"
	"net/netip"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer"
)

// The labels of the metadata about the client, whatever the name is.
const (
	metaClientNamespace = pluginName + "/client-namespace"
	metaClientPod       = pluginName + "/client-pod"
	metaClientNode      = pluginName + "/client-node"
	metaClientZone      = pluginName + "/client-zone"
	metaClientLabel     = pluginName + "/client-label/" // and the key of a label of the pod
)

// resolvConf has the search path of the server's host.
const resolvConf = "/etc/resolv.conf"

// startClients prepares the plugin to find clients, if the metadata plugin is in its server block
// or autopath asks this plugin.
func (h *Headless) startClients(c *caddy.Controller, s *stanza, l *lifetime) {
	config := dnsserver.GetConfig(c)
	completes := config.Handler("autopath") != nil && asksUs(c, l)
	if !completes && config.Handler("metadata") == nil {
		return
	}
	h.releaseClients = h.source.informer.IndexClients()
	if !completes {
		return
	}
	if s.config.Slices {
		s.warn("endpoints", "no pods are watched, so that \"autopath @headless\" completes no name; leave out \"endpoints\" or \"autopath\"")
	}
	h.search = readSearch(resolvConf)
}

// readSearch returns the search path of a resolv.conf, or nil if the file can't be read. It leaves
// out the root, which ends every search path.
func readSearch(file string) []string {
	config, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil
	}
	plugin.Zones(config.Search).Normalize()
	return slices.DeleteFunc(config.Search, func(domain string) bool { return domain == "." })
}

// asksUs reports whether autopath gets its search paths from this plugin. Its handler does not
// say, but the server block does.
func asksUs(c *caddy.Controller, l *lifetime) bool {
	block, err := blockOf(c, l)
	if err != nil {
		return true // an index that nobody reads does no harm
	}
	for _, t := range block.Tokens["autopath"] {
		if t.Text == "@"+pluginName {
			return true
		}
	}
	return false
}

// client returns who sent a query: a pod, or a node.
func (h *Headless) client(state *request.Request) (informer.Client, bool) {
	addr, err := netip.ParseAddr(state.IP())
	if err != nil {
		return informer.Client{}, false
	}
	return h.source.informer.Client(addr)
}

// setClient sets the metadata about the client.
func (h *Headless) setClient(ctx context.Context, state *request.Request) {
	client, ok := h.client(state)
	if !ok {
		return
	}
	for _, m := range [...]struct{ label, value string }{
		{metaClientNamespace, client.Namespace()}, {metaClientPod, client.Pod()}, {metaClientNode, client.Node()}, {metaClientZone, client.Zone()},
	} {
		if m.value != "" {
			metadata.SetValueFunc(ctx, m.label, func() string { return m.value })
		}
	}
	for key, value := range client.Labels {
		metadata.SetValueFunc(ctx, metaClientLabel+key, func() string { return printable(value) }) // a manifest may have any value
	}
}

// AutoPath implements the interface AutoPather of the autopath plugin. It returns the search path
// of the pod that sent a query, as kubelet writes it: for a name in the plugin's zones for the
// cluster, and if the pod is known. An empty domain ends it.
func (h *Headless) AutoPath(state request.Request) []string {
	zone := h.zones.Match(state.QName())
	if zone == nil || zone.External || zone.Clusterset || zone.Reverse { // nobody has them in a search path
		return nil
	}
	client, _ := h.client(&state)
	if client.Pod() == "" {
		return nil
	}
	services := "svc." + zone.Name
	search := []string{client.Namespace() + "." + services, services, zone.Name}
	if zone.Name == "." {
		search = []string{client.Namespace() + ".svc.", "svc."} // the root zone is the empty domain
	}
	return slices.Concat(search, h.search, []string{""})
}
