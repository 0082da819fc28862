// Bench writes what the benchmarks measured into README.md, and draws a plot of it.
// The benchmarks are this package's tests; `make bench` and `make
// growth` run them.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// reports are what is written, by name: one stands between the lines <!-- NAME -->
// and <!-- /NAME -->.
var reports = map[string]func(r *results, revision, machine string) string{
	"bench":  (*results).bench,
	"growth": (*results).growth,
}

func main() {
	name := flag.String("report", "bench", "which report: bench or growth")
	revision := flag.String("revision", "", "what was measured")
	flag.Parse()
	if reports[*name] == nil || flag.NArg() != 2 && flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: bench [-report bench|growth] -revision COMMIT RESULTS README.md [PLOT.svg]")
		os.Exit(2)
	}
	if err := run(*name, *revision, flag.Arg(0), flag.Arg(1), flag.Arg(2)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run writes a report to readme and, if svg names a file, the plot to that.
func run(name, revision, from, readme, svg string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := readResults(f)
	if err != nil {
		return err
	}
	var plot []byte
	if svg != "" {
		if plot, err = r.plot(); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	machine := fmt.Sprintf("%d processors (%s), %s %s/%s", runtime.NumCPU(), r.cpu, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	report := reports[name](r, revision, machine)
	replaced, err := replace(string(text), name, report)
	if err != nil {
		return fmt.Errorf("write report to %s: %w", readme, err)
	}
	if svg != "" {
		if err := os.WriteFile(svg, plot, 0o644); err != nil {
			return err
		}
	}
	fmt.Print(report)
	return os.WriteFile(readme, []byte(replaced), 0o644)
}

// replace puts a report where the old one of its name was.
func replace(text, name, report string) (string, error) {
	opening, closing := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok1 := strings.Cut(text, opening)
	_, after, ok2 := strings.Cut(rest, closing)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("there are no lines %q and %q", strings.TrimSpace(opening), strings.TrimSpace(closing))
	}
	return before + opening + report + closing + after, nil
}

// bench is what was measured of queries and events.
func (r *results) bench(revision, machine string) string {
	var b strings.Builder
	section := func(text, table string) { fmt.Fprintf(&b, "\n%s\n\n%s", text, table) }
	fmt.Fprintf(&b, "\nMeasured at %s on %s. Medians; *in-tree* is the *kubernetes* plugin.\n", revision, machine)
	section("**Targets.** Times are compared within the run.", r.targetTable())
	section("**A question to the plugin**, over UDP with room for 1232 bytes: services of N pods, all in one cluster,\n"+
		"their hosts asked for in random order. For in-tree, cutting the reply to that size is not counted.\n"+
		"Allocated are bytes, and pieces.", r.serveTable("udp", len(questions)))
	section("The same over TCP, where the size of a reply is another:", r.serveTable("tcp", 3))
	section("Names of no headless service, which *headless* passes on, and what CoreDNS alone takes for that:", r.outsideTable())
	section("**A query to a whole server**, over UDP on the loopback device with 20 queries under way: CPU of the process.\n"+
		"The floor is a CoreDNS whose *hosts* plugin answers with one address.", r.processTable())
	section("**One pod loses or regains its readiness** in a service of N. A whole server gets a pod of 3 KB from a watch, and\n"+
		"in-tree a slice of 100 endpoints, at the same time; in a cluster, that comes later.", r.eventTable())
	section("**Many pods.** The burst is in one service; for in-tree, 100 slices come at once. Heap, start and relist are\n"+
		"those of 100,000 pods in 1,000 services, where in-tree has `pods verified`. Settled is resident memory ten seconds\n"+
		"after a garbage collection.", r.scaleTable())
	b.WriteString("\n")
	return b.String()
}
