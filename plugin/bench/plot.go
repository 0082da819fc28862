package main

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"strings"
)

// script draws the lines. Its verbs are the data, one block a line, and the list of
// lines.
const script = `
set terminal svg size 760,480 font "sans-serif,13" background "#ffffff"
set logscale xy
set xrange [0.8:13000]
set yrange [100:1e8]
set format x "%%.0f"
set xlabel "endpoints of the service"
set ylabel "time in the plugin"
set ytics ("100 ns" 100, "1 µs" 1e3, "10 µs" 1e4, "100 µs" 1e5, "1 ms" 1e6, "10 ms" 1e7, "100 ms" 1e8)
set xtics ("1" 1, "10" 10, "100" 100, "1,000" 1000, "10,000" 10000)
set grid xtics ytics linetype 1 linecolor "#e0e0e0"
set border 3 linecolor "#606060"
set tics nomirror scale 0.5
set key left top reverse Left samplen 3 spacing 1.2
$data << EOD
%sEOD
plot %s
`

// The color of a line is the kind of query, its dash the plugin.
var (
	colors = []string{"#0b6e4f", "#c1440e", "#1565c0"}
	dashes = []struct{ plugin, title, line string }{
		{"headless", "headless", "linewidth 2.5 dashtype 1 pointtype 7"},
		{"kubernetes", "in-tree", "linewidth 1.5 dashtype 2 pointtype 6"},
	}
)

// plot returns an SVG of the time that three kinds of queries take over UDP, by the size
// of the service, on logarithmic scales.
func (r *results) plot() ([]byte, error) {
	var data strings.Builder
	var lines []string
	for _, dash := range dashes {
		for i, color := range colors {
			q := questions[i]
			points := 0
			for _, n := range allSizes {
				if ns := r.median(serveName(q.query, "udp", n, dash.plugin), "ns/op"); !math.IsNaN(ns) {
					fmt.Fprintln(&data, n, ns)
					points++
				}
			}
			if points == 0 {
				return nil, fmt.Errorf("plot: no results for query %q of %s", q.query, dash.title)
			}
			data.WriteString("\n\n")
			lines = append(lines, fmt.Sprintf(`$data index %d using 1:2 with linespoints %s linecolor rgb "%s" pointsize 0.6 title "%s, %s"`,
				len(lines), dash.line, color, dash.title, q.title))
		}
	}
	cmd := exec.Command("gnuplot")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(script, &data, strings.Join(lines, ", ")))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("plot with gnuplot: %w: %s", err, &errs)
	}
	return out.Bytes(), nil
}
