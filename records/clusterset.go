package records

import (
	"cmp"
	"strings"
)

// A clusterset has the services of several clusters (Kubernetes Enhancement Proposal 1645). A host
// there is a label and the id of a cluster: HOST.CLUSTER, where CLUSTER may be several labels. That
// pair is the label of the host, so nothing else in the package tells the hosts of clusters apart.
// A snapshot also counts the hosts of each cluster, as the names of clusters are between those of
// hosts and the service.

// maxClusterID is the most bytes of the id of a cluster, as of any RFC 1123 subdomain in Kubernetes.
const maxClusterID = 253

// NewClusterset returns an empty trie for the zones of a clusterset ([Zone.Clusterset]). The
// endpoints in it are those of clusters, which [Endpoint.Zone] names. It has neither reverse names
// nor zonal names.
func NewClusterset() *Trie {
	t := New()
	t.clusterset = true
	return t
}

// IsClusterID reports whether a cluster may have the id: an RFC 1123 subdomain in lower case.
func IsClusterID(id string) bool {
	if len(id) > maxClusterID {
		return false
	}
	for label := range strings.SplitSeq(id, ".") {
		if len(label) == 0 || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// hostInCluster returns the label of a host in a cluster. A withheld endpoint may have no label.
func hostInCluster(host, cluster string) string {
	if host == "" {
		return ""
	}
	return host + "." + cluster
}

// isNested reports whether the name of the target is below that of a cluster with a dotted id.
func (t resolvedTarget) isNested() bool { return strings.Count(t.label, ".") > 1 }

// cluster is the id of a cluster. It sorts by the last label first, so that the clusters below a
// name are next to each other.
type cluster string

func (c cluster) compare(d cluster) int { return compareFromEnd(c, d) }

// compareFromEnd compares two names by their last labels first.
func compareFromEnd[A, B ~string | ~[]byte](a A, b B) int {
	i, j := len(a)-1, len(b)-1
	for ; i >= 0 && j >= 0; i, j = i-1, j-1 {
		switch x, y := a[i], b[j]; {
		case x == y:
		case x == '.': // a label that ends sorts before one that goes on
			return -1
		case y == '.':
			return 1
		default:
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(i, j)
}

// isAtOrBelow reports whether the cluster is the one with the name, or has a dotted id below it.
func (c cluster) isAtOrBelow(name []byte) bool {
	above := len(c) - len(name)
	return above >= 0 && string(c[above:]) == string(name) && (above == 0 || c[above-1] == '.')
}

// clusterAt returns the cluster with the name, else one with an id below it, else "". Only clusters
// with a host count.
func (s *snapshot) clusterAt(name []byte) cluster {
	i := s.clusters.searchFunc(func(c cluster) bool { return compareFromEnd(c, name) < 0 })
	if i == s.clusters.len() {
		return ""
	}
	c := s.clusters.at(i)
	if id := c.item().key; id.isAtOrBelow(name) {
		return id
	}
	return ""
}

// mergeClusters counts the hosts that the deltas, which are sorted by host, add or remove. The hosts
// are merged already.
func (s *snapshot) mergeClusters(old *snapshot, deltas []delta[hostAddr]) {
	var changed []delta[cluster]
	for i := range deltas {
		label := deltas[i].key.host
		if i > 0 && label == deltas[i-1].key.host {
			continue
		}
		refs := int32(0)
		if old.hostNamed(label) != nil {
			refs--
		}
		if s.hostNamed(label) != nil {
			refs++
		}
		if _, id, _ := strings.Cut(label, "."); refs != 0 {
			changed = append(changed, delta[cluster]{cluster(id), refs})
		}
	}
	if changed = sum(changed); len(changed) > 0 {
		clusters := s.clusters.merge(changed)
		s.clusters = &clusters
	}
}

// findInCluster finds a name below the service of the node, in a clusterset.
func (n *Node) findInCluster(name *Name, service int) {
	labels := name.labelsBetween(service, name.Len()-1)
	if n.host = n.hostByLabel(labels); n.host != nil {
		n.found = true
		return
	}
	if n.clusterAt(labels) != "" {
		n.found, n.nonTerminal = true, true
		return
	}
	n.findPort(name, service)
}

// denyInCluster completes the denial d of a name below a service, in a clusterset. It returns the
// denial for the reason that denyZonal has.
func (n *Node) denyInCluster(d Denial, name *Name, service int, qtype uint16) Denial {
	last := name.Len() - 1 // the leftmost label
	switch {
	case last == service && isUnderscored(name.Label(last)):
		d.Protocol = name.Label(last)[1:]
	case last == service+1 && isUnderscored(name.Label(last)) && isUnderscored(name.Label(service)):
		d.Protocol, d.Port = name.Label(service)[1:], name.Label(last)[1:]
	case n.found && n.host == nil:
		d.Cause, d.Cluster = OnlyClusters, name.labelsBetween(service, last)
		return d
	case last == service:
		d.Cause, d.Cluster = NoCluster, name.Label(last)
		return d
	default:
		for i := service; i <= last; i++ {
			if isUnderscored(name.Label(i)) { // neither a host nor a cluster
				d.Cause = NoSuchName
				return d
			}
		}
		d.Host, d.Cluster = name.Label(last), name.labelsBetween(service, last-1)
	}
	switch {
	case n.found:
		n.denyType(&d, qtype)
	case d.Host == nil:
		n.denyPort(&d)
	default:
		n.denyHost(&d, name.labelsBetween(service, last))
		if d.Cause == NoHost && string(n.clusterAt(d.Cluster)) != string(d.Cluster) {
			d.Cause = NoCluster
		}
	}
	return d
}
