//go:build cluster

package main_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// A flood is as many clients, each with so many queries on the way.
const (
	floodClients = 32
	floodWindow  = 4
)

// flood queries a name as fast as the server answers, until stop is called, which returns the
// number of replies.
func flood(t *testing.T, server, name string) (stop func() int64) {
	t.Helper()
	query, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var replies atomic.Int64
	var clients sync.WaitGroup
	for range floodClients {
		conn, err := net.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer conn.Close()
			buf := make([]byte, dns.MaxMsgSize)
			onTheWay := 0
			for ctx.Err() == nil {
				for ; onTheWay < floodWindow; onTheWay++ {
					if _, err := conn.Write(query); err != nil {
						t.Error(err)
						return
					}
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := conn.Read(buf); err != nil {
					onTheWay = 0 // lost
					continue
				}
				onTheWay--
				replies.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		clients.Wait()
		return replies.Load()
	}
}

// TestFastPathFlood floods a server with queries that the chain answers, and asks for a headless
// name meanwhile, and the other way round. Each query is answered. The log has the latencies.
func TestFastPathFlood(t *testing.T) {
	manifests := fastManifests(t)
	const queries = 300
	for _, fast := range []bool{false, true} {
		stanza, sockets := "", 0
		if fast {
			stanza, sockets = "fastpath", 1
		}
		port := cluster.MustFreePort(t)
		p := startFast(t, "flood", fastCorefile(port, manifests, stanza, "bind 127.0.0.1"), sockets)
		ready(t, port)
		server := "127.0.0.1:" + port
		for _, names := range [][2]string{{otherHost, fastHost}, {fastHost, otherHost}} {
			before, begin := p.fastAnswers(t), time.Now()
			stop := flood(t, server, names[0])
			var latencies []time.Duration
			for range queries {
				sent := time.Now()
				if err := askRight(server, names[1]); err != nil {
					t.Errorf("fastpath %v, a flood of %s: %v", fast, names[0], err)
				}
				latencies = append(latencies, time.Since(sent))
			}
			replies, took := stop(), time.Since(begin)
			slices.Sort(latencies)
			t.Logf("fastpath %v: %s, beside %.0f queries a second for %s: p50 %v, p99 %v", fast, names[1],
				float64(replies)/took.Seconds(), names[0], latencies[queries/2], latencies[queries*99/100])
			if got := p.fastAnswers(t) - before; (got > 0) != fast {
				t.Errorf("fastpath %v: the fast path gave %d answers", fast, got)
			}
		}
	}
}
