package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/internal/cluster"
)

// gathered returns the sum of a metric's series in this process.
func gathered(t *testing.T, name string) (sum int) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			}
		}
	}
	return sum
}

// fastAnswers returns how many answers the fast path gave in this process.
func fastAnswers(t *testing.T) int { return gathered(t, "coredns_headless_fastpath_answers_total") }

// fastSockets returns the number of open sockets of the fast path in this process.
func fastSockets(t *testing.T) int { return gathered(t, "coredns_headless_fastpath_sockets") }

// awaitFastSockets waits until the fast path answers on so many addresses. It opens its sockets
// in the background.
func awaitFastSockets(t *testing.T, want int) {
	t.Helper()
	cluster.Eventually(t, time.Minute, func() error {
		if got := fastSockets(t); got != want {
			return fmt.Errorf("the fast path has %d sockets, want %d", got, want)
		}
		return nil
	})
}

// serveFast is serve with a Corefile whose one address has the fast path. It ends once that path
// answers. The address needs a port: the fast path opens a socket beside that of the server.
func serveFast(t *testing.T, corefile string) *served {
	t.Helper()
	before := fastSockets(t)
	s := serve(t, corefile)
	awaitFastSockets(t, before+1)
	return s
}
