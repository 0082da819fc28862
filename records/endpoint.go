package records

import "net/netip"

// Endpoint is an address that a service has, or would have but for a reason.
type Endpoint struct {
	// Host is the label below the service, in lower case. A withheld endpoint
	// that has none yet leaves it empty.
	Host string
	// Hostname tells that the pod was given Host, rather than Host being made
	// from its address or its name. A PTR record prefers such names.
	Hostname bool
	// Addr is the address; of a withheld endpoint, it may be none.
	Addr netip.Addr
	// Ports are those that the endpoint itself listens on.
	Ports *PortList
	// Withheld is why the endpoint does not answer.
	Withheld Reason
}

// Port is a port of an endpoint, by the name that the service gives it.
type Port struct {
	Name     string // in lower case; an unnamed port has no name of its own in DNS
	Protocol string // in lower case: tcp, udp or sctp
	Number   uint16
}

// Reason is why an endpoint that is known does not answer.
type Reason uint8

// An endpoint has one reason at a time, the first that holds of this list.
const (
	Ready       Reason = iota // it answers
	Terminating               // its pod is being deleted
	NoAddress                 // its pod has no IP yet
	WrongFamily               // its pod has no IP in a family of the service
	NotReady                  // its pod is not ready
	reasons
)

// Counts are numbers of endpoints by reason.
type Counts [reasons]int

// String is the reason in words.
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
