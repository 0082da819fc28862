package cluster

import (
	"net"
	"strconv"
	"testing"
)

func TestFreePort(t *testing.T) {
	for range 100 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := strconv.Atoi(port); n < firstPort || n >= lastPort {
			t.Errorf("port %s, want one from %d to %d", port, firstPort, lastPort-1)
		}
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, port := range []int{tcp.Addr().(*net.TCPAddr).Port, udp.LocalAddr().(*net.UDPAddr).Port} {
		if free(port) {
			t.Errorf("free: true for port %d, which is taken", port)
		}
	}
}
