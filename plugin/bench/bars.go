package main

import (
	"fmt"
	"math"
	"strings"
)

// barChart has groups of horizontal bars on one linear axis, which begins at zero.
type barChart struct {
	title  string
	notes  []string // lines below the title
	xTitle string
	write  func(float64) string // formats a value
	groups []group
}

// group is the bars below a title.
type group struct {
	title string
	bars  []bar
}

// bar has its title at its left end, and its value at its right end.
type bar struct {
	title, color string
	value        float64 // NaN if it was not measured
}

// Sizes in pixels: of a bar with the space around it, and above a group, for its title.
const (
	barHeight = 20
	groupGap  = 36
)

func (p *barChart) script() (string, error) {
	body := 0
	var values []float64
	for _, g := range p.groups {
		body += groupGap + barHeight*len(g.bars)
		for _, b := range g.bars {
			if !math.IsNaN(b.value) {
				values = append(values, b.value)
			}
		}
	}
	if len(values) == 0 {
		return "", fmt.Errorf("plot %q: no results", p.title)
	}
	c := newCanvas(p.title, p.notes, body, 124, 84)
	c.WriteString("set border 2\nset tics scale 0\nset grid noytics\nset style fill solid noborder\n")
	x := linear(values)
	for i, g := range p.groups {
		c.panel(g.title, groupGap-lineHeight, groupGap, barHeight*len(g.bars))
		write := unnumbered
		if i == len(p.groups)-1 {
			write = p.write
			c.axis(p.xTitle)
		}
		fmt.Fprintf(c, "set xrange [%g:%g]\nset xtics (%s)\n", x.from, x.to, x.labels(write))
		g.script(c, p.write)
	}
	return c.end(), nil
}

// script writes the part of a group. The k-th bar from above is at k.
func (g *group) script(to *canvas, write func(float64) string) {
	var titles, plots []string
	for k, b := range g.bars {
		titles = append(titles, fmt.Sprintf("%q %d", b.title, k))
		value, text := b.value, write(b.value)
		if math.IsNaN(value) {
			value, text = 0, "not measured"
		} else {
			const half = 0.4
			fmt.Fprintf(to, "$bar%d << EOD\n%g %d 0 %g %g %g\nEOD\n", k, value, k, value, float64(k)-half, float64(k)+half)
			plots = append(plots, fmt.Sprintf("$bar%d with boxxyerror linecolor rgb %q title %q", k, b.color, b.title))
		}
		fmt.Fprintf(to, "set label %q at first %g,%d offset character 0.5,0 textcolor \"#202020\"\n", text, value, k)
	}
	if len(plots) == 0 {
		plots = []string{"NaN notitle"} // a plot of nothing is an error
	}
	fmt.Fprintf(to, "set yrange [%g:-0.5]\nset ytics (%s)\n", float64(len(g.bars))-0.5, strings.Join(titles, ", "))
	to.plot(plots)
}
