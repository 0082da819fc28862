package headless

import (
	"context"
	"strings"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/request"

	"github.com/headless-dns/headless/records"
)

// The labels of the metadata. All but the last two are set before the first plugin of the chain,
// so view and rewrite see them. The last two are set while this plugin answers; log sees them.
const (
	metaZone         = pluginName + "/zone"      // the zone of the name, without the dot at its end
	metaKind         = pluginName + "/kind"      // service, endpoint, port, cluster, reverse or explanation, else empty
	metaNamespace    = pluginName + "/namespace" // of the service
	metaService      = pluginName + "/service"
	metaEndpoint     = pluginName + "/endpoint"      // the label of a host
	metaPortName     = pluginName + "/port-name"     // without the underscore
	metaProtocol     = pluginName + "/protocol"      // without the underscore
	metaTopologyZone = pluginName + "/topology-zone" // of a zonal name
	metaCluster      = pluginName + "/cluster"       // in a clusterset

	metaOutcome = pluginName + "/outcome" // as in answers_total
	metaReason  = pluginName + "/reason"  // why an answer is negative
)

// Metadata implements the metadata.Provider interface. Of the name it looks at the form alone: an
// empty kind says that the name has not the form of a name of a headless service, another kind does
// not say that there is one.
func (h *Headless) Metadata(ctx context.Context, state request.Request) context.Context {
	h.setClient(ctx, &state)
	qname := state.Req.Question[0].Name
	zone := h.zones.Match(qname)
	if zone == nil {
		return ctx
	}
	var name records.Name
	name.Fold(qname)
	why := h.explain && isWhy(&name, zone)
	if why {
		name.Fold(qname[len(whyLabel)+1:])
	}
	values := h.nameMetadata(&name, zone)
	if why {
		values[metaKind] = "explanation"
	}
	for label, value := range values {
		metadata.SetValueFunc(ctx, label, func() string { return value })
	}
	return ctx
}

// nameMetadata returns the metadata of a name in a zone.
func (h *Headless) nameMetadata(name *records.Name, zone *records.Zone) map[string]string {
	out := map[string]string{metaZone: strings.TrimSuffix(zone.Name, "."), metaKind: ""}
	if _, ok := name.Reverse(); ok && zone.HasReverse() {
		out[metaKind] = "reverse"
		return out
	}
	s, ok := h.subjectOf(name, zone)
	switch {
	case !ok:
		return out
	case s.Host != "":
		out[metaKind] = "endpoint"
	case s.Protocol != "":
		out[metaKind] = "port"
	case s.Cluster != "":
		out[metaKind] = "cluster"
	default:
		out[metaKind] = "service"
	}
	out[metaNamespace], out[metaService], out[metaEndpoint] = s.Namespace, s.Service, s.Host
	out[metaPortName], out[metaProtocol], out[metaTopologyZone], out[metaCluster] = s.Port, s.Protocol, s.Zone, s.Cluster
	return out
}

// count counts a query by its outcome, and sets the outcome in the metadata.
func (h *Headless) count(ctx context.Context, o *outcome) {
	o.Inc()
	if h.metadata {
		metadata.SetValueFunc(ctx, metaOutcome, o.name)
	}
}
