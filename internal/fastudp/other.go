//go:build !linux

package fastudp

import (
	"fmt"
	"net"
	"runtime"
)

// Conn exists on Linux only.
type Conn struct {
	net.PacketConn
	NoRecover bool
	OnPanic   func(value any, stack []byte)
}

var errNotSupported = fmt.Errorf("not supported on %s", runtime.GOOS)

// Listen returns an error.
func Listen(string) (*Conn, error) { return nil, errNotSupported }

// Use does nothing.
func (c *Conn) Use(Answerer) {}

// Steer returns an error.
func (c *Conn) Steer() error { return errNotSupported }

// Unsteer returns an error.
func (c *Conn) Unsteer() error { return errNotSupported }
