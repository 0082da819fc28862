package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The sizes of clusters in pods; fewOf is that of the one where few are of headless
// services, and beyond is what no cluster here has.
var clusterSizes = []int{10_000, 30_000, 100_000, 300_000}

const fewOf, beyond = 100_000, 1_000_000

// growthName is a benchmark in a cluster of n pods; of zero, where few are of
// headless services.
func growthName(n int, what, plugin string) string {
	cluster := "few"
	if n != 0 {
		cluster = fmt.Sprint("n=", n)
	}
	return fmt.Sprintf("bench.Growth/%s/%s/plugin=%s", cluster, what, plugin)
}

// watching are the servers, by what they watch.
var watching = []struct{ plugin, title string }{
	{"headless", "`endpoints pods`"}, {"slices", "`endpoints slices`"}, {"kubernetes", "in-tree"},
}

// cost is something that a server costs.
type cost struct {
	title, what, metric string
	write               func(float64) string
	// level is what does not follow from the size, so that no line leads beyond
	// the sizes that were measured.
	level bool
}

func unit(name string) func(float64) string {
	return func(v float64) string { return with(v, name) }
}

// perSecond writes bytes a second.
func perSecond(v float64) string {
	if text := bytesOf(v); text != "–" {
		return text + "/s"
	}
	return "–"
}

var (
	ofStart = []cost{
		{"memory, settled", "start", "settled-MB", unit("MB"), false},
		{"memory, peak of the start", "start", "peak-MB", unit("MB"), false},
		{"start: until the first answer", "start", "ready-s", unit("s"), false},
		{"start: CPU", "start", "cpu-s", unit("s"), false},
		{"start: sent by the API server", "start", "sent-MB", unit("MB"), false},
	}
	ofChurn = []cost{
		{"churn: sent by the API server", "churn", "B/s", perSecond, false},
		{"churn: of one core", "churn", "cpu-%", unit("%"), false},
	}
	ofLoad = []cost{
		{"one change: sent by the API server", "churn", "B/change", bytesOf, true},
		{"changes a second that one core keeps up with", "load", "changes/s", number, true},
		{"… and CPU of each", "load", "cpu-µs/change", micro, true},
	}
)

// line is where the straight line through two points is at x.
func line(x1, y1, x2, y2, x float64) float64 { return y2 + (y2-y1)/(x2-x1)*(x-x2) }

// growthTable is the cost of a server in larger and larger clusters.
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
				value := func(n int) float64 { return r.median(growthName(n, c.what, w.plugin), c.metric) }
				for _, n := range clusterSizes {
					row = append(row, c.write(value(n)))
				}
				computed := math.NaN()
				if last := clusterSizes[len(clusterSizes)-2:]; !c.level {
					computed = line(float64(last[0]), value(last[0]), float64(last[1]), value(last[1]), beyond)
				}
				t.row(append(row, c.write(computed))...)
			}
		}
	}
	return t.String()
}

// fewTable is the cost of a server where few pods are of headless services.
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
				row = append(row, c.write(r.median(growthName(0, c.what, w.plugin), c.metric)))
			}
			t.row(row...)
		}
	}
	return t.String()
}

// growth is what was measured of clusters that grow.
func (r *results) growth(revision, machine string) string {
	var b strings.Builder
	section := func(text, table string) { fmt.Fprintf(&b, "\n%s\n\n%s", text, table) }
	fmt.Fprintf(&b, "\n**A cluster that grows.** Measured at %s on %s, by `make growth`.\n", revision, machine)
	section(growthModel, r.growthTable())
	section("The same where a tenth of 100,000 pods are of headless services, and the others, jobs maybe, of no service:", r.fewTable())
	fmt.Fprintf(&b, "\n%s\n\n", growthAdvice)
	return b.String()
}

const growthModel = `All pods are of headless services of 100; in-tree is without ` + "`pods verified`" + `, and watches EndpointSlices, as
` + "`endpoints slices`" + ` does. A change is a pod that loses or regains its readiness, each in another service than the one
before: in a watch of pods an event of 3 KB, in one of EndpointSlices a slice, whole, of 100 endpoints. Churn is one
change a second for every 1,000 pods. A core keeps up with changes as long as nine of ten are in the answers within
100 ms. What the API server sends is for each replica, not compressed. The last column is not measured: it goes on as
the two before it.`

const growthAdvice = "ADVICE"
