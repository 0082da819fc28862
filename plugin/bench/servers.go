package main

import (
	"fmt"
	"strings"
)

// asked is a kind of query to the compared servers.
type asked struct {
	title string
	query string // its name in queries or others
	n     int    // pods of the service; zero for a name of no service
	edns  int    // the size of a reply that it offers; zero is no EDNS
	rate  int    // queries a second; zero is as many as possible
}

var (
	askedPod       = asked{title: "A of a pod", query: "pod-A", n: 1000}
	askedPodSlow   = asked{title: "A of a pod, 2,000 a second", query: "pod-A", n: 1000, rate: 2000}
	askedPodFast   = asked{title: "A of a pod, 10,000 a second", query: "pod-A", n: 1000, rate: 10_000}
	askedFew       = asked{title: "A of a service of 3", query: "service-A", n: 3}
	askedMissing   = asked{title: "unknown host", query: "no-host", n: 1000}
	askedMany      = asked{title: "A of a service of 1,000, EDNS 1232", query: "service-A", n: 1000, edns: 1232}
	askedManyLarge = asked{title: "A of a service of 1,000, EDNS 4096", query: "service-A", n: 1000, edns: 4096}
	askedSRV       = asked{title: "SRV of a port of 1,000, EDNS 1232", query: "port-SRV", n: 1000, edns: 1232}
	askedSRVLarge  = asked{title: "SRV of a port of 1,000, EDNS 4096", query: "port-SRV", n: 1000, edns: 4096}
	askedOther     = asked{title: "a name of another zone", query: "other-zone"}

	allAsked = []asked{
		askedPod, askedPodSlow, askedPodFast, askedFew, askedMissing, askedMany, askedManyLarge, askedSRV, askedSRVLarge, askedOther,
	}
)

// The compared servers. constant is the floor: a CoreDNS whose last plugin gives every
// query the same reply.
const (
	constantServer   = "constant"
	headlessServer   = "headless"
	fastServer       = "fastpath"
	knotServer       = "knot"
	kubernetesServer = "kubernetes"
)

var comparedServers = []string{constantServer, headlessServer, fastServer, knotServer, kubernetesServer}

// timedServers are those whose latency and memory are measured.
var timedServers = []string{headlessServer, fastServer}

// latencyRates are the rates at which the latency is measured.
var latencyRates = []int{1000, 0}

// The functions below return the names of benchmarks below BenchmarkServers.

func (a *asked) name(server string) string {
	var b strings.Builder
	b.WriteString("query=" + a.query)
	for _, part := range []struct {
		key   string
		value int
	}{{"n", a.n}, {"edns", a.edns}, {"rate", a.rate}} {
		if part.value > 0 {
			fmt.Fprintf(&b, "/%s=%d", part.key, part.value)
		}
	}
	return b.String() + "/server=" + server
}

func latencyName(rate int, server string) string {
	if rate == 0 {
		return "latency/server=" + server
	}
	return fmt.Sprintf("latency/rate=%d/server=%s", rate, server)
}

func memoryName(server string) string { return "memory/server=" + server }

const inServers = "bench.Servers/"

func quotient(a, b float64) float64   { return a / b }
func difference(a, b float64) float64 { return a - b }

// askedTo returns what the server with fastpath takes for a query, to what another takes in
// the same round.
func (r *results) askedTo(a asked, server string) float64 {
	return median(r.pairs(inServers+a.name(fastServer), inServers+a.name(server), "cpu-µs/query", quotient))
}

// latencyTo returns a latency with fastpath, to that without in the same round.
func (r *results) latencyTo(rate int, unit string) float64 {
	return median(r.pairs(inServers+latencyName(rate, fastServer), inServers+latencyName(rate, headlessServer), unit, quotient))
}

// moreMemory returns how many megabytes more a server with fastpath has in the same round.
func (r *results) moreMemory() float64 {
	return median(r.pairs(inServers+memoryName(fastServer), inServers+memoryName(headlessServer), "rss-MB", difference))
}

func (r *results) serverTargets() []target {
	var out []target
	for _, other := range []struct {
		server, title string
		limit         float64
	}{{constantServer, "the floor", 0.33}, {knotServer, "Knot DNS", 1.1}} {
		for _, a := range []asked{askedPod, askedPodSlow, askedPodFast, askedFew, askedMissing} {
			out = append(out, target{"fastpath, " + a.title + ", to " + other.title, r.askedTo(a, other.server), other.limit, false, "×"})
		}
	}
	for _, a := range []asked{askedMany, askedManyLarge, askedSRV, askedSRVLarge} {
		out = append(out, target{"fastpath, " + a.title + ", to the floor", r.askedTo(a, constantServer), 0.6, false, "×"})
	}
	return append(out,
		target{"fastpath, " + askedOther.title + ", to headless without", r.askedTo(askedOther, headlessServer), 1.03, false, "×"},
		target{"fastpath, memory more than without", r.moreMemory(), 8, false, "MB"},
		target{"fastpath, median latency at 1,000 a second, to without", r.latencyTo(1000, "p50-µs"), 1, false, "×"},
		target{"fastpath, 99th percentile of latency at 1,000 a second, to without", r.latencyTo(1000, "p99-µs"), 1, false, "×"},
	)
}

// orMissing replaces the sign for a missing value.
func orMissing(text string) string {
	if text == "–" {
		return "not measured"
	}
	return text
}

const (
	serversTitle = "### Whole servers compared"
	serversImage = "![CPU of a query in a whole server, as bars: the floor, headless, headless with fastpath and Knot DNS, for five kinds of query](../plugin/bench/servers.svg)"
)

const serversModel = "CPU of the process for a query, over UDP on the loopback device, with 80 queries in flight or at a rate. Each CoreDNS has\n" +
	"*errors*, *prometheus* and *loadbalance* before the plugin. The floor is a CoreDNS whose plugin gives every query the same\n" +
	"reply with one address, and without the [larger stacks](#stacks-garbage-and-profiles) of the image. Knot DNS serves the same\n" +
	"names from a zone file, always in the same order. The other zone is in *hosts*. Ratios are medians of those within a round."

// serversTable returns a table of the costs of a query in each server.
func (r *results) serversTable() string {
	t := newTable("", "floor", "headless", "with `fastpath`", "Knot DNS", "in-tree", "`fastpath` to the floor", "to headless", "to Knot DNS")
	for _, a := range allAsked {
		row := []string{a.title}
		for _, server := range comparedServers {
			row = append(row, orMissing(with(r.median(inServers+a.name(server), "cpu-µs/query"), "µs")))
		}
		for _, server := range []string{constantServer, headlessServer, knotServer} {
			row = append(row, orMissing(with(r.askedTo(a, server), "×")))
		}
		t.row(row...)
	}
	return t.String()
}

// comparison returns the tables of the compared servers.
func (r *results) comparison() string {
	return fmt.Sprintf("%s\n\n%s\n%s\n\n%s", serversModel, r.serversTable(), latencyModel, r.latencyTable())
}

const latencyModel = "Latency of A of a pod, and the resident memory after all these queries:"

// latencyTable returns a table of the latency and the memory with fastpath and without.
func (r *results) latencyTable() string {
	t := newTable("", "headless", "with `fastpath`", "`fastpath` to headless")
	for _, rate := range latencyRates {
		at := "80 in flight"
		if rate > 0 {
			at = number(float64(rate)) + " a second"
		}
		for _, part := range []struct{ title, unit string }{{"median", "p50-µs"}, {"99th percentile", "p99-µs"}} {
			row := []string{at + ": " + part.title}
			for _, server := range timedServers {
				row = append(row, orMissing(with(r.median(inServers+latencyName(rate, server), part.unit), "µs")))
			}
			t.row(append(row, orMissing(with(r.latencyTo(rate, part.unit), "×")))...)
		}
	}
	row := []string{"resident memory"}
	for _, server := range timedServers {
		row = append(row, orMissing(with(r.median(inServers+memoryName(server), "rss-MB"), "MB")))
	}
	more := orMissing(with(r.moreMemory(), "MB"))
	if r.moreMemory() > 0 {
		more = "+" + more
	}
	t.row(append(row, more)...)
	return t.String()
}
