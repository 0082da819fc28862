package headless

import (
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// maxUDP is the size in bytes of the largest reply over UDP, whatever size the
// client offers: a query with a forged sender makes the server send that much to
// somebody else, and no datagram holds the 65,535 bytes that a client may offer.
const maxUDP = 4096

// room returns the size in bytes of the largest reply, without the OPT record that
// the server adds to it.
func room(state *request.Request) int {
	size := state.Size()
	if size > maxUDP && state.Proto() == "udp" {
		size = maxUDP
	}
	if opt := state.Req.IsEdns0(); opt != nil {
		size -= replyOPT(opt)
	}
	return size
}

// optSize is the size of an OPT record without options (RFC 6891, section 6.1.2).
const optSize = 11

// replyOPT returns the size of the OPT record of a reply. It is the client's, less
// the options that no plugin has registered.
func replyOPT(opt *dns.OPT) int {
	size := optSize
	for _, option := range opt.Option {
		if edns.SupportedOption(option.Option()) {
			alone := dns.OPT{Hdr: dns.RR_Header{Name: "."}, Option: []dns.EDNS0{option}}
			size += dns.Len(&alone) - optSize
		}
	}
	return size
}
