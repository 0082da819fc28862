package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The sizes of the measured clusters in pods. fewOf is the size of the one where few pods
// are of headless services. The report extrapolates to beyond.
var clusterSizes = []int{10_000, 30_000, 100_000, 300_000}

const fewOf, beyond = 100_000, 1_000_000

// growthName returns the name of a benchmark in a cluster of n pods. For n = 0 it is the
// cluster where few pods are of headless services.
func growthName(n int, what, plugin string) string {
	cluster := "few"
	if n != 0 {
		cluster = fmt.Sprint("n=", n)
	}
	return fmt.Sprintf("bench.Growth/%s/%s/plugin=%s", cluster, what, plugin)
}

// watching are the measured servers.
var watching = []struct{ plugin, title string }{
	{"headless", "`endpoints pods`"}, {"slices", "`endpoints slices`"}, {"kubernetes", "in-tree"},
}

// changeRate is the unit of the rate with which a server keeps up.
const changeRate = "changes/s"

// cost is a row of a table: a measured cost of a server.
type cost struct {
	title, what, metric string
	write               func(float64) string
	// level means that the cost does not depend on the size of the cluster, so the report
	// does not extrapolate it.
	level bool
}

func unit(name string) func(float64) string {
	return func(v float64) string { return with(v, name) }
}

// perSecond formats bytes a second.
func perSecond(v float64) string {
	if text := bytesOf(v); text != "–" {
		return text + "/s"
	}
	return "–"
}

// The costs that the picture shows, too.
var (
	settled     = cost{"memory, settled", "start", "settled-MB", unit("MB"), false}
	sentAtStart = cost{"start: sent by the API server", "start", "sent-MB", unit("MB"), false}
	sentInChurn = cost{"churn: sent by the API server", "churn", "B/s", perSecond, false}
)

var (
	ofStart = []cost{
		settled,
		{"memory, peak of the start", "start", "peak-MB", unit("MB"), false},
		{"start: until the first answer", "start", "ready-s", unit("s"), false},
		{"start: CPU", "start", "cpu-s", unit("s"), false},
		sentAtStart,
	}
	ofChurn = []cost{
		sentInChurn,
		{"churn: of one core", "churn", "cpu-%", unit("%"), false},
	}
	ofLoad = []cost{
		{"one change: sent by the API server", "churn", "B/change", bytesOf, true},
		{"changes a second that one core keeps up with", "load", changeRate, number, true},
		{"… and CPU of each", "load", "cpu-µs/change", micro, true},
	}
)

// cell formats the cost in a cluster of n pods.
func (c *cost) cell(r *results, n int, plugin string) string {
	name := growthName(n, c.what, plugin)
	text := c.write(r.median(name, c.metric))
	if c.metric == changeRate && r.median(name, "limited") > 0 { // the stand-in API server was the limit
		return "≥ " + text
	}
	return text
}

// line returns the value at x of the straight line through two points.
func line(x1, y1, x2, y2, x float64) float64 { return y2 + (y2-y1)/(x2-x1)*(x-x2) }

// growthTable returns a table of the costs by the size of the cluster.
func (r *results) growthTable() string {
	head := []string{"pods", ""}
	for _, n := range clusterSizes {
		head = append(head, grouped(strconv.Itoa(n)))
	}
	t := newTable(append(head, grouped(strconv.Itoa(beyond))+", computed")...)
	for _, costs := range [][]cost{ofStart, ofChurn, ofLoad} {
		for _, c := range costs {
			for i, w := range watching {
				row := []string{"", w.title}
				if i == 0 {
					row[0] = c.title
				}
				for _, n := range clusterSizes {
					row = append(row, c.cell(r, n, w.plugin))
				}
				computed := math.NaN()
				if last := clusterSizes[len(clusterSizes)-2:]; !c.level {
					value := func(n int) float64 { return r.median(growthName(n, c.what, w.plugin), c.metric) }
					computed = line(float64(last[0]), value(last[0]), float64(last[1]), value(last[1]), beyond)
				}
				t.row(append(row, c.write(computed))...)
			}
		}
	}
	return t.String()
}

// fewTable returns a table of the costs in the cluster where few pods are of headless
// services.
func (r *results) fewTable() string {
	head := []string{""}
	for _, w := range watching {
		head = append(head, w.title)
	}
	t := newTable(head...)
	for _, costs := range [][]cost{ofStart, ofChurn} {
		for _, c := range costs {
			row := []string{c.title}
			for _, w := range watching {
				row = append(row, c.cell(r, 0, w.plugin))
			}
			t.row(row...)
		}
	}
	return t.String()
}

// growth returns the report of BenchmarkGrowth.
func (r *results) growth(revision, machine string) string {
	var b strings.Builder
	section := func(text, table string) { fmt.Fprintf(&b, "\n%s\n\n%s", text, table) }
	fmt.Fprintf(&b, "\nMeasured at %s on %s.\n", revision, machine)
	section(growthModel, r.growthTable())
	section("The same where a tenth of 100,000 pods are of headless services. The others, jobs maybe, are of no service:", r.fewTable())
	fmt.Fprintf(&b, "\n%s\n\n", growthAdvice)
	return b.String()
}

const growthModel = `All pods are of headless services of 100. In-tree is without ` + "`pods verified`" + ` and watches EndpointSlices, as
` + "`endpoints slices`" + ` does.

* A change is a pod that loses or regains its readiness, each in another service than the one before. A watch of pods carries
  it as an event of 3 KB, a watch of EndpointSlices as the whole slice of 100 endpoints that the controller writes.
* Churn is one change a second for every 1,000 pods.
* One core keeps up with changes while nine of ten are in the answers within 100 ms. With "≥", the stand-in had no more.
* What the API server sends is for each replica, not compressed.
* The last column is not measured: it continues the two before it in a straight line.

A pod's life is five or six changes in a watch of pods: created, scheduled, with an address and ready, terminating, gone. How
many it is in a watch of EndpointSlices depends on what the controller takes together. A real controller, observed once, had a
service of 200 pods on simulated nodes. It wrote one slice when the readiness of one pod changed, five for two pods that a
StatefulSet replaced one at a time, and three for five that a Deployment replaced a quarter at a time.`

const growthAdvice = `### Which to choose

` + "`endpoints pods`" + `, the default, where most pods are of headless services and these are large. A change that comes alone is a third
of the bytes and a fraction of the CPU of a slice of 100, and nothing waits for the EndpointSlice controller.

` + "`endpoints slices`" + ` in these cases:

* Most pods are of no headless service: nothing is sent of those.
* Most services have fewer than about 30 pods, whose slice is smaller than a pod.
* Pods mostly come and go many at a time.`
