package headless

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/kubernetes"
)

// optionRow is a row of the table in docs/options.md that compares the options.
type optionRow struct {
	lines   []string // of a stanza, with arguments for the placeholders
	outcome string   // first word of the column about headless
}

// optionArguments are the arguments in the table, by their names there. None is the default of its
// option.
var optionArguments = strings.NewReplacer("URL", "https://10.0.0.1:6443", "CERT KEY CACERT", "cert.pem key.pem ca.pem", "FILE", "admin.conf",
	"CONTEXT", "prod", "QPS", "7.5", "BURST", "7", "MAX", "7", "NAMESPACE", "default", "EXPRESSION", "app in (nginx, web)", "TTL", "7",
	"ZONES", "example.org", "DURATION", "7s")

// optionTable returns the rows of the table.
func optionTable(t *testing.T) []optionRow {
	t.Helper()
	_, section, found := strings.Cut(readPage(t, "docs/options.md"), "\n## Beside the *kubernetes* plugin\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, table, foundTable := strings.Cut(section, "\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !found || !foundTable {
		t.Fatal("docs/options.md has no table of the options")
	}
	var out []optionRow
	for _, row := range strings.Split(table, "\n") {
		cells := strings.Split(strings.Trim(row, "|"), " | ")
		if len(cells) != 3 {
			t.Fatalf("row %q: got %d cells, want 3", row, len(cells))
		}
		r := optionRow{outcome: regexp.MustCompile(`\w+( with a warning)?`).FindString(cells[2])}
		for _, span := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cells[0], -1) {
			r.lines = append(r.lines, optionArguments.Replace(span[1]))
		}
		out = append(out, r)
	}
	return out
}

// parseInTree parses lines of a stanza as the kubernetes plugin does.
func parseInTree(lines string) error {
	c := caddy.NewTestController("dns", "kubernetes cluster.local example.org {\n"+lines+"\n}")
	c.Next()
	_, err := kubernetes.ParseStanza(c)
	return err
}

// parseOurs parses the same lines as headless does. It returns the settings and the log.
func parseOurs(t *testing.T, lines string) (s *stanza, text string, err error) {
	t.Helper()
	text = logged(t, func() {
		s, err = parse(caddy.NewTestController("dns", "headless cluster.local example.org {\n"+lines+"\n}"))
	})
	if s != nil {
		s.places = nil
	}
	return s, text, err
}

// TestOptionTable checks that each line in the table of the options is one that the kubernetes
// plugin accepts, and that headless does with it what the table says. An option that works changes
// the settings, and one that is only accepted does not.
func TestOptionTable(t *testing.T) {
	const (
		move    = `: move the option to its stanza in this server block`
		noLimit = "ignored: the plugin does not limit its requests to the API server; it pauses between retries"
	)
	texts := map[string]string{ // errors and warnings, after the place
		"pods insecure":            `pods: "insecure": "kubernetes" serves the names below "pod"` + move,
		"pods verified":            `pods: "verified": "kubernetes" serves the names below "pod"` + move,
		"noendpoints":              `noendpoints: without endpoints, no headless service has a name: leave out the option, or "headless"`,
		"apiserver_qps 7.5":        "apiserver_qps: " + noLimit,
		"apiserver_burst 7":        "apiserver_burst: " + noLimit,
		"apiserver_max_inflight 7": "apiserver_max_inflight: " + noLimit,
	}
	for _, row := range optionTable(t) {
		for _, line := range row.lines {
			if err := parseInTree(line); err != nil {
				t.Errorf("%q: the kubernetes plugin refuses it: %v", line, err)
			}
			needs := ""
			if strings.HasPrefix(line, "tls ") {
				needs = "endpoint https://10.0.0.1:6443\n"
			}
			without, _, err := parseOurs(t, needs)
			if err != nil {
				t.Fatal(err)
			}
			want, ok := texts[line]
			delete(texts, line)
			if ok {
				want = "Testfile:3: " + want
			}
			got, text, err := parseOurs(t, needs+"\n"+line)
			same := reflect.DeepEqual(got, without)
			switch row.outcome {
			case "works":
				ok = !ok && err == nil && text == "" && !same
			case "accepted":
				ok = !ok && err == nil && text == "" && same
			case "accepted with a warning":
				ok = ok && err == nil && strings.HasSuffix(text, want+"\n") && same
				checkLine(t, text, "WARNING")
			case "refused":
				ok = ok && err != nil && err.Error() == want && text == ""
			default:
				ok = false
			}
			if !ok {
				t.Errorf("%q: got settings %+v, error %v and log %q, want it %q with %q", line, got, err, text, row.outcome, want)
			}
		}
	}
	for line := range texts {
		t.Errorf("the table has no %q", line)
	}
}

// TestOptionTableComplete checks that the table has exactly the options of the kubernetes plugin:
// those that its parser compares with, and those that its README describes. Below the table are
// the options that only headless has.
func TestOptionTableComplete(t *testing.T) {
	table := map[string]bool{}
	for _, row := range optionTable(t) {
		for _, line := range row.lines {
			option, _, _ := strings.Cut(line, " ")
			table[option] = true
		}
	}
	parsed, described := inTreeOptions(t)
	if got := slices.Sorted(maps.Keys(table)); !slices.Equal(got, parsed) {
		t.Errorf("the table has %q, want those of the kubernetes plugin's parser, %q", got, parsed)
	}
	if len(described) < 15 {
		t.Errorf("found only the options %q in the kubernetes plugin's README", described)
	}
	for _, option := range described {
		if !table[option] {
			t.Errorf("the table lacks %s, which the kubernetes plugin's README describes", option)
		}
	}
	for option := range copiedOptions {
		if !table[option] || directives[option].what != "" {
			t.Errorf("%s is not an option that only the kubernetes plugin has", option)
		}
	}

	_, list, _ := strings.Cut(readPage(t, "docs/options.md"), "\n* *kubernetes* lacks ")
	list, _, _ = strings.Cut(list, ".\n")
	var ours []string
	for _, span := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(list, -1) {
		ours = append(ours, span[1])
	}
	slices.Sort(ours)
	var want []string
	for directive := range directives {
		if !table[directive] {
			want = append(want, directive)
			if err := parseInTree(directive); err == nil || !strings.Contains(err.Error(), "unknown property") {
				t.Errorf("%s: the kubernetes plugin returns error %v, want it to be unknown", directive, err)
			}
		}
	}
	if slices.Sort(want); !slices.Equal(ours, want) {
		t.Errorf("docs/options.md says that kubernetes lacks %q, want %q", ours, want)
	}
}

// inTreeOptions returns the options of the kubernetes plugin, sorted, from the source of its
// parser and from its README.
func inTreeOptions(t *testing.T) (parsed, described []string) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/coredns/coredns/plugin/kubernetes").Output()
	if err != nil {
		t.Fatalf("find the source of the kubernetes plugin: %v", err)
	}
	path := func(name string) string { return filepath.Join(strings.TrimSpace(string(dir)), name) }
	file, err := parser.ParseFile(token.NewFileSet(), path("setup.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SwitchStmt)
		if !ok {
			return true
		}
		if call, ok := s.Tag.(*ast.CallExpr); !ok || len(call.Args) > 0 || call.Fun.(*ast.SelectorExpr).Sel.Name != "Val" {
			return true
		}
		for _, clause := range s.Body.List {
			for _, e := range clause.(*ast.CaseClause).List {
				option, err := strconv.Unquote(e.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				parsed = append(parsed, option)
			}
		}
		return false
	})
	slices.Sort(parsed)
	_, syntax, _ := strings.Cut(readPage(t, path("README.md")), "\n## Syntax\n")
	syntax, _, _ = strings.Cut(syntax, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^(?:    |\\* `)([a-z_]+)").FindAllStringSubmatch(syntax, -1) {
		described = append(described, m[1])
	}
	return parsed, described
}

// TestCopiedArguments checks the errors about the arguments of options that only the kubernetes
// plugin has, and about options that it no longer has.
func TestCopiedArguments(t *testing.T) {
	for line, want := range map[string]string{
		"pods":               "pods: needs disabled, insecure or verified, given none",
		"pods disabled no":   `pods: needs disabled, insecure or verified, given "disabled" "no"`,
		"ignore":             "ignore: needs empty_service, given none",
		"ignore no_service":  `ignore: "no_service": not "empty_service"`,
		"noendpoints yes":    `noendpoints: needs no argument, given "yes"`,
		"zonal yes":          `zonal: needs no argument, given "yes"`,
		"apiserver_qps":      "apiserver_qps: needs one number, given none",
		"apiserver_burst":    "apiserver_burst: needs one number, given none",
		"multicluster \"\"":  `multicluster: zone "": neither a domain name nor a network`,
		"multicluster":       "multicluster: needs at least one zone, given none",
		"upstream":           "upstream: unknown directive",
		"resyncperiod 1m":    "resyncperiod: unknown directive",
		"transfer to *":      "transfer: unknown directive",
		"federation a b.org": "federation: unknown directive",

		"apiserver_max_inflight 1 2":         `apiserver_max_inflight: needs one number, given "1" "2"`,
		"ignore empty_service empty_service": `ignore: needs empty_service, given "empty_service" "empty_service"`,
	} {
		if _, _, err := parseOurs(t, line); err == nil || !strings.HasPrefix(err.Error(), "Testfile:2: "+want) {
			t.Errorf("%q: got error %v, want %q", line, err, want)
		}
		if option, _, _ := strings.Cut(line, " "); strings.HasSuffix(want, "unknown directive") {
			if err := parseInTree(line); err == nil || !strings.Contains(err.Error(), "unknown property '"+option+"'") {
				t.Errorf("%q: the kubernetes plugin returns error %v, want it to be unknown", line, err)
			}
		}
	}
}
