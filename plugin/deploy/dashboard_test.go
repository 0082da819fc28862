package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A panel is a panel of the dashboard. A row is the heading of the panels below it.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr string }
}

// panels returns the panels of the dashboard.
func panels(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 {
		t.Fatal("no panels")
	}
	return dashboard.Panels
}

// TestDashboard finds mistakes that Grafana accepts: panels that overlap, that have no
// query, or that are above the first row and not figures; and metrics that no panel shows.
func TestDashboard(t *testing.T) {
	all := panels(t)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	var asked strings.Builder
	rows := 0
	for _, p := range all {
		if ids[p.ID] {
			t.Errorf("%s has the id of another panel", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s overlaps %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H == 0 {
			t.Errorf("%s is at %+v", p.Title, p.GridPos)
		}
		if p.Type == "row" {
			rows++
		} else if len(p.Targets) == 0 {
			t.Errorf("%s has no query", p.Title)
		}
		if (rows == 0) != (p.Type == "stat") {
			t.Errorf("%s, after %d rows, is a %s", p.Title, rows, p.Type)
		}
		for _, target := range p.Targets {
			asked.WriteString(target.Expr + "\n")
			if !strings.Contains(target.Expr, `job=~"$job"`) || !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("%s does not select the chosen servers: %s", p.Title, target.Expr)
			}
		}
	}
	if rows == 0 {
		t.Error("there are no rows")
	}

	var metrics []string
	for _, file := range []string{"../../metrics.go", "../../collector.go", "../../version.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Name: +|pluginName, )"(\w+)"`).FindAllStringSubmatch(string(text), -1) {
			metrics = append(metrics, m[1])
		}
	}
	if len(metrics) < 19 {
		t.Fatalf("found the metrics %q", metrics)
	}
	for _, name := range metrics {
		if !regexp.MustCompile(`\bcoredns_headless_` + name + `(_bucket)?\{`).MatchString(asked.String()) {
			t.Errorf("no panel queries coredns_headless_%s", name)
		}
	}
}
