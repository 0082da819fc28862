package records

import "github.com/miekg/dns"

// Denial is why a name at or below a headless service has no records of a type.
type Denial struct {
	Cause Cause
	// Namespace, of NoService, and Service and Host are labels of the name asked, in lower case. They share its memory.
	// Host is empty if the name is that of the service or of a port.
	Namespace, Service, Host []byte
	// Cluster, in a clusterset, is what the name has between Host and Service: the id of a cluster, or
	// the end of one. It is empty at the name of the service or of a port.
	Cluster []byte
	// Port and Protocol are those of the name asked, without their underscores. Port is
	// empty if the name is that of a protocol.
	Port, Protocol []byte
	Zone           []byte // the topology zone of a zonal name that does not have all endpoints
	Reason         Reason // of HostWithheld
	Subdomain      string // of HostElsewhere: that of a pod
	Counts         Counts // of the service
}

// Cause is the kind of a denial.
type Cause uint8

// The causes of a denial. Those up to NoSuchName are of names that do not exist, except where
// they say otherwise.
const (
	// Unexplained: no object of Kubernetes could make the name exist.
	Unexplained Cause = iota
	// NoService: no headless service is at the name or above it.
	NoService
	// NoEndpoint: the service has no ready endpoint. Counts has the others. If the name exists,
	// hosts below it have addresses.
	NoEndpoint
	// HostWithheld: all endpoints with the host label are withheld. If the name exists, they are
	// addressed, and SRV records were asked for.
	HostWithheld
	// HostElsewhere: the label is the hostname of a pod whose subdomain is not the name of
	// the service.
	HostElsewhere
	// NoHost: no endpoint has the label. In a clusterset, the cluster has other hosts.
	NoHost
	// NoCluster: the cluster has no ready endpoint, and no addressed one. Host is empty if the name
	// is that of the cluster.
	NoCluster
	// NoPort: the service has no port with the name and the protocol.
	NoPort
	// UnnamedPort: the service has a port with the protocol, but without a name.
	UnnamedPort
	// NoSuchName: the name has the form of neither a host nor a port.
	NoSuchName

	// NoIPv4 and NoIPv6: the host, or the service, has addresses of the other family only.
	NoIPv4
	NoIPv6
	// NoTargets: the host, or the service, has no ports.
	NoTargets
	// OtherTypes: the host, or the service, has A, AAAA and SRV records only.
	OtherTypes
	// NoZone: the topology zone has no ready endpoint, or none with the port.
	NoZone
	// OnlyZones: the name is the parent of zonal names, and has no records.
	OnlyZones
	// OnlySRV: the name is that of a port.
	OnlySRV
	// OnlyPorts: the name is the parent of names of ports, and has no records.
	OnlyPorts
	// OnlyClusters: the name is that of a cluster, or the end of the id of one, and has no records.
	OnlyClusters
	// OnlyPTR: the name is a reverse name.
	OnlyPTR
)

// Passing reports whether the denial may end by itself, without a change of the Service or of what
// a pod asks for: a pod of the name becomes ready, gets an address, is replaced, or is created. The
// pod may be the first one of its cluster. The name of that cluster, which then exists, counts too: a
// resolver that minimizes names asks for it first (RFC 9156), and what it hears holds for the pod.
func (d *Denial) Passing() bool {
	switch d.Cause {
	case NoEndpoint, NoHost, NoCluster:
		return true
	case HostWithheld:
		return d.Reason != WrongFamily
	default:
		return false
	}
}

// Denial returns why [Trie.Find] reports name as [Missing], or why the node that it found
// has no records of the type. It reads the snapshot that the lookup found, so it can't
// contradict the reply. The name is one of the zone.
func (n *Node) Denial(name *Name, z *Zone, qtype uint16) Denial {
	if n.snapshot == nil {
		if n.names != nil || n.nameRange != nil {
			return Denial{Cause: OnlyPTR}
		}
		return denyOutside(name, z)
	}
	at, _ := z.Service(name)
	d := Denial{Service: name.Label(at + 1), Counts: n.counts.ints()}
	at += 2
	if n.zonal {
		return n.denyZonal(d, name, at, qtype)
	}
	labels := name.Len() - at // below the service
	if labels > 0 && n.clusters != nil {
		return n.denyInCluster(d, name, at, qtype)
	}
	switch {
	case labels == 1 && !isUnderscored(name.Label(at)):
		d.Host = name.Label(at)
	case labels == 1:
		d.Protocol = name.Label(at)[1:]
	case labels == 2 && isUnderscored(name.Label(at)) && isUnderscored(name.Label(at+1)):
		d.Protocol, d.Port = name.Label(at)[1:], name.Label(at + 1)[1:]
	case labels > 0:
		d.Cause = NoSuchName
		return d
	}
	switch {
	case n.found:
		n.denyType(&d, qtype)
	case d.Host != nil:
		n.denyHost(&d, d.Host)
	default:
		n.denyPort(&d)
	}
	return d
}

// denyPort sets the cause that the service has no such port, or no endpoint at all.
func (n *Node) denyPort(d *Denial) {
	switch {
	case n.counts[Ready] == 0:
		d.Cause = NoEndpoint
	case n.portNamed(d.Protocol, nil) != nil:
		d.Cause = UnnamedPort
	default:
		d.Cause = NoPort
	}
}

// denyOutside returns the denial of a name that is neither a headless service nor below one.
func denyOutside(name *Name, z *Zone) Denial {
	at, ok := z.Service(name)
	if !ok {
		return Denial{}
	}
	return Denial{Cause: NoService, Namespace: name.Label(at), Service: name.Label(at + 1)}
}

// denyHost sets the cause that no host has the label.
func (n *Node) denyHost(d *Denial, label []byte) {
	w, ok := n.withheldHost(label)
	switch {
	case !ok:
		d.Cause = NoHost
	case w.reason == stray:
		d.Cause, d.Subdomain = HostElsewhere, w.subdomain
	default:
		d.Cause, d.Reason = HostWithheld, w.reason
	}
}

// denyType sets the cause that a name that exists has no records of a type.
func (n *Node) denyType(d *Denial, qtype uint16) {
	switch {
	case n.nonTerminal:
		d.Cause = OnlyPorts
	case n.port != nil:
		d.Cause = OnlySRV
	case qtype != dns.TypeA && qtype != dns.TypeAAAA && qtype != dns.TypeSRV:
		d.Cause = OtherTypes
	case n.host == nil && n.counts[Ready] == 0:
		d.Cause = NoEndpoint
	case qtype == dns.TypeA:
		d.Cause = NoIPv4
	case qtype == dns.TypeAAAA:
		d.Cause = NoIPv6
	case n.host != nil && n.shows(n.host.id):
		d.Cause, d.Reason = HostWithheld, NotReady
	default:
		d.Cause = NoTargets
	}
}

// isUnderscored reports whether a label has the form of a protocol or a port.
func isUnderscored(label []byte) bool { return len(label) > 1 && label[0] == '_' }
