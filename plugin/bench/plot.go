package main

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
)

// picture is a lineChart or a barChart.
type picture interface {
	script() (string, error) // the input of gnuplot
}

// draw returns an SVG.
func draw(p picture) ([]byte, error) {
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

// Sizes in pixels. A page may show a picture at 400 pixels.
const (
	width      = 560
	lineHeight = 22
	head       = 14 // above the title
	foot       = 58 // below the last panel, for the tics and the title of the axis
)

const setup = `set terminal svg size %d,%d font "sans-serif,16" background "#ffffff"
set multiplot
set border 3 linecolor "#606060"
set tics nomirror scale 0.5 textcolor "#202020"
set grid xtics ytics linetype 1 linewidth 1 linecolor "#e0e0e0"
unset key
`

// canvas is the script of a picture with panels, one above the other.
type canvas struct {
	strings.Builder
	top    int // the end of what it has, in pixels
	height int
	middle float64 // of the panels
}

// newCanvas returns a canvas with a title, and notes in lines below it. body is the height of
// the panels with what is between them, and left and right are their margins.
func newCanvas(title string, notes []string, body, left, right int) *canvas {
	c := &canvas{top: head + lineHeight*(1+len(notes)), middle: (1 + float64(left-right)/width) / 2}
	c.height = c.top + body + foot
	fmt.Fprintf(c, setup, width, c.height)
	fmt.Fprintf(c, "set lmargin at screen %.4f\nset rmargin at screen %.4f\n", float64(left)/width, 1-float64(right)/width)
	fmt.Fprintf(c, "set label \"{/:Bold %s}\" at screen 0.02,%.4f font \",20\"\n", title, c.at(head+lineHeight/2))
	for i, note := range notes {
		fmt.Fprintf(c, "set label %q at screen 0.02,%.4f textcolor \"#404040\"\n", note, c.at(head+lineHeight*(i+1)+lineHeight/2+4))
	}
	return c
}

// at returns the place of a pixel in gnuplot's terms.
func (c *canvas) at(y int) float64 { return 1 - float64(y)/float64(c.height) }

// panel places the next panel, in a distance to what is above it. The middle of its title is
// the given pixels above the panel.
func (c *canvas) panel(title string, above, distance, height int) {
	c.top += distance
	fmt.Fprintf(c, "set label \"{/:Bold %s}\" at screen 0.02,%.4f\n", title, c.at(c.top-above))
	fmt.Fprintf(c, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n", c.at(c.top), c.at(c.top+height))
	c.top += height
}

// axis places the title of the horizontal axis below the last panel.
func (c *canvas) axis(title string) {
	fmt.Fprintf(c, "set label %q at screen %.4f,%.4f center\n", title, c.middle, c.at(c.top+lineHeight*2))
}

// plot ends a panel.
func (c *canvas) plot(plots []string) {
	fmt.Fprintf(c, "plot %s\nunset label\n", strings.Join(plots, ", "))
}

// end returns the script.
func (c *canvas) end() string {
	c.WriteString("unset multiplot\n")
	return c.String()
}

// unnumbered is the text of the tics of a panel that is not the last one.
func unnumbered(float64) string { return "" }

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
