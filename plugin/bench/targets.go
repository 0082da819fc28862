package main

import (
	"fmt"
	"math"
)

// target is a limit for a measured cost of headless. Targets of time and memory are
// ratios within one run where possible.
type target struct {
	what     string
	measured float64
	limit    float64
	atLeast  bool
	unit     string
}

// verdict says whether the measured cost meets the target, or by how much it misses
// it.
func (t *target) verdict() string {
	switch {
	case math.IsNaN(t.measured):
		return "not measured"
	case t.atLeast && t.measured >= t.limit, !t.atLeast && t.measured <= t.limit:
		return "held"
	case t.limit == 0:
		return "missed"
	case t.atLeast:
		return fmt.Sprintf("missed by %s%%", number(100*(1-t.measured/t.limit)))
	}
	return fmt.Sprintf("missed by %s%%", number(100*(t.measured/t.limit-1)))
}

// largest returns the largest value, or NaN if a value is NaN.
func largest(values ...float64) float64 {
	out := math.Inf(-1)
	for _, v := range values {
		out = math.Max(out, v)
	}
	return out
}

// over returns the largest value over all sizes.
func over(sizes []int, value func(n int) float64) float64 {
	var values []float64
	for _, n := range sizes {
		values = append(values, value(n))
	}
	return largest(values...)
}

func (r *results) targets() []target {
	ns := func(query string, n int, plugin string) float64 {
		return r.median(serveName(query, "udp", n, plugin), "ns/op")
	}
	faster := func(query string, n int) float64 { return ns(query, n, "kubernetes") / ns(query, n, "headless") }
	grows := func(query string, from, to int) float64 {
		return ns(query, to, "headless") / ns(query, from, "headless")
	}
	asHit := func(query string) float64 {
		return over(allSizes, func(n int) float64 { return ns(query, n, "headless") / ns("pod-A", n, "headless") })
	}
	process := func(query string, n int) float64 {
		return r.median(processName(query, n, "headless"), "cpu-µs/query") / r.median(processName(query, 0, "floor"), "cpu-µs/query")
	}
	scale := func(what, metric string) float64 { return r.median(scaleName(what, "headless"), metric) }
	large := []int{100, 10_000}
	event := func(n int) float64 { return r.median(fmt.Sprintf("informer.Event/n=%d", n), "ns/op") / 1000 }
	// Without the time that CoreDNS itself takes to call the next plugin.
	elsewhere := func(unit string) float64 {
		return r.median(serveName("other-zone", "udp", 0, "headless"), unit) - r.median(serveName("other-zone", "udp", 0, "pass"), unit)
	}

	return append([]target{
		{"A of a pod, N = 10,000 to N = 1", grows("pod-A", 1, 10_000), 1.2, false, "×"},
		{"A of a pod, faster than in-tree, N = 100", faster("pod-A", 100), 8, true, "×"},
		{"A of a pod, faster than in-tree, N = 10,000", faster("pod-A", 10_000), 100, true, "×"},
		{"A of a pod, allocations", over(allSizes, func(n int) float64 {
			return r.median(serveName("pod-A", "udp", n, "headless"), "allocs/op")
		}), 3, false, ""},
		{"A of the service over UDP, N = 10,000 to N = 100", grows("service-A", 100, 10_000), 1.2, false, "×"},
		{"SRV over UDP, N = 10,000 to N = 100", grows("port-SRV", 100, 10_000), 1.2, false, "×"},
		{"A of the service over UDP, faster than in-tree, N = 1,000", faster("service-A", 1000), 50, true, "×"},
		{"SRV over UDP, faster than in-tree, N = 1,000", faster("port-SRV", 1000), 50, true, "×"},
		{"A of the service over UDP, faster than in-tree, N = 10,000", faster("service-A", 10_000), 1000, true, "×"},
		{"SRV over UDP, faster than in-tree, N = 10,000", faster("port-SRV", 10_000), 1000, true, "×"},
		{"another zone, before the next plugin", elsewhere("ns/op"), 60, false, "ns"},
		{"another zone, allocations before the next plugin", elsewhere("allocs/op"), 0, false, ""},
		{"unknown host, to a hit, at every N", asHit("no-host"), 1.5, false, "×"},
		{"AAAA that does not exist, to a hit, at every N", asHit("pod-AAAA"), 1.5, false, "×"},
		{"HTTPS, to a hit, at every N", asHit("pod-HTTPS"), 1.5, false, "×"},
		{"a pod changes, N = 10,000", event(10_000), 5, false, "µs"},
		{"a pod changes, N = 10,000 to N = 100", event(10_000) / event(100), 2, false, "×"},
		{"heap of a pod", r.median("informer.Heap", "B/pod"), 300, false, "B"},
		{"start at 100,000 pods, CPU to in-tree's", scale("start", "cpu-s") / r.median(scaleName("start", "verified"), "cpu-s"), 1. / 3, false, "×"},
		{"start at 100,000 pods, peak memory to settled", scale("start", "peak-MB") / scale("start", "settled-MB"), 1.3, false, "×"},
		{"relist at 100,000 pods, peak memory to settled", scale("relist", "peak-MB") / scale("relist", "settled-MB"), 1.3, false, "×"},
		{"whole server, A of a pod to the floor, at every N", over(someSizes, func(n int) float64 { return process("pod-A", n) }), 1.05, false, "×"},
		{"whole server, A of the service to the floor, N = 100 to 10,000", over(large, func(n int) float64 { return process("service-A", n) }), 1.6, false, "×"},
		{"whole server, SRV to the floor, N = 100 to 10,000", over(large, func(n int) float64 { return process("port-SRV", n) }), 1.6, false, "×"},
	}, r.serverTargets()...)
}

func targetTable(targets []target) string {
	t := newTable("", "target", "measured", "")
	for _, target := range targets {
		sign := "≤ "
		if target.atLeast {
			sign = "≥ "
		}
		t.row(target.what, sign+with(target.limit, target.unit), with(target.measured, target.unit), target.verdict())
	}
	return t.String()
}
