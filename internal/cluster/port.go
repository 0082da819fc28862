package cluster

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports are below those that a kernel gives to outgoing connections (from 32768 on).
// Otherwise a connection may have the port when the program starts, or restarts.
const firstPort, lastPort = 10000, 32000

var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort returns a port that is free for TCP and UDP on 127.0.0.1. It never returns a
// port twice.
func FreePort() (string, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = make(map[int]bool)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if given.ports[port] || !free(port) {
			continue
		}
		given.ports[port] = true
		return strconv.Itoa(port), nil
	}
	return "", errors.New("find a port: none of a thousand is free")
}

func free(port int) bool {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return udp.Close() == nil
}
