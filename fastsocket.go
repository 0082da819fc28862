package headless

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/fastudp"
)

// fastSocket is the socket of the fast path at an address. It opens after the server's own socket,
// when the server is about to serve the address. It closes with the last lifetime that uses it. So it
// outlives a reload, and no query in it is lost: the new plugin and the new server answer what the
// old ones have not read.
//
// While the socket is not open, the server answers every query on its own socket.
type fastSocket struct {
	addr string // as dnsserver.Server.Addr

	users []*lifetime // guarded by fastSockets.mu

	server atomic.Pointer[dnsserver.Server] // answers what the fast path does not

	mu       sync.Mutex
	answerer *fastAnswerer
	debug    bool
	conn     *fastudp.Conn // nil unless it is open
	library  *dns.Server   // reads conn
	retry    *time.Timer   // calls tryOpen after a failure; nil before the first one
	closed   bool
}

// The buffers of the socket are as large as the largest reply.
const _ = uint(fastudp.MaxReply - maxUDP)

// fastRetry is the time after which a socket that could not be opened is tried again: the other
// process on its address may have ended.
var fastRetry = time.Minute

// fastSockets are the sockets by address.
var fastSockets = struct {
	mu sync.Mutex
	at map[string]*fastSocket
}{at: make(map[string]*fastSocket)}

// reserveSockets makes l a user of the sockets at some addresses. They open later.
func (l *lifetime) reserveSockets(addrs []string) {
	fastSockets.mu.Lock()
	defer fastSockets.mu.Unlock()
	for _, addr := range addrs {
		s := fastSockets.at[addr]
		if s == nil {
			s = &fastSocket{addr: addr}
			fastSockets.at[addr] = s
		}
		if !slices.Contains(s.users, l) {
			s.users = append(s.users, l)
		}
	}
}

// releaseSockets ends the use of sockets by l, and closes those without another user.
func (l *lifetime) releaseSockets() {
	fastSockets.mu.Lock()
	var unused []*fastSocket
	for addr, s := range fastSockets.at {
		if i := slices.Index(s.users, l); i >= 0 {
			if s.users = slices.Delete(s.users, i, i+1); len(s.users) == 0 {
				delete(fastSockets.at, addr)
				unused = append(unused, s)
			}
		}
	}
	fastSockets.mu.Unlock()
	for _, s := range unused {
		s.close()
	}
}

// socketAt returns the socket at an address, or nil if l is no user of it.
func socketAt(addr string, l *lifetime) *fastSocket {
	fastSockets.mu.Lock()
	defer fastSockets.mu.Unlock()
	if s := fastSockets.at[addr]; s != nil && slices.Contains(s.users, l) {
		return s
	}
	return nil
}

// serve sets the server and the answerer of the socket. If the socket is not open, serve opens it in
// the background, because the server need not wait for it.
func (s *fastSocket) serve(server *dnsserver.Server, a *fastAnswerer, debug bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.Store(server)
	s.answerer, s.debug = a, debug
	if s.conn != nil {
		s.conn.Use(a)
		return
	}
	go s.tryOpen()
}

// tryOpen opens the socket, unless it is open already or closed for good. After a failure, it tries
// again later. It logs the first failure only.
func (s *fastSocket) tryOpen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil || s.closed {
		return
	}
	if err := s.open(); err != nil {
		s.failed(err)
	}
}

// failed notes that the socket is not open.
func (s *fastSocket) failed(err error) {
	if s.retry != nil {
		s.retry.Reset(fastRetry)
		return
	}
	warnf("fastpath: %s: %s; every query goes the ordinary way until that is over", s.addr, err)
	s.retry = time.AfterFunc(fastRetry, s.tryOpen)
}

// open opens the socket.
func (s *fastSocket) open() error {
	conn, err := fastudp.Listen(strings.TrimPrefix(s.addr, transport.DNS+"://"))
	if err != nil {
		return err
	}
	// The thread that waits for packets keeps its processor, in the sense of the Go runtime, for up to
	// ten milliseconds. With only one, as in a container limited to one CPU, all else would wait.
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
	conn.NoRecover, conn.OnPanic = s.debug, s.panicked
	conn.Use(s.answerer)
	started := make(chan struct{})
	library := &dns.Server{
		PacketConn:        conn,
		Net:               "udp",
		Handler:           dns.HandlerFunc(s.serveDNS),
		TsigSecret:        map[string]string{}, // as that of the server: a signature is of an unknown key
		NotifyStartedFunc: func() { close(started) },
	}
	ended := make(chan error, 1)
	go func() {
		err := library.ActivateAndServe()
		ended <- err
		s.libraryEnded(library, err)
	}()
	select {
	case <-started:
	case err := <-ended:
		return err
	}
	if err := conn.Steer(); err != nil {
		shutDown(library)
		return err
	}
	s.conn, s.library = conn, library
	fastSocketsOpen.Inc()
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
		log.Infof("fastpath: %s: answers again", s.addr)
	}
	return nil
}

// close gives new queries to the server's own socket, waits until those in this socket are answered,
// and closes it for good.
func (s *fastSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.retry != nil {
		s.retry.Stop()
	}
	if s.conn == nil {
		return
	}
	if err := s.conn.Unsteer(); err != nil {
		warnf("fastpath: %s: stop: %s; queries may be lost", s.addr, err)
	}
	shutDown(s.library)
	s.conn, s.library = nil, nil
	fastSocketsOpen.Dec()
}

// shutDown ends a server of the DNS library once its queries are answered, or after a time.
func shutDown(library *dns.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // as CoreDNS's servers
	defer cancel()
	if err := library.ShutdownContext(ctx); err != nil {
		warnf("fastpath: stop: %s", err)
	}
}

// libraryEnded handles the end of the server that reads the socket. The socket is closed then, so the
// kernel gives all queries to the server's own one.
func (s *fastSocket) libraryEnded(library *dns.Server, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.library != library { // it was to end
		return
	}
	s.conn, s.library = nil, nil
	fastSocketsOpen.Dec()
	s.failed(fmt.Errorf("read: %w", err))
}

// serveDNS passes a query to the server, as the handler of the server's own socket does.
func (s *fastSocket) serveDNS(w dns.ResponseWriter, r *dns.Msg) {
	server := s.server.Load()
	ctx := context.WithValue(context.Background(), dnsserver.Key{}, server)
	server.ServeDNS(context.WithValue(ctx, dnsserver.LoopKey{}, 0), w, r)
}

// panicked logs and counts a panic of the fast path. The server answers the query and all later ones.
func (s *fastSocket) panicked(value any, stack []byte) {
	vars.Panic.Inc()
	log.Errorf("fastpath: %s: recovered from a panic: %s; every query goes the ordinary way, until a reload: %s",
		s.addr, printable(fmt.Sprint(value)), printable(string(stack)))
}
