package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkOffline starts a server in a cluster of 100,000 pods while the API server is
// down. Either the connection is refused, or it is accepted and nobody replies. The
// server answers from a snapshot that another server wrote at its end.
func BenchmarkOffline(b *testing.B) {
	needProgram(b)
	c := startCluster(b, Services{Sizes: slices.Repeat([]int{scalePods}, scaleServices)})
	last := c.services[scaleServices-1]
	name := last.podFQDN(last.size - 1)
	file := filepath.Join(b.TempDir(), "snapshot")
	start := func(b *testing.B) *server { return startServer(b, "snapshot", c.url, name, "SNAPSHOT="+file) }
	b.Run("write", func(b *testing.B) {
		withoutTime(b)
		s := start(b)
		s.quiet(b, 0, func() bool { return true }, time.Now())
		began := time.Now()
		if err := s.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := s.Wait(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "end-s")
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/1e6, "file-MB")
	})
	call(b, c, "Stop", struct{}{}, &struct{}{})
	first := func(b *testing.B) {
		withoutTime(b)
		began := time.Now()
		s := start(b)
		b.ReportMetric(time.Since(began).Seconds(), "answer-s")
		b.ReportMetric(s.cpu(b).Seconds(), "cpu-s")
		endProcess(b, s.Cmd)
	}
	b.Run("refused", first)
	b.Run("silent", func(b *testing.B) {
		address, err := url.Parse(c.url)
		if err != nil {
			b.Fatal(err)
		}
		l, err := net.Listen("tcp", address.Host) // the kernel accepts connections, nobody reads
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		first(b)
	})
}
