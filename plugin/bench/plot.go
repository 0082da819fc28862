package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
)

// picture has one or more panels, one above the other, with the same horizontal axis.
type picture struct {
	title  string
	notes  []string // lines below the title
	xTitle string
	log    bool // both axes are logarithmic; otherwise they are linear and begin at zero
	panels []panel
}

// panel is a diagram in a picture.
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

// Sizes in pixels. A page may show a picture at 400 pixels.
const (
	width, left, right = 560, 90, 174 // of the picture, and of its margins
	lineHeight         = 22
	head               = 14 // above the title
	gap                = 62 // above a panel, for its title
	foot               = 58 // below the last panel, for the tics and the title of the axis
)

const setup = `set terminal svg size %d,%d font "sans-serif,16" background "#ffffff"
set multiplot
set border 3 linecolor "#606060"
set tics nomirror scale 0.5 textcolor "#202020"
set grid xtics ytics linetype 1 linewidth 1 linecolor "#e0e0e0"
unset key
`

// draw returns an SVG.
func (p *picture) draw() ([]byte, error) {
	script, err := p.script()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("gnuplot")
	cmd.Stdin = strings.NewReader(script)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("plot with gnuplot: %w: %s", err, &errs)
	}
	return out.Bytes(), nil
}

// script returns the input of gnuplot.
func (p *picture) script() (string, error) {
	top := head + lineHeight*(1+len(p.notes))
	height := top + foot
	for _, panel := range p.panels {
		height += gap + panel.height
	}
	var b strings.Builder
	fmt.Fprintf(&b, setup, width, height)
	fmt.Fprintf(&b, "set lmargin at screen %.4f\nset rmargin at screen %.4f\n", float64(left)/width, 1-float64(right)/width)
	if p.log {
		b.WriteString("set logscale xy\n")
	}
	at := func(y int) float64 { return 1 - float64(y)/float64(height) } // in gnuplot's screen
	fmt.Fprintf(&b, "set label \"{/:Bold %s}\" at screen 0.02,%.4f font \",20\"\n", p.title, at(head+lineHeight/2))
	for i, note := range p.notes {
		fmt.Fprintf(&b, "set label %q at screen 0.02,%.4f textcolor \"#404040\"\n", note, at(head+lineHeight*(i+1)+lineHeight/2+4))
	}
	for i, panel := range p.panels {
		top += gap
		fmt.Fprintf(&b, "set label \"{/:Bold %s}\" at screen 0.02,%.4f\n", panel.title, at(top-lineHeight))
		fmt.Fprintf(&b, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n", at(top), at(top+panel.height))
		top += panel.height
		last := i == len(p.panels)-1
		if last {
			middle := (1 + float64(left-right)/width) / 2
			fmt.Fprintf(&b, "set label %q at screen %.4f,%.4f center\n", p.xTitle, middle, at(top+lineHeight*2))
		}
		if err := panel.script(&b, p.log, last); err != nil {
			return "", err
		}
		b.WriteString("unset label\n")
	}
	b.WriteString("unset multiplot\n")
	return b.String(), nil
}

// script writes the part of a panel. Only the last panel has the numbers of the shared axis.
func (p *panel) script(b *strings.Builder, log, last bool) error {
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
		count = func(float64) string { return "" }
	}
	fmt.Fprintf(b, "set xrange [%g:%g]\nset xtics (%s)\n", x.from, x.to, x.labels(count))
	fmt.Fprintf(b, "set yrange [%g:%g]\nset ytics (%s)\n", y.from, y.to, y.labels(p.write))

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
		fmt.Fprintf(b, "set label %q at graph 1,%.4f offset character 1,0 textcolor %q\n", c.label,
			end+line*float64(lines-1)/2, c.style.color)
		fmt.Fprintf(b, "$curve%d << EOD\n", i)
		for _, at := range c.points {
			fmt.Fprintln(b, at.x, at.y)
		}
		b.WriteString("EOD\n")
		plots = append(plots, fmt.Sprintf("$curve%d using 1:2 with linespoints %s linecolor rgb %q title %q", i, c.style.line, c.style.color, c.title))
	}
	fmt.Fprintf(b, "plot %s\n", strings.Join(plots, ", "))
	return nil
}

// scale is the range of an axis and where it has tics.
type scale struct {
	from, to float64
	tics     []float64
	log      bool
}

// logarithmic returns a scale with a tic at each power of ten.
func logarithmic(values []float64) *scale {
	const margin = 1.5
	s := &scale{slices.Min(values) / margin, slices.Max(values) * margin, nil, true}
	for tic := math.Pow(10, math.Ceil(math.Log10(s.from))); tic <= s.to; tic *= 10 {
		s.tics = append(s.tics, tic)
	}
	return s
}

// linear returns a scale from zero to the last of at most five tics, 1, 2 or 5 times a power
// of ten apart.
func linear(values []float64) *scale {
	highest := slices.Max(values)
	unit := math.Pow(10, math.Floor(math.Log10(highest))-1)
	step := unit
	for _, factor := range []float64{1, 2, 5, 10, 20, 50} {
		if step = factor * unit; highest <= 4*step {
			break
		}
	}
	s := new(scale)
	for s.to < highest {
		s.tics = append(s.tics, s.to)
		s.to += step
	}
	s.tics = append(s.tics, s.to)
	return s
}

// at returns the position of a value on the axis, from 0 to 1.
func (s *scale) at(value float64) float64 {
	if s.log {
		return math.Log(value/s.from) / math.Log(s.to/s.from)
	}
	return (value - s.from) / (s.to - s.from)
}

// labels returns the tics as an option of gnuplot.
func (s *scale) labels(write func(float64) string) string {
	var out []string
	for _, tic := range s.tics {
		text := write(tic)
		if tic == 0 && text != "" {
			text = "0"
		}
		out = append(out, fmt.Sprintf("%q %g", text, tic))
	}
	return strings.Join(out, ", ")
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
