package cluster

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// The range of ports is below that of outgoing connections, which the kernel takes from
// 32768 on. So no connection takes the port of a program before its start or between two
// starts.
const firstPort, lastPort = 10000, 32000

var returned struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort returns a port of 127.0.0.1 that is free for TCP and UDP. It never returns a
// port twice.
func FreePort() (string, error) {
	returned.Lock()
	defer returned.Unlock()
	if returned.ports == nil {
		returned.ports = make(map[int]bool)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if returned.ports[port] || !free(port) {
			continue
		}
		returned.ports[port] = true
		return strconv.Itoa(port), nil
	}
	return "", errors.New("find a free port: 1000 random ports are taken")
}

// MustFreePort is [FreePort] for a test, which it fails if there is none.
func MustFreePort(t testing.TB) string {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
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
