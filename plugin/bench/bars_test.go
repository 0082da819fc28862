package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// box is a drawn bar, in pixels.
type box struct {
	title, color             string
	left, right, top, bottom float64
}

func parseBox(t *testing.T, title, fill, points string) box {
	t.Helper()
	var r, g, b int
	if _, err := fmt.Sscanf(fill, "rgb(%d,%d,%d)", &r, &g, &b); err != nil {
		t.Fatalf("color %q: %v", fill, err)
	}
	var xs, ys []float64
	for _, corner := range strings.Fields(points) {
		var x, y float64
		if _, err := fmt.Sscanf(corner, "%g,%g", &x, &y); err != nil {
			t.Fatalf("corner %q: %v", corner, err)
		}
		xs, ys = append(xs, x), append(ys, y)
	}
	return box{title, fmt.Sprintf("#%02x%02x%02x", r, g, b), slices.Min(xs), slices.Max(xs), slices.Min(ys), slices.Max(ys)}
}

// wantPicture is wantDrawn or wantBars.
func wantPicture(t *testing.T, svg []byte, p picture) {
	t.Helper()
	switch p := p.(type) {
	case *lineChart:
		wantDrawn(t, svg, p)
	case *barChart:
		wantBars(t, svg, p)
	default:
		t.Errorf("a picture of type %T", p)
	}
}

// find returns the places of a text from above.
func (d *drawing) find(text string) (out []point) {
	for i, other := range d.texts {
		if other == text {
			out = append(out, d.places[i])
		}
	}
	slices.SortFunc(out, func(a, b point) int { return cmp.Compare(a.y, b.y) })
	return out
}

// wantBars requires the title, the notes and the groups in their order, one below the other.
// In a group are the bars, each with its title at the left, its length by the numbers of the
// axis, and its value at the right.
func wantBars(t *testing.T, svg []byte, p *barChart) {
	t.Helper()
	d := parseSVG(t, svg)
	if !d.white {
		t.Error("the background is not white")
	}
	above := 0.0
	next := func(text string, places []point, distance float64) (at point) {
		if len(places) == 0 {
			t.Fatalf("text %q is missing or not drawn often enough, in %q", text, d.texts)
		}
		if at = places[0]; at.y < above+distance {
			t.Errorf("text %q is at %v, too near to the %v above it", text, at, above)
		}
		above = at.y
		return at
	}
	for _, text := range append([]string{p.title}, p.notes...) {
		next(text, d.find(text), lineHeight-1)
	}
	zero, pixels := d.axis(t)
	boxes := d.boxes
	for i, g := range p.groups {
		next(g.title, d.find(g.title), lineHeight-1)
		for _, b := range g.bars {
			places := d.find(b.title)
			title := next(b.title, places[min(i, len(places)):], barHeight-1)
			end, text := zero, "not measured"
			if !math.IsNaN(b.value) {
				end, text = zero+b.value*pixels, p.write(b.value)
				if len(boxes) == 0 {
					t.Fatalf("%s, %s: no bar", g.title, b.title)
				}
				got := boxes[0]
				boxes = boxes[1:]
				if got.title != b.title || got.color != b.color {
					t.Errorf("%s: got a bar of %q in %s, want %q in %s", g.title, got.title, got.color, b.title, b.color)
				}
				if math.Abs(got.left-zero) > 1 || math.Abs(got.right-end) > 1 {
					t.Errorf("%s, %s: got a bar from %v to %v, want from %v to %v", g.title, b.title, got.left, got.right, zero, end)
				}
				if middle := (got.top + got.bottom) / 2; math.Abs(middle-title.y+5) > 2 || got.bottom-got.top > barHeight {
					t.Errorf("%s, %s: the bar is from %v to %v, and its title at %v", g.title, b.title, got.top, got.bottom, title)
				}
			}
			if title.x > zero {
				t.Errorf("%s: the title %q is at %v, not left of %v", g.title, b.title, title, zero)
			}
			if !slices.ContainsFunc(d.find(text), func(at point) bool {
				return math.Abs(at.y-title.y) < 2 && at.x > end+2 && at.x < end+10 && at.x+9.5*float64(utf8.RuneCountInString(text)) < width
			}) {
				t.Errorf("%s, %s: no text %q at %v and %v, but at %v", g.title, b.title, text, end, title.y, d.find(text))
			}
		}
	}
	if len(boxes) != 0 {
		t.Errorf("%d bars too many: %v", len(boxes), boxes)
	}
	next("0", d.find("0"), barHeight)
	next(p.xTitle, d.find(p.xTitle), lineHeight-4)
}

// axis returns where zero is on the horizontal axis, and the pixels of one.
func (d *drawing) axis(t *testing.T) (zero, pixels float64) {
	t.Helper()
	zeros := d.find("0")
	if len(zeros) != 1 {
		t.Fatalf("zero is drawn %d times", len(zeros))
	}
	tics := 0
	for i, at := range d.places {
		if text, _, _ := strings.Cut(d.texts[i], " "); at.y == zeros[0].y && text != "0" {
			value, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
			if err != nil {
				t.Fatalf("tic %q: %v", d.texts[i], err)
			}
			one := (at.x - zeros[0].x) / value
			if tics++; tics > 1 && math.Abs(one/pixels-1) > 0.01 {
				t.Errorf("the axis is not linear: one is %v pixels at %s, and %v at another tic", one, text, pixels)
			}
			pixels = one
		}
	}
	if tics < 2 || pixels <= 0 {
		t.Fatalf("got %d tics and %v pixels, in %q", tics, pixels, d.texts)
	}
	return zeros[0].x, pixels
}

// comparison returns the picture of servers with these values.
func comparison(values ...[4]float64) *barChart {
	p := &barChart{
		title:  "Cost of a query in a whole server",
		notes:  []string{"floor: a CoreDNS that always gives the same short reply", "in-tree is left out: milliseconds for a service of 1,000"},
		xTitle: "CPU of the process for a query",
		write:  func(us float64) string { return number(us) + " µs" },
	}
	for i, title := range []string{"A of a pod", "A of a service of 3", "unknown host", "A of a service of 1,000, EDNS 1232", "SRV of a port of 1,000, EDNS 1232"} {
		v := values[i]
		p.groups = append(p.groups, group{title, []bar{
			{"floor", "#949494", v[0]}, {"headless", "#1565c0", v[1]}, {"with fastpath", "#1b7f5c", v[2]}, {"Knot DNS", "#c1440e", v[3]},
		}})
	}
	return p
}

func TestServersPicture(t *testing.T) {
	needGnuplot(t)
	none := math.NaN()
	for name, test := range map[string]struct {
		change func(r *results)
		want   *barChart
	}{
		"all": {func(*results) {}, comparison([4]float64{64, 61, 58, 55}, [4]float64{54, 51, 48, 45}, [4]float64{44, 41, 38, 35}, [4]float64{34, 31, 28, 25}, [4]float64{24, 21, 18, 15})},
		"as long as the axis, and as short as nothing": {func(r *results) {
			r.values[inServers+askedMany.name(headlessServer)]["cpu-µs/query"] = []float64{100}
			r.values[inServers+askedMany.name(fastServer)]["cpu-µs/query"] = []float64{0.01, 0.012, 7}
		}, comparison([4]float64{64, 61, 58, 55}, [4]float64{54, 51, 48, 45}, [4]float64{44, 41, 38, 35}, [4]float64{34, 100, 0.012, 25}, [4]float64{24, 21, 18, 15})},
		"without Knot DNS and two kinds of query": {func(r *results) {
			for _, a := range allAsked {
				delete(r.values, inServers+a.name(knotServer))
			}
			for _, server := range comparedServers {
				delete(r.values, inServers+askedPod.name(server))
				delete(r.values, inServers+askedSRV.name(server))
			}
		}, comparison([4]float64{none, none, none, none}, [4]float64{54, 51, 48, none}, [4]float64{44, 41, 38, none}, [4]float64{34, 31, 28, none}, [4]float64{none, none, none, none})},
	} {
		t.Run(name, func(t *testing.T) {
			r := measured()
			test.change(r)
			svg, err := draw(r.serversPicture())
			if err != nil {
				t.Fatal(err)
			}
			wantBars(t, svg, test.want)
		})
	}
	want := `plot "Cost of a query in a whole server": no results`
	if svg, err := draw(new(results).serversPicture()); err == nil || err.Error() != want {
		t.Errorf("without results: got %q and error %v, want %s", svg, err, want)
	}
}
