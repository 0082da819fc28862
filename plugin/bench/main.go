// Bench writes a report of the benchmarks into docs/performance.md, and draws its pictures.
// The benchmarks are the tests of this package and of plugin/rendezvous; `make bench`, `make servers`,
// `make growth` and `make rendezvous` run them.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// reports by name. In the page a report stands between two comments, NAME and /NAME.
var reports = map[string]struct {
	text      func(r *results, revision, machine string) string
	pictures  pictures
	arguments int // how many it has
}{
	"bench":      {(*results).bench, pictures{"bench.svg": (*results).queryPicture, "servers.svg": (*results).serversPicture}, 3},
	"servers":    {(*results).servers, nil, 1}, // only prints: the page has it in the report bench
	"growth":     {(*results).growth, pictures{"growth.svg": (*results).growthPicture}, 3},
	"rendezvous": {(*results).rendezvous, nil, 2},
}

// pictures by the name of the file.
type pictures map[string]func(r *results) picture

func main() {
	name := flag.String("report", "bench", "which report: bench, servers, growth or rendezvous")
	revision := flag.String("revision", "", "the measured commit")
	flag.Parse()
	if report, ok := reports[*name]; !ok || flag.NArg() != report.arguments {
		fmt.Fprintln(os.Stderr, "usage: bench [-report bench|growth] -revision COMMIT RESULTS PAGE.md FOLDER")
		fmt.Fprintln(os.Stderr, "       bench -report rendezvous -revision COMMIT RESULTS PAGE.md")
		fmt.Fprintln(os.Stderr, "       bench -report servers -revision COMMIT RESULTS")
		os.Exit(2)
	}
	if err := run(*name, *revision, flag.Arg(0), flag.Arg(1), flag.Arg(2)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run prints a report and writes it into a page, if it has one, and its pictures into a folder.
func run(name, revision, from, page, folder string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := readResults(f)
	if err != nil {
		return err
	}
	drawn := map[string][]byte{}
	for file, picture := range reports[name].pictures {
		if drawn[file], err = draw(picture(r)); err != nil {
			return err
		}
	}
	machine := fmt.Sprintf("%d processors (%s), %s %s/%s", runtime.NumCPU(), r.cpu, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	report := reports[name].text(r, revision, machine)
	if page == "" {
		fmt.Print(report)
		return nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	updated, err := insert(string(text), name, report)
	if err != nil {
		return fmt.Errorf("write the report to %s: %w", page, err)
	}
	for file, svg := range drawn {
		if err := os.WriteFile(filepath.Join(folder, file), svg, 0o644); err != nil {
			return err
		}
	}
	fmt.Print(report)
	return os.WriteFile(page, []byte(updated), 0o644)
}

// insert replaces the old report of a name in the text of a page.
func insert(text, name, report string) (string, error) {
	opening, closing := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok1 := strings.Cut(text, opening)
	_, after, ok2 := strings.Cut(rest, closing)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("no lines %q and %q", strings.TrimSpace(opening), strings.TrimSpace(closing))
	}
	return before + opening + report + closing + after, nil
}

// bench returns the report of the benchmarks of queries and events.
func (r *results) bench(revision, machine string) string {
	var b strings.Builder
	section := func(text, table string) { fmt.Fprintf(&b, "\n%s\n\n%s", text, table) }
	fmt.Fprintf(&b, "\nMeasured at %s on %s. Medians; *in-tree* is the *kubernetes* plugin.\n", revision, machine)
	section("### Targets\n\nTimes are compared within the run.", targetTable(r.targets()))
	section("### A query to the plugin\n\n"+
		"Over UDP, with room for 1232 bytes. All services are in one cluster; each has N pods, whose hosts are queried in random\n"+
		"order. For in-tree, cutting the reply to that size is not counted. Allocated are bytes, and the number of allocations.", r.serveTable("udp", len(questions)))
	section("Over TCP, where a reply has another size:", r.serveTable("tcp", 3))
	section("Names of no headless service, which *headless* passes on, beside what CoreDNS alone takes for that:", r.outsideTable())
	section("### A query to a whole server\n\n"+
		"CPU of the process, over UDP on the loopback device, with 20 queries in flight. The floor is a CoreDNS whose *hosts*\n"+
		"plugin answers with one address.", r.processTable())
	section(serversTitle+"\n\n"+serversImage, r.comparison())
	section("### A pod loses or regains its readiness\n\n"+
		"The service has N pods. *headless* receives a pod of 3 KB from a watch, and in-tree a slice of 100 endpoints, at the same\n"+
		"time. In a cluster, the slice comes later.", r.eventTable())
	section("### Many pods\n\n"+
		"The burst is in one service; in-tree receives 100 slices at once. Heap, start and relist are of 100,000 pods in 1,000\n"+
		"services, where in-tree has `pods verified`. Settled is resident memory ten seconds after a garbage collection.", r.scaleTable())
	b.WriteString("\n")
	return b.String()
}

// servers returns the part of BenchmarkServers in the report of the benchmarks.
func (r *results) servers(revision, machine string) string {
	return fmt.Sprintf("\nMeasured at %s on %s. Medians.\n\n### Targets\n\n%s\n%s\n\n%s\n",
		revision, machine, targetTable(r.serverTargets()), serversTitle, r.comparison())
}
