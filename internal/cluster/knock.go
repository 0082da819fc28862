package cluster

import (
	"net"
	"time"
)

// Knock opens a connection or sends an empty datagram to each address once a second, until stop is
// called. A test that restarts an instance of caddy knocks meanwhile, at the sockets of that
// instance. Caddy hands a socket over as a file, which makes it blocking for a moment. If the old
// server begins to accept or to read in that moment, only the next client ends the call, and the
// restart waits for that.
func Knock(addrs ...net.Addr) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for _, addr := range addrs {
				if conn, err := net.DialTimeout(addr.Network(), addr.String(), time.Second); err == nil {
					_, _ = conn.Write(nil) // over TCP the connection is enough
					conn.Close()
				}
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}
