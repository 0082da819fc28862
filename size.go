package headless

import (
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// maxUDP is the size in bytes of the largest reply over UDP, whatever size the client offers.
// The source address of a query may be forged, and its owner then gets the reply. Besides, no
// datagram holds the 65,535 bytes that a client may offer.
const maxUDP = 4096

// sizeLimit returns how many bytes a reply may have, without the OPT record that the server
// adds to it.
func sizeLimit(state *request.Request) int {
	size := state.Size()
	if size > maxUDP && state.Proto() == "udp" {
		size = maxUDP
	}
	if opt := state.Req.IsEdns0(); opt != nil {
		size -= replyOPTSize(opt)
	}
	return size
}

// emptyOPTSize is the size of an OPT record without options (RFC 6891, section 6.1.2).
const emptyOPTSize = 11

// replyOPTSize returns the size of the OPT record of a reply. The server sends back the
// client's record with those options that a plugin has registered.
func replyOPTSize(opt *dns.OPT) int {
	size := emptyOPTSize
	for _, option := range opt.Option {
		if edns.SupportedOption(option.Option()) {
			alone := dns.OPT{Hdr: dns.RR_Header{Name: "."}, Option: []dns.EDNS0{option}}
			size += dns.Len(&alone) - emptyOPTSize
		}
	}
	return size
}
