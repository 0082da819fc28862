package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// drawing has the parts of an SVG that the tests check.
type drawing struct {
	texts  []string
	places []point // of the texts
	curves []curve // with their points in pixels
	boxes  []box
	white  bool // the background
}

// parseSVG reads an SVG of gnuplot: a curve is a group with a title, which uses a symbol for
// each point. A bar is one that has a polygon.
func parseSVG(t *testing.T, svg []byte) *drawing {
	t.Helper()
	out := new(drawing)
	place := regexp.MustCompile(`^translate\(([0-9.]+),([0-9.]+)\)`)
	in, curves, at := "", false, point{}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("parse SVG: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			in = e.Name.Local
			attrs := map[string]string{}
			for _, a := range e.Attr {
				attrs[a.Name.Local] = a.Value
			}
			curves = curves || strings.HasPrefix(attrs["id"], "gnuplot_plot_")
			out.white = out.white || in == "rect" && attrs["fill"] == "#ffffff" && attrs["height"] != ""
			if in == "polygon" {
				out.boxes = append(out.boxes, parseBox(t, out.curves[len(out.curves)-1].title, attrs["fill"], attrs["points"]))
			}
			numbers := place.FindStringSubmatch(attrs["transform"])
			if numbers == nil {
				continue
			}
			x, errX := strconv.ParseFloat(numbers[1], 64)
			y, errY := strconv.ParseFloat(numbers[2], 64)
			if err := errors.Join(errX, errY); err != nil {
				t.Fatal(err)
			}
			if at = (point{x, y}); in == "use" {
				last := &out.curves[len(out.curves)-1]
				last.points = append(last.points, at)
			}
		case xml.CharData:
			switch text := strings.TrimSpace(string(e)); {
			case text == "":
			case in == "title" && curves:
				out.curves = append(out.curves, curve{title: text})
			default:
				out.texts, out.places = append(out.texts, text), append(out.places, at)
			}
		}
	}
}

// wantDrawn requires each text of a picture once, a curve for each of its curves, with each of
// its points where the scales of its panel put it, and the labels beside the ends.
func wantDrawn(t *testing.T, svg []byte, p *lineChart) {
	t.Helper()
	d := parseSVG(t, svg)
	if !d.white {
		t.Error("the background is not white")
	}
	texts := []string{p.title, p.xTitle, "in-tree: the kubernetes plugin of CoreDNS"}
	if p.log {
		texts = append(texts, "both axes are logarithmic")
	}
	curves := 0
	for _, panel := range p.panels {
		texts = append(texts, panel.title)
		for _, c := range panel.curves {
			texts = append(texts, strings.Split(c.label, "\n")...)
		}
		curves += len(panel.curves)
	}
	for _, text := range texts {
		if got, want := count(d.texts, text), count(texts, text); got != want {
			t.Errorf("text %q is drawn %d times, want %d, in %q", text, got, want, d.texts)
		}
	}
	if len(d.curves) != curves {
		t.Fatalf("got %d curves, want %d", len(d.curves), curves)
	}
	for _, panel := range p.panels {
		wantPanel(t, d.curves[:len(panel.curves)], panel.curves, p.log)
		wantLabels(t, d, panel.curves)
		d.curves = d.curves[len(panel.curves):]
	}
}

func count(texts []string, text string) (n int) {
	for _, other := range texts {
		if other == text {
			n++
		}
	}
	return n
}

// wantLabels requires the next labels right of the ends of the curves, at most two and a half
// lines above or below, and in the same order.
func wantLabels(t *testing.T, d *drawing, curves []curve) {
	t.Helper()
	var labels, ends []point
	for i, c := range curves {
		label, _, _ := strings.Cut(c.label, "\n")
		k := slices.Index(d.texts, label)
		if k < 0 {
			return // wantDrawn has reported it
		}
		labels, ends = append(labels, d.places[k]), append(ends, d.curves[i].points[len(d.curves[i].points)-1])
		d.texts[k] = ""
		if labels[i].x < ends[i].x || math.Abs(labels[i].y-ends[i].y) > 2.5*lineHeight {
			t.Errorf("label %q is at %v, but its curve ends at %v", label, labels[i], ends[i])
		}
		for j := range i {
			if apart := math.Abs(labels[i].y - labels[j].y); apart < lineHeight-1 || (labels[i].y < labels[j].y) != (ends[i].y < ends[j].y) && ends[i] != ends[j] {
				t.Errorf("label %q is at %v, and another one at %v", label, labels[i], labels[j])
			}
		}
	}
}

func wantPanel(t *testing.T, drawn, want []curve, log bool) {
	t.Helper()
	var pixels, values []point
	var names []string
	for i, c := range want {
		if got := drawn[i]; got.title != c.title || len(got.points) != len(c.points) {
			t.Errorf("got curve %q with %d points, want %q with %d", got.title, len(got.points), c.title, len(c.points))
			return
		}
		pixels, values = append(pixels, drawn[i].points...), append(values, c.points...)
		for _, at := range c.points {
			names = append(names, fmt.Sprintf("%s at %v", c.title, at.x))
		}
	}
	for axis, of := range map[string]func(point) float64{"x": func(p point) float64 { return p.x }, "y": func(p point) float64 { return p.y }} {
		scaled := func(i int) float64 {
			if log {
				return math.Log(of(values[i]))
			}
			return of(values[i])
		}
		low, high := 0, 0
		for i := range values {
			if scaled(i) < scaled(low) {
				low = i
			}
			if scaled(i) > scaled(high) {
				high = i
			}
		}
		if right := of(pixels[high]) > of(pixels[low]); right != (axis == "x") {
			t.Errorf("axis %s has the wrong direction", axis)
		}
		for i := range values {
			at := line(scaled(low), of(pixels[low]), scaled(high), of(pixels[high]), scaled(i))
			if got := of(pixels[i]); math.Abs(got-at) > 1.5 {
				t.Errorf("%s: got %s = %v, want %v", names[i], axis, got, at)
			}
		}
	}
}

// needGnuplot skips a test without it.
func needGnuplot(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("gnuplot"); err != nil {
		t.Skip("gnuplot is missing")
	}
}

// measured returns results in which all values that the pictures show differ.
func measured() *results {
	r := &results{values: map[string]map[string][]float64{}}
	set := func(name, unit string, v float64) {
		if r.values[name] == nil {
			r.values[name] = map[string][]float64{}
		}
		r.values[name][unit] = []float64{v}
	}
	for i, plugin := range []string{"headless", "kubernetes"} {
		for j, q := range questions {
			for _, n := range allSizes {
				set(serveName(q.query, "udp", n, plugin), "ns/op", 600*math.Pow(4, float64(2*i+j))*math.Sqrt(float64(n)))
				set(serveName(q.query, "tcp", n, plugin), "ns/op", 7)
			}
		}
	}
	for i, w := range watching {
		for _, n := range clusterSizes {
			set(growthName(n, "start", w.plugin), "settled-MB", 60+math.Sqrt(float64(n))*float64(i+1))
			set(growthName(n, "start", w.plugin), "sent-MB", float64(n)/float64(1000*(i+1)))
			set(growthName(n, "churn", w.plugin), "B/s", float64(n*(10-2*i)))
		}
	}
	for i, a := range []asked{askedPod, askedFew, askedMissing, askedMany, askedSRV} {
		for j, server := range comparedServers[:4] {
			set(inServers+a.name(server), "cpu-µs/query", float64(64-10*i-3*j))
		}
	}
	return r
}

func TestPictures(t *testing.T) {
	needGnuplot(t)
	r := measured()
	for name, want := range map[string]*lineChart{
		"bench": {
			title: "Time of a query, by the size of the service", xTitle: "endpoints of the service", log: true,
			panels: []panel{{title: "time in the plugin of a query over UDP", curves: []curve{
				{title: "headless, A of a pod", label: "headless: 60 µs\nA of a pod", points: []point{{1, 600}, {10, 1897}, {100, 6000}, {1000, 18974}, {10000, 60000}}},
				{title: "headless, A of the service", label: "headless: 240 µs\nA of the service", points: []point{{1, 2400}, {10, 7589}, {100, 24000}, {1000, 75895}, {10000, 240000}}},
				{title: "in-tree, A of a pod", label: "in-tree: 960 µs\nA of a pod", points: []point{{1, 9600}, {10, 30358}, {100, 96000}, {1000, 303579}, {10000, 960000}}},
				{title: "in-tree, A of the service", label: "in-tree: 3.84 ms\nA of the service", points: []point{{1, 38400}, {10, 121431}, {100, 384000}, {1000, 1214315}, {10000, 3840000}}},
			}}},
		},
		"growth": {
			title: "Costs of a server, by the size of the cluster", xTitle: "pods in the cluster",
			panels: []panel{
				{title: "memory, settled", curves: []curve{
					{title: "endpoints pods", label: "endpoints pods", points: []point{{10000, 160}, {30000, 233.2}, {100000, 376.2}, {300000, 607.7}}},
					{title: "endpoints slices", label: "endpoints slices", points: []point{{10000, 260}, {30000, 406.4}, {100000, 692.5}, {300000, 1155.4}}},
					{title: "in-tree", label: "in-tree", points: []point{{10000, 360}, {30000, 579.6}, {100000, 1008.7}, {300000, 1703.2}}},
				}},
				{title: "start: sent by the API server", curves: []curve{
					{title: "endpoints pods", label: "endpoints pods", points: []point{{10000, 10}, {30000, 30}, {100000, 100}, {300000, 300}}},
					{title: "endpoints slices", label: "endpoints slices", points: []point{{10000, 5}, {30000, 15}, {100000, 50}, {300000, 150}}},
					{title: "in-tree", label: "in-tree", points: []point{{10000, 3.33}, {30000, 10}, {100000, 33.33}, {300000, 100}}},
				}},
				{title: "churn: sent by the API server", curves: []curve{
					{title: "endpoints pods", label: "endpoints pods", points: []point{{10000, 1e5}, {30000, 3e5}, {100000, 1e6}, {300000, 3e6}}},
					{title: "endpoints slices", label: "endpoints slices", points: []point{{10000, 8e4}, {30000, 24e4}, {100000, 8e5}, {300000, 24e5}}},
					{title: "in-tree", label: "in-tree", points: []point{{10000, 6e4}, {30000, 18e4}, {100000, 6e5}, {300000, 18e5}}},
				}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			svg, err := draw(reports[name].pictures[name+".svg"](r))
			if err != nil {
				t.Fatal(err)
			}
			wantDrawn(t, svg, want)
			d := parseSVG(t, svg)
			for _, tic := range map[string][]string{ // each once, with the axis of several panels
				"bench":  {"1", "10", "100", "1,000", "10,000", "1 µs", "10 µs", "100 µs", "1 ms"},
				"growth": {"100,000", "200,000", "300,000", "500 MB", "1,000 MB", "1,500 MB", "2,000 MB", "100 MB", "200 MB", "300 MB", "1 MB/s", "2 MB/s", "3 MB/s"},
			}[name] {
				if n := count(d.texts, tic); n != 1 {
					t.Errorf("tic %q is drawn %d times in %q", tic, n, d.texts)
				}
			}
		})
	}
}

// TestPictureWithoutResults requires an error if a curve has no points, and a curve of the
// other points if one is missing.
func TestPictureWithoutResults(t *testing.T) {
	r := measured()
	delete(r.values, serveName("pod-A", "udp", 10, "kubernetes"))
	if script, err := r.queryPicture().script(); err != nil || strings.Contains(script, "NaN") || !strings.Contains(script, "\n100 96000\n") {
		t.Errorf("without one result: %v, %s", err, script)
	}
	for _, n := range allSizes {
		delete(r.values, serveName("pod-A", "udp", n, "kubernetes"))
	}
	want := `plot "time in the plugin of a query over UDP": no results for "in-tree, A of a pod"`
	if svg, err := draw(r.queryPicture()); err == nil || err.Error() != want {
		t.Errorf("without the results of a curve: got %q and error %v, want %s", svg, err, want)
	}
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		scale    *scale
		from, to float64
		tics     []float64
	}{
		{linear([]float64{67, 238}), 0, 300, []float64{0, 100, 200, 300}},
		{linear([]float64{1124, 1}), 0, 1500, []float64{0, 500, 1000, 1500}},
		{linear([]float64{4}), 0, 4, []float64{0, 1, 2, 3, 4}},
		{linear([]float64{950}), 0, 1000, []float64{0, 500, 1000}},
		{logarithmic([]float64{1, 1000}), 1 / 1.5, 1500, []float64{1, 10, 100, 1000}},
		{logarithmic([]float64{578, 11.2e6}), 578 / 1.5, 16.8e6, []float64{1e3, 1e4, 1e5, 1e6, 1e7}},
	} {
		s := test.scale
		if s.from != test.from || math.Abs(s.to/test.to-1) > 1e-9 || !slices.EqualFunc(s.tics, test.tics, func(a, b float64) bool { return math.Abs(a-b) <= b*1e-9 }) {
			t.Errorf("got %+v, want from %v to %v with %v", *s, test.from, test.to, test.tics)
		}
		if low, high := s.at(s.from), s.at(s.to); low != 0 || high != 1 {
			t.Errorf("%+v: its ends are at %v and %v, want 0 and 1", *s, low, high)
		}
	}
	if got := logarithmic([]float64{1.5, 1e6 / 1.5}).at(1e3); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("1,000 between 1 and 1,000,000: got %v, want 0.5", got)
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct{ positions, want []float64 }{
		{[]float64{0.9, 0.1, 0.5}, []float64{0.9, 0.1, 0.5}},
		{[]float64{0.5, 0.5}, []float64{0.4, 0.6}},
		{[]float64{0.5, 0.9, 0.4}, []float64{0.55, 0.9, 0.35}},
		{[]float64{0.5, 0.4, 0.45}, []float64{0.65, 0.25, 0.45}},
	} {
		got := spread(test.positions, 0.2)
		if !slices.EqualFunc(got, test.want, func(a, b float64) bool { return math.Abs(a-b) < 0.001 }) {
			t.Errorf("spread(%v): got %v, want %v", test.positions, got, test.want)
		}
	}
}

// TestPageHasPictures requires that the pictures of the repository show the figures of the
// tables in docs/performance.md, so that a new run leaves no old picture.
func TestPageHasPictures(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, queries, _ := strings.Cut(string(page), "\n### A query to the plugin\n")
	_, servers, _ := strings.Cut(string(page), "\n"+serversTitle+"\n")
	_, growth, _ := strings.Cut(string(page), "\n## A cluster that grows\n")
	r := &results{values: map[string]map[string][]float64{}}
	for _, q := range questions[:2] {
		for i, plugin := range []string{"headless", "kubernetes"} {
			for k, v := range figures(t, queries, q.title, i) {
				r.values[serveName(q.query, "udp", allSizes[k], plugin)] = map[string][]float64{"ns/op": {v}}
			}
		}
	}
	for i, w := range watching {
		for k, n := range clusterSizes {
			for _, c := range []cost{settled, sentAtStart, sentInChurn} {
				name := growthName(n, c.what, w.plugin)
				if r.values[name] == nil {
					r.values[name] = map[string][]float64{}
				}
				r.values[name][c.metric] = []float64{figures(t, growth, c.title, i)[k]}
			}
		}
	}
	for _, a := range allAsked {
		for i, cell := range cells(t, servers, a.title, 0)[1:][:len(comparedServers)] {
			if cell != "not measured" {
				r.values[inServers+a.name(comparedServers[i])] = map[string][]float64{"cpu-µs/query": {amount(t, cell) / 1e3}}
			}
		}
	}
	for _, a := range []asked{askedMany, askedSRV} { // a note of the picture says so
		if us := r.median(inServers+a.name(kubernetesServer), "cpu-µs/query"); us < 1000 {
			t.Errorf("in-tree, %s: got %v µs, want milliseconds", a.title, us)
		}
	}
	shown := strings.Count(string(page), "](../plugin/bench/")
	for _, report := range reports {
		shown -= len(report.pictures)
		for file, picture := range report.pictures {
			if !strings.Contains(string(page), "](../plugin/bench/"+file+")") {
				t.Errorf("the page does not show %s", file)
			}
			svg, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wantPicture(t, svg, picture(r))
		}
	}
	if shown != 0 {
		t.Errorf("the page shows %d pictures more than the reports have", shown)
	}
}

// figures returns the amounts in the k-th row below a title, after the title and the plugin.
func figures(t *testing.T, text, title string, k int) (out []float64) {
	t.Helper()
	for _, cell := range cells(t, text, title, k)[2:] {
		out = append(out, amount(t, cell))
	}
	return out
}

// cells returns the k-th row below a title.
func cells(t *testing.T, text, title string, k int) []string {
	t.Helper()
	_, rows, found := strings.Cut("\n"+text, "\n| "+title+" |")
	if !found {
		t.Fatalf("no row %q", title)
	}
	line := strings.Split("| "+title+" |"+rows, "\n")[k]
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
}

// amount returns the number of a cell in nanoseconds, megabytes, or bytes a second.
func amount(t *testing.T, cell string) float64 {
	t.Helper()
	value, unit, _ := strings.Cut(cell, " ")
	v, err := strconv.ParseFloat(strings.ReplaceAll(value, ",", ""), 64)
	factor := map[string]float64{"ns": 1, "µs": 1e3, "ms": 1e6, "MB": 1, "B/s": 1, "KB/s": 1e3, "MB/s": 1e6}[unit]
	if err != nil || factor == 0 {
		t.Fatalf("cell %q: %v", cell, err)
	}
	return v * factor
}
