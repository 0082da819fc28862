// Package fastudp answers DNS queries over UDP in batches, on a socket beside the one that a
// CoreDNS server opens itself. It spends no goroutine and no allocation on a query that it
// answers. This is how a query travels:
//
//   - Both sockets are bound to the same address with SO_REUSEPORT, which makes them a group.
//     The kernel chooses one of them for each packet.
//   - [Conn.Steer] gives the kernel a small program for that choice. It sends what looks like
//     a plain query to the [Conn] and everything else to the server's own socket.
//   - [Conn.ReadFrom] receives up to a batch of packets in one system call. The [Answerer]
//     replies to each query into a buffer, and one system call sends the replies.
//   - A query without such a reply is returned by ReadFrom. The caller of ReadFrom is an
//     ordinary dns.Server, whose handler is the one of the CoreDNS server. It answers through
//     [Conn.WriteTo].
//
// So each query gets a reply from either way, and which one is only a matter of speed.
//
// To end, call [Conn.Unsteer] while the dns.Server runs, and then its ShutdownContext.
package fastudp

import (
	"errors"
	"time"
)

// Answerer answers queries. One goroutine uses it at a time.
type Answerer interface {
	// Answer appends the reply to buf, which is empty and whose capacity it must not exceed.
	// It returns nil if the query is for the server. v6 reports whether the address of the
	// client is IPv6 and not a mapped IPv4 address. received is when the batch was read.
	// Query and buf are valid until Answer returns. A query has a whole header at least.
	Answer(query, buf []byte, v6 bool, received time.Time) []byte
}

// MaxReply is the size up to which replies are meant to be. The buffer of a reply has twice
// that capacity, as scratch space.
const MaxReply = 4096

// ErrOtherProcess is the error of [Conn.Steer] if queries don't arrive at the Conn.
var ErrOtherProcess = errors.New("another process has a socket on the address, or a firewall drops the probe")
