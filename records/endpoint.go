package records

import "net/netip"

// Endpoint is an address that a service has, or would have if the endpoint were not
// withheld.
type Endpoint struct {
	// Host is the label below the service, in lower case. It may be empty in a
	// withheld endpoint.
	Host string
	// Hostname reports that Host is the hostname of the pod. Otherwise Host was
	// generated from the pod's address or name. A PTR answer prefers hostnames.
	Hostname bool
	// Addr is the address. It may be the zero Addr in a withheld endpoint.
	Addr netip.Addr
	// Ports are the ports that the endpoint listens on.
	Ports *PortList
	// Withheld is the reason why no record has the endpoint, or Ready.
	Withheld Reason
	// Addressed, of an endpoint that is NotReady, means that its host has the address all the
	// same while the host has no ready endpoint. Nothing else has it: neither the service's own
	// name nor an SRV record. Of other endpoints it has no meaning.
	Addressed bool
	// Zone, of a ready endpoint, is its topology zone in lower case, or empty. Zonal names have
	// the endpoints of one zone. In a clusterset, it is the id of the endpoint's cluster in lower
	// case, also of an endpoint that is withheld.
	Zone string
}

// Port is a port of an endpoint, under the name that the service gives it.
type Port struct {
	Name     string // in lower case; a port without a name has no DNS name
	Protocol string // in lower case: tcp, udp or sctp
	Number   uint16
}

// Reason is why an endpoint is withheld.
type Reason uint8

// An endpoint has one reason: the first of this list that applies. Of several endpoints with one
// host label, the host has the first reason, too: a pod that may become ready comes before one that
// never has the name.
const (
	Ready       Reason = iota // it is not withheld
	Terminating               // its pod is being deleted
	NoAddress                 // its pod has no IP yet
	NotReady                  // its pod has an IP in a family of the service, and is not ready
	WrongFamily               // its pod has no IP in a family of the service
	reasons
)

// Counts are numbers of endpoints by reason.
type Counts [reasons]int

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case Ready:
		return "ready"
	case Terminating:
		return "terminating"
	case NoAddress:
		return "no address yet"
	case WrongFamily:
		return "no address in a family of the service"
	case NotReady:
		return "not ready"
	}
	return "unknown"
}
