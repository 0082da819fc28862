package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// lineChart has one or more panels with the same horizontal axis.
type lineChart struct {
	title  string
	notes  []string // lines below the title
	xTitle string
	log    bool // both axes are logarithmic; otherwise they are linear and begin at zero
	panels []panel
}

// panel is a diagram in a lineChart.
type panel struct {
	title  string // of the vertical axis, and what it shows
	height int
	write  func(float64) string // formats a value of the vertical axis
	curves []curve
}

// curve has its label at its right end.
type curve struct {
	title, label string
	style        style
	points       []point
}

// style is the look of a curve, in gnuplot's terms.
type style struct{ color, line string }

type point struct{ x, y float64 }

// add adds a point, unless its value was not measured.
func (c *curve) add(n int, value float64) {
	if !math.IsNaN(value) {
		c.points = append(c.points, point{float64(n), value})
	}
}

// gap is above a panel, for its title, in pixels.
const gap = 62

func (p *lineChart) script() (string, error) {
	body := 0
	for _, panel := range p.panels {
		body += gap + panel.height
	}
	c := newCanvas(p.title, p.notes, body, 90, 174)
	if p.log {
		c.WriteString("set logscale xy\n")
	}
	for i, panel := range p.panels {
		c.panel(panel.title, lineHeight, gap, panel.height)
		last := i == len(p.panels)-1
		if last {
			c.axis(p.xTitle)
		}
		if err := panel.script(c, p.log, last); err != nil {
			return "", err
		}
	}
	return c.end(), nil
}

// script writes the part of a panel. Only the last panel has the numbers of the shared axis.
func (p *panel) script(to *canvas, log, last bool) error {
	var xs, ys []float64
	for _, c := range p.curves {
		if len(c.points) == 0 {
			return fmt.Errorf("plot %q: no results for %q", p.title, c.title)
		}
		for _, at := range c.points {
			xs, ys = append(xs, at.x), append(ys, at.y)
		}
	}
	newScale := linear
	if log {
		newScale = logarithmic
	}
	x, y := newScale(xs), newScale(ys)
	count := number
	if !last {
		count = unnumbered
	}
	fmt.Fprintf(to, "set xrange [%g:%g]\nset xtics (%s)\n", x.from, x.to, x.labels(count))
	fmt.Fprintf(to, "set yrange [%g:%g]\nset ytics (%s)\n", y.from, y.to, y.labels(p.write))

	var ends []float64
	lines := 1
	for _, c := range p.curves {
		ends = append(ends, y.at(c.points[len(c.points)-1].y))
		lines = max(lines, 1+strings.Count(c.label, "\n"))
	}
	line := lineHeight / float64(p.height)
	var plots []string
	for i, end := range spread(ends, line*(float64(lines)+0.1)) {
		c := p.curves[i]
		// gnuplot aligns the first line of a label with its point.
		fmt.Fprintf(to, "set label %q at graph 1,%.4f offset character 1,0 textcolor %q\n", c.label,
			end+line*float64(lines-1)/2, c.style.color)
		fmt.Fprintf(to, "$curve%d << EOD\n", i)
		for _, at := range c.points {
			fmt.Fprintln(to, at.x, at.y)
		}
		to.WriteString("EOD\n")
		plots = append(plots, fmt.Sprintf("$curve%d using 1:2 with linespoints %s linecolor rgb %q title %q", i, c.style.line, c.style.color, c.title))
	}
	to.plot(plots)
	return nil
}

// spread returns positions that are at least a distance apart, near to the given ones and in
// the same order.
func spread(positions []float64, distance float64) []float64 {
	order := make([]int, len(positions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(positions[i], positions[j]) })
	out := slices.Clone(positions)
	for moved := true; moved; {
		moved = false
		for k := 1; k < len(order); k++ {
			low, high := &out[order[k-1]], &out[order[k]]
			if lack := distance - (*high - *low); lack > distance/1000 {
				*low -= lack / 2
				*high += lack / 2
				moved = true
			}
		}
	}
	return out
}
