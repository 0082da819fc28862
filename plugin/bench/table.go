package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The sizes of services, of all benchmarks and of the slow ones.
var (
	allSizes  = []int{1, 10, 100, 1000, 10_000}
	someSizes = []int{1, 100, 10_000}
)

// questions are the titles of the kinds of queries, in the order of the table.
var questions = []struct{ query, title string }{
	{"pod-A", "A of a pod"},
	{"service-A", "A of the service"},
	{"port-SRV", "SRV of a port"},
	{"PTR", "PTR"},
	{"no-host", "unknown host"},
	{"pod-AAAA", "AAAA of a pod, which has none"},
	{"pod-HTTPS", "HTTPS of a pod"},
}

// table is a Markdown table.
type table struct{ strings.Builder }

func newTable(head ...string) *table {
	t := new(table)
	t.row(head...)
	t.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	return t
}

func (t *table) row(cells ...string) {
	t.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// number formats v with three significant digits, or with all digits before the point.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	digits := 2
	for limit := 10.0; digits > 0 && math.Abs(v) >= limit; limit *= 10 {
		digits--
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return grouped(text)
}

// grouped separates the thousands of a whole number by commas.
func grouped(text string) string {
	if strings.Contains(text, ".") {
		return text
	}
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// with formats a number with its unit.
func with(v float64, unit string) string {
	if text := number(v); text == "–" || unit == "" {
		return text
	}
	return number(v) + " " + unit
}

// duration formats nanoseconds in a suitable unit.
func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return with(ns/1e6, "ms")
	case ns >= 1e4:
		return with(ns/1e3, "µs")
	}
	return with(ns, "ns")
}

// micro formats microseconds in a suitable unit.
func micro(us float64) string { return duration(us * 1000) }

// memory formats the allocations of a call.
func (r *results) memory(benchmark string) string {
	bytes, allocs := r.median(benchmark, "B/op"), r.median(benchmark, "allocs/op")
	return fmt.Sprintf("%s, %s", bytesOf(bytes), number(allocs))
}

// bytesOf formats bytes in a suitable unit.
func bytesOf(n float64) string {
	switch {
	case n >= 1e6:
		return with(n/1e6, "MB")
	case n >= 1e4:
		return with(n/1e3, "KB")
	}
	return with(n, "B")
}

// ratio formats in-tree's cost as a multiple of headless's.
func ratio(headless, inTree float64) string {
	if v := inTree / headless; !math.IsNaN(v) && !math.IsInf(v, 0) {
		return "**" + number(v) + "×**"
	}
	return "–"
}

func sizesHead(sizes []int, before ...string) []string {
	for _, n := range sizes {
		before = append(before, "N = "+grouped(strconv.Itoa(n)))
	}
	return before
}

// serveTable returns a table of the costs of the first kinds of queries in a plugin.
func (r *results) serveTable(proto string, first int) string {
	t := newTable(sizesHead(allSizes, "", "")...)
	for _, q := range questions[:first] {
		rows := [][]string{{q.title, "headless"}, {"", "in-tree"}, {"", "ratio"}, {"", "headless, allocated"}, {"", "in-tree, allocated"}}
		for _, n := range allSizes {
			ours, theirs := serveName(q.query, proto, n, "headless"), serveName(q.query, proto, n, "kubernetes")
			for i, cell := range []string{
				duration(r.median(ours, "ns/op")), duration(r.median(theirs, "ns/op")),
				ratio(r.median(ours, "ns/op"), r.median(theirs, "ns/op")), r.memory(ours), r.memory(theirs),
			} {
				rows[i] = append(rows[i], cell)
			}
		}
		for _, row := range rows {
			t.row(row...)
		}
	}
	return t.String()
}

// outsideTable returns a table of the costs of queries for names of no service.
func (r *results) outsideTable() string {
	t := newTable("", "passing on alone", "headless", "in-tree")
	for _, q := range []struct{ query, title string }{
		{"no-service", "unknown service"}, {"other-zone", "a name of another zone"},
	} {
		row := []string{q.title}
		for _, plugin := range []string{"pass", "headless", "kubernetes"} {
			name := serveName(q.query, "udp", 0, plugin)
			row = append(row, duration(r.median(name, "ns/op"))+"; "+r.memory(name))
		}
		t.row(row...)
	}
	return t.String()
}

// processTable returns a table of the costs of a query in a whole server.
func (r *results) processTable() string {
	t := newTable(sizesHead(someSizes, "", "", "floor")...)
	for _, q := range questions[:3] {
		for i, plugin := range []string{"headless", "kubernetes"} {
			row := []string{"", "in-tree", ""}
			if i == 0 {
				row = []string{q.title, "headless", micro(r.median(processName(q.query, 0, "floor"), "cpu-µs/query"))}
			}
			for _, n := range someSizes {
				row = append(row, micro(r.median(processName(q.query, n, plugin), "cpu-µs/query")))
			}
			t.row(row...)
		}
	}
	return t.String()
}

// eventTable returns a table of the costs of changes.
func (r *results) eventTable() string {
	t := newTable(sizesHead(someSizes, "", "")...)
	row := []string{"slim object to publication, in process", "headless"}
	for _, n := range someSizes {
		row = append(row, duration(r.median(fmt.Sprintf("informer.Event/n=%d", n), "ns/op")))
	}
	t.row(row...)
	for _, what := range []struct{ title, unit string }{{"CPU of the server", "cpu-µs/event"}, {"until the answer has changed, median", "p50-µs"}, {"90 of 100 sooner than", "p90-µs"}} {
		for i, plugin := range []string{"headless", "kubernetes"} {
			row := []string{what.title, "headless"}
			if i == 1 {
				row = []string{"", "in-tree"}
			}
			for _, n := range someSizes {
				row = append(row, micro(r.median(fmt.Sprintf("bench.Watch/n=%d/plugin=%s", n, plugin), what.unit)))
			}
			t.row(row...)
		}
	}
	return t.String()
}

// scaleTable returns a table of the costs of many pods.
func (r *results) scaleTable() string {
	t := newTable("", "headless", "in-tree", "ratio")
	add := func(title string, headless, inTree float64, unit string) {
		t.row(title, with(headless, unit), with(inTree, unit), ratio(headless, inTree))
	}
	for _, m := range []struct{ title, unit, metric string }{{"10,000 pods become ready at once: CPU", "s", "cpu-s"}, {"… until all are served", "s", "served-s"}} {
		add(m.title, r.median("bench.Burst/plugin=headless", m.metric), r.median("bench.Burst/plugin=kubernetes", m.metric), m.unit)
	}
	add("heap of a pod", r.median("informer.Heap", "B/pod"), math.NaN(), "B")
	for _, m := range []struct{ title, what, unit, metric string }{
		{"start: until the first answer", "start", "s", "ready-s"},
		{"start: CPU", "start", "s", "cpu-s"},
		{"start: peak memory", "start", "MB", "peak-MB"},
		{"start: settled memory", "start", "MB", "settled-MB"},
		{"relist: until over", "relist", "s", "relist-s"},
		{"relist: CPU", "relist", "s", "cpu-s"},
		{"relist: peak memory", "relist", "MB", "peak-MB"},
		{"relist: settled memory", "relist", "MB", "settled-MB"},
		{"relist: queries that failed", "relist", "", "failed"},
	} {
		add(m.title, r.median(scaleName(m.what, "headless"), m.metric), r.median(scaleName(m.what, "verified"), m.metric), m.unit)
	}
	return t.String()
}
