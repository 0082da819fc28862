package main

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"strings"
)

// script draws three pairs of lines. %s are the data, a block for each line.
const script = `
set terminal svg size 760,480 font "sans-serif,13" background "#ffffff"
set logscale xy
set xrange [0.8:13000]
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
plot for [i=0:5] $data index i using 1:2 with linespoints \
	linecolor rgb word("#0b6e4f #c1440e #1565c0 #0b6e4f #c1440e #1565c0", i+1) \
	linewidth (i < 3 ? 2.5 : 1.5) dashtype (i < 3 ? 1 : 2) pointtype (i < 3 ? 7 : 6) pointsize 0.6 \
	title word("%s", i+1)
`

// plot returns an SVG of the cost of three questions over UDP, against the size of
// the service, on logarithmic scales.
func (r *results) plot() ([]byte, error) {
	var data strings.Builder
	var titles []string
	for _, plugin := range []struct{ name, title string }{{"headless", "headless"}, {"kubernetes", "in-tree"}} {
		for _, q := range questions[:3] {
			points := 0
			for _, n := range allSizes {
				if ns := r.median(serveName(q.query, "udp", n, plugin.name), "ns/op"); !math.IsNaN(ns) {
					fmt.Fprintln(&data, n, ns)
					points++
				}
			}
			if points == 0 {
				return nil, fmt.Errorf("plot: no results for %s of %s", q.query, plugin.title)
			}
			data.WriteString("\n\n")
			titles = append(titles, fmt.Sprintf("'%s, %s'", plugin.title, q.title))
		}
	}
	cmd := exec.Command("gnuplot")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(script, &data, strings.Join(titles, " ")))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("plot with gnuplot: %w: %s", err, &errs)
	}
	return out.Bytes(), nil
}
