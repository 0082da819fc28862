package cluster

import (
	"net"
	"syscall"
	"testing"
)

// TestKnock blocks in calls that only a client ends, as a socket that is blocking does.
func TestKnock(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	tcp, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := packets.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	ended := make(chan error, 2)
	accept, read := int(tcp.Fd()), int(udp.Fd()) // Fd makes them blocking
	go func() {
		fd, _, err := syscall.Accept(accept)
		if err == nil {
			syscall.Close(fd)
		}
		ended <- err
	}()
	go func() {
		_, _, err := syscall.Recvfrom(read, make([]byte, 1), 0)
		ended <- err
	}()
	stop := Knock(listener.Addr(), packets.LocalAddr())
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	stop()
}
