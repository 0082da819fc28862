package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sample returns results for every table. For each pod of a service headless takes ten
// nanoseconds, and in-tree a hundred.
func sample() string {
	var b strings.Builder
	b.WriteString("goos: linux\ncpu: A Processor\npkg: github.com/headless-dns/headless/plugin/bench\n")
	for _, q := range questions {
		for _, n := range allSizes {
			fmt.Fprintf(&b, "BenchmarkServeDNS/query=%s/proto=udp/n=%d/plugin=headless-2 \t 100\t %d ns/op\t 400 B/op\t 3 allocs/op\n", q.query, n, 10*n)
			fmt.Fprintf(&b, "BenchmarkServeDNS/query=%s/proto=udp/n=%d/plugin=kubernetes-2 \t 100\t %d ns/op\t 4000 B/op\t 33 allocs/op\n", q.query, n, 100*n)
		}
	}
	b.WriteString("BenchmarkServeDNS/query=other-zone/proto=udp/plugin=headless \t 100\t 101 ns/op\t 32 B/op\t 2 allocs/op\n")
	b.WriteString("BenchmarkServeDNS/query=other-zone/proto=udp/plugin=pass \t 100\t 40 ns/op\t 0 B/op\t 1 allocs/op\n")
	b.WriteString("BenchmarkProcess/query=pod-A/plugin=floor-2 1 40 cpu-µs/query\n")
	for _, v := range []int{45, 41, 30} {
		fmt.Fprintf(&b, "BenchmarkProcess/query=pod-A/n=1/plugin=headless-2 1 %d cpu-µs/query\n", v)
	}
	b.WriteString("BenchmarkScale/start/plugin=headless-2 1 2.5 cpu-s 130 peak-MB 100 settled-MB\nBenchmarkScale/start/plugin=verified-2 1 10 cpu-s\n")
	b.WriteString(compared())
	b.WriteString("--- some other line\nPASS\npkg: github.com/headless-dns/headless/informer\nBenchmarkHeap-2 \t 2\t 12345 ns/op\t 250.4 B/pod\n")
	return b.String()
}

// compared returns results of three rounds of whole servers, for some of the kinds of queries. The
// median of the ratios within a round is not the ratio of the medians. Knot DNS lacks a round.
func compared() string {
	var b strings.Builder
	line := func(name, values string) { fmt.Fprintf(&b, "BenchmarkServers/%s-2 1 %s\n", name, values) }
	for i, floor := range []int{20, 40, 100} {
		fast := []int{6, 10, 40}[i]
		for _, a := range []asked{askedPod, askedPodSlow, askedManyLarge, askedOther} {
			line(a.name(constantServer), fmt.Sprintf("%d cpu-µs/query", floor))
			line(a.name(fastServer), fmt.Sprintf("%d cpu-µs/query", fast))
		}
		for _, a := range []asked{askedPod, askedOther} {
			line(a.name(headlessServer), fmt.Sprintf("%d cpu-µs/query", floor-1))
		}
		if i > 0 {
			line(askedPod.name(knotServer), fmt.Sprintf("%d cpu-µs/query", fast))
		}
		line(askedPodSlow.name(knotServer), fmt.Sprintf("%d cpu-µs/query", fast))
		line(latencyName(1000, headlessServer), fmt.Sprintf("%d p50-µs %d p99-µs", floor, 2*floor))
		line(latencyName(1000, fastServer), fmt.Sprintf("%d p50-µs %d p99-µs", fast, 3*floor))
		line(latencyName(0, headlessServer), fmt.Sprintf("%d p50-µs 200 p99-µs", floor))
		line(latencyName(0, fastServer), fmt.Sprintf("%d p50-µs 300 p99-µs", fast))
		line(memoryName(headlessServer), fmt.Sprintf("%d rss-MB", floor))
		line(memoryName(fastServer), fmt.Sprintf("%d rss-MB", floor+[]int{9, 7, 12}[i]))
	}
	return b.String()
}

// met returns results of the rendezvous: of ten pods that ask the server, with the option and without.
func met() string {
	return "pkg: github.com/headless-dns/headless/plugin/rendezvous\n" +
		"BenchmarkRendezvous/n=10/server=addressed/cache=false-2 1 5 ns/op 19 all-ms 0 failed 56.67 first-% 51 known\n" +
		"BenchmarkRendezvous/n=10/server=headless/cache=true-2 1 5 ns/op 4929 all-ms 48 failed 0 first-% 48 known\n"
}

// TestRendezvousTables checks the cells of what was measured and of what was not.
func TestRendezvousTables(t *testing.T) {
	r := read(t, met())
	for cached, want := range map[bool][]string{
		false: {"|  |  | N = 10 | N = 100 | N = 1,000 |", "first lookups that succeed | 56.7 % | – | – |", "and fail | 0 of 51 | – of – | – of – |", "until all have succeeded | 19 ms | – | – |"},
		true:  {"| *headless* by default | first lookups that succeed | 0 % | – | – |", "and fail | 48 of 48 |", "until all have succeeded | 4,929 ms |"},
	} {
		table := r.rendezvousTable(cached)
		for _, text := range want {
			if !strings.Contains(table, text) {
				t.Errorf("the table with cache %v is\n%s\nwithout %q", cached, table, text)
			}
		}
	}
}

// growing returns results of clusters. For 1,000 pods, the k-th server uses k megabytes
// beyond 50, and the API server sends it k KB a second. For the second server the
// stand-in is the limit.
func growing() string {
	var b strings.Builder
	b.WriteString("pkg: github.com/headless-dns/headless/plugin/bench\n")
	for i, w := range watching {
		for _, n := range clusterSizes {
			fmt.Fprintf(&b, "BenchmarkGrowth/n=%d/start/plugin=%s-2 1 %d settled-MB %d sent-MB\n", n, w.plugin, 50+(i+1)*n/1000, n/300)
			fmt.Fprintf(&b, "BenchmarkGrowth/n=%d/churn/plugin=%s-2 1 %d B/s 3500 B/change\n", n, w.plugin, (i+1)*n)
			fmt.Fprintf(&b, "BenchmarkGrowth/n=%d/load/plugin=%s-2 1 9000 changes/s %d limited 25 cpu-µs/change\n", n, w.plugin, i%2)
		}
		fmt.Fprintf(&b, "BenchmarkGrowth/few/start/plugin=%s-2 1 %d settled-MB\n", w.plugin, 70+i)
	}
	return b.String()
}

func read(t *testing.T, text string) *results {
	t.Helper()
	r, err := readResults(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResults(t *testing.T) {
	r := read(t, sample())
	for _, test := range []struct {
		benchmark, unit string
		want            float64
	}{
		{serveName("PTR", "udp", 100, "headless"), "ns/op", 1000},
		{serveName("PTR", "udp", 100, "kubernetes"), "allocs/op", 33},
		{serveName("other-zone", "udp", 0, "pass"), "B/op", 0},
		{processName("pod-A", 1, "headless"), "cpu-µs/query", 41},
		{"informer.Heap", "B/pod", 250.4},
		{"informer.Heap", "MB", math.NaN()},
	} {
		if got := r.median(test.benchmark, test.unit); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%s: got %v %s, want %v", test.benchmark, got, test.unit, test.want)
		}
	}
	if r.cpu != "A Processor" {
		t.Errorf("cpu: got %q, want %q", r.cpu, "A Processor")
	}
	if _, err := readResults(strings.NewReader("BenchmarkX 1 y ns/op\n")); err == nil {
		t.Error("readResults accepted a value that is no number")
	}
	even := read(t, "BenchmarkX 1 2 ns/op\nBenchmarkX 1 5 ns/op\n")
	if got := even.median(".X", "ns/op"); got != 3.5 {
		t.Errorf("median of 2 and 5: got %v, want 3.5", got)
	}
}

// TestPairs requires that benchmarks with different numbers of rounds have no pairs.
func TestPairs(t *testing.T) {
	r := &results{values: map[string]map[string][]float64{"two": {"s": {8, 9}}, "too": {"s": {2, 3}}, "three": {"s": {1, 2, 3}}}}
	if got := r.pairs("two", "too", "s", quotient); !slices.Equal(got, []float64{4, 3}) {
		t.Errorf("pairs of two and two: got %v, want 4 and 3", got)
	}
	for _, names := range [][2]string{{"two", "three"}, {"three", "two"}, {"two", "none"}} {
		if got := r.pairs(names[0], names[1], "s", quotient); got != nil {
			t.Errorf("pairs of %s and %s: got %v, want none", names[0], names[1], got)
		}
	}
}

// wantLines requires that a text has these lines.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestTargets(t *testing.T) {
	text := targetTable(read(t, sample()).targets())
	wantLines(t, text,
		"| A of a pod, N = 10,000 to N = 1 | ≤ 1.2 × | 10,000 × | missed by 833,233% |",
		"| A of a pod, faster than in-tree, N = 100 | ≥ 8 × | 10 × | held |",
		"| A of a pod, faster than in-tree, N = 10,000 | ≥ 100 × | 10 × | missed by 90% |",
		"| A of a pod, allocations | ≤ 3 | 3 | held |",
		"| another zone, before the next plugin | ≤ 60 ns | 61 ns | missed by 1.67% |",
		"| another zone, allocations before the next plugin | ≤ 0 | 1 | missed |",
		"| heap of a pod | ≤ 300 B | 250 B | held |",
		"| a pod changes, N = 10,000 | ≤ 5 µs | – | not measured |",
		"| start at 100,000 pods, CPU to in-tree's | ≤ 0.33 × | 0.25 × | held |",
		"| start at 100,000 pods, peak memory to settled | ≤ 1.3 × | 1.3 × | held |",
		"| whole server, A of a pod to the floor, at every N | ≤ 1.05 × | – | not measured |",
		"| fastpath, A of a pod, to the floor | ≤ 0.33 × | 0.3 × | held |",
		"| fastpath, A of a pod, 2,000 a second, to the floor | ≤ 0.33 × | 0.3 × | held |",
		"| fastpath, A of a pod, 10,000 a second, to the floor | ≤ 0.33 × | – | not measured |",
		"| fastpath, A of a service of 3, to the floor | ≤ 0.33 × | – | not measured |",
		"| fastpath, unknown host, to the floor | ≤ 0.33 × | – | not measured |",
		"| fastpath, A of a pod, to Knot DNS | ≤ 1.1 × | – | not measured |",
		"| fastpath, A of a pod, 2,000 a second, to Knot DNS | ≤ 1.1 × | 1 × | held |",
		"| fastpath, A of a service of 1,000, EDNS 1232, to the floor | ≤ 0.6 × | – | not measured |",
		"| fastpath, A of a service of 1,000, EDNS 4096, to the floor | ≤ 0.6 × | 0.3 × | held |",
		"| fastpath, a name of another zone, to headless without | ≤ 1.03 × | 0.32 × | held |",
		"| fastpath, memory more than without | ≤ 8 MB | 9 MB | missed by 12.5% |",
		"| fastpath, median latency at 1,000 a second, to without | ≤ 1 × | 0.3 × | held |",
		"| fastpath, 99th percentile of latency at 1,000 a second, to without | ≤ 1 × | 1.5 × | missed by 50% |",
	)
}

func TestTables(t *testing.T) {
	text := read(t, sample()).bench("v1", "a machine")
	wantLines(t, text,
		"Measured at v1 on a machine. Medians; *in-tree* is the *kubernetes* plugin.",
		"|  |  | N = 1 | N = 10 | N = 100 | N = 1,000 | N = 10,000 |",
		"| PTR | headless | 10 ns | 100 ns | 1,000 ns | 10 µs | 100 µs |",
		"|  | in-tree | 100 ns | 1,000 ns | 10 µs | 100 µs | 1 ms |",
		"|  | ratio | **10×** | **10×** | **10×** | **10×** | **10×** |",
		"|  | headless, allocated | 400 B, 3 | 400 B, 3 | 400 B, 3 | 400 B, 3 | 400 B, 3 |",
		"| a name of another zone | 40 ns; 0 B, 1 | 101 ns; 32 B, 2 | –; –, – |",
		"| A of a pod | headless | 40 µs | 41 µs | – | – |",
		"| start: CPU | 2.5 s | 10 s | **4×** |",
		"|  | floor | headless | with `fastpath` | Knot DNS | in-tree | `fastpath` to the floor | to headless | to Knot DNS |",
		"| A of a pod | 40 µs | 39 µs | 10 µs | 25 µs | not measured | 0.3 × | 0.32 × | not measured |",
		"| A of a pod, 2,000 a second | 40 µs | not measured | 10 µs | 10 µs | not measured | 0.3 × | not measured | 1 × |",
		"| A of a service of 1,000, EDNS 4096 | 40 µs | not measured | 10 µs | not measured | not measured | 0.3 × | not measured | not measured |",
		latencyModel,
		"| 1,000 a second: median | 40 µs | 10 µs | 0.3 × |",
		"| 1,000 a second: 99th percentile | 80 µs | 120 µs | 1.5 × |",
		"| 80 in flight: median | 40 µs | 10 µs | 0.3 × |",
		"| 80 in flight: 99th percentile | 200 µs | 300 µs | 1.5 × |",
		"| resident memory | 40 MB | 47 MB | +9 MB |",
	)
	wantLines(t, text, "### Whole servers compared\n\n"+serversImage+"\n\n"+strings.SplitN(serversModel, "\n", 2)[0])
	servers := read(t, sample()).servers("v1", "a machine")
	if _, tables, found := strings.Cut(servers, "\n### Whole servers compared\n\nCPU of"); !found || !strings.Contains(text, "\n\nCPU of"+tables) {
		t.Errorf("the report of the servers is\n%s\nand is not in the whole report", servers)
	} else {
		wantLines(t, servers, "Measured at v1 on a machine. Medians.", "| fastpath, A of a pod, to the floor | ≤ 0.33 × | 0.3 × | held |")
	}
	for line := range strings.Lines(text) {
		if len(strings.TrimRight(line, "\n")) != len(strings.TrimRight(line, " \n")) {
			t.Errorf("trailing spaces in %q", line)
		}
	}
}

func TestGrowthTables(t *testing.T) {
	text := read(t, growing()).growth("v1", "a machine")
	wantLines(t, text,
		"Measured at v1 on a machine.",
		"| pods |  | 10,000 | 30,000 | 100,000 | 300,000 | 1,000,000, computed |",
		"| memory, settled | `endpoints pods` | 60 MB | 80 MB | 150 MB | 350 MB | 1,050 MB |",
		"|  | `endpoints slices` | 70 MB | 110 MB | 250 MB | 650 MB | 2,050 MB |",
		"|  | in-tree | 80 MB | 140 MB | 350 MB | 950 MB | 3,050 MB |",
		"| start: CPU | `endpoints pods` | – | – | – | – | – |",
		"| churn: sent by the API server | `endpoints pods` | 10 KB/s | 30 KB/s | 100 KB/s | 300 KB/s | 1 MB/s |",
		"| one change: sent by the API server | `endpoints pods` | 3,500 B | 3,500 B | 3,500 B | 3,500 B | – |",
		"| changes a second that one core keeps up with | `endpoints pods` | 9,000 | 9,000 | 9,000 | 9,000 | – |",
		"|  | `endpoints slices` | ≥ 9,000 | ≥ 9,000 | ≥ 9,000 | ≥ 9,000 | – |",
		"| memory, settled | 70 MB | 71 MB | 72 MB |",
	)
}

func TestLine(t *testing.T) {
	if got := line(1, 5, 3, 9, 10); got != 23 { // it rises by two for one
		t.Errorf("line through (1, 5) and (3, 9) at 10: got %v, want 23", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.333: "0.33", 1.2: "1.2", 9.999: "10", 12.34: "12.3", 123.4: "123", 999.6: "1,000", 1234567: "1,234,567", -1234: "-1,234", math.Inf(1): "–",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v): got %q, want %q", v, got, want)
		}
	}
	for ns, want := range map[float64]string{41.6: "41.6 ns", 9999: "9,999 ns", 12345: "12.3 µs", 20e6: "20 ms", math.NaN(): "–"} {
		if got := duration(ns); got != want {
			t.Errorf("duration(%v): got %q, want %q", ns, got, want)
		}
	}
}

func TestInsert(t *testing.T) {
	const text = "a\n<!-- x -->\nold\n<!-- /x -->\n<!-- y -->\n<!-- /y -->\nz\n"
	for name, want := range map[string]string{
		"x": "a\n<!-- x -->\nnew\n<!-- /x -->\n<!-- y -->\n<!-- /y -->\nz\n",
		"y": "a\n<!-- x -->\nold\n<!-- /x -->\n<!-- y -->\nnew\n<!-- /y -->\nz\n",
	} {
		if got, err := insert(text, name, "new\n"); err != nil || got != want {
			t.Errorf("insert %s: %q, %v", name, got, err)
		}
	}
	if _, err := insert("<!-- /x -->\n<!-- x -->\n", "x", "new\n"); err == nil {
		t.Error("insert accepted a page without the report's lines")
	}
}

// TestReadme requires that every figure of README.md with a unit is in a table of docs/,
// so that a new run leaves no old figures there.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var tables []byte
	for _, page := range []string{"performance.md", "operations.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, text...)
	}
	figures := regexp.MustCompile(`[0-9][0-9,.]* (ns|µs|KB/s|MB/s|MB|%|s\b)`).FindAllString(costs(t, string(readme)), -1)
	if len(figures) < 15 {
		t.Fatalf("got %d figures, want at least 15: %q", len(figures), figures)
	}
	for _, figure := range figures {
		if !strings.Contains(string(tables), "| "+figure+" |") {
			t.Errorf("no table in docs/ has the figure %s", figure)
		}
	}
}

// costs returns the parts of README.md about costs: its beginning, and a section.
func costs(t *testing.T, readme string) string {
	t.Helper()
	beginning, _, _ := strings.Cut(readme, "\n~~~")
	_, section, found := strings.Cut(readme, "\n## What it costs\n")
	if !found {
		t.Fatal("README.md has no section \"What it costs\"")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return beginning + section
}

// TestRun writes the reports twice: the second time replaces the first.
func TestRun(t *testing.T) {
	needGnuplot(t)
	dir := t.TempDir()
	from, page := filepath.Join(dir, "bench.txt"), filepath.Join(dir, "page.md")
	if err := errors.Join(os.WriteFile(from, []byte(sample()+growing()+met()), 0o600), os.WriteFile(page, []byte("# x\n<!-- bench -->\n<!-- /bench -->\n<!-- growth -->\n<!-- /growth -->\n<!-- rendezvous -->\n<!-- /rendezvous -->\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	for i := range texts {
		if err := errors.Join(run("servers", "v0", from, "", ""), run("bench", "v1", from, page, dir), run("growth", "v2", from, page, dir), run("rendezvous", "v3", from, page, "")); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "Measured at v1") || !strings.Contains(texts[0], "Measured at v2") || !strings.Contains(texts[0], "Measured at v3") {
		t.Errorf("first report %q, second report %q", texts[0], texts[1])
	}
	for _, name := range []string{"bench", "growth"} {
		for file, picture := range reports[name].pictures {
			svg, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			wantPicture(t, svg, picture(read(t, sample()+growing())))
		}
	}
}
