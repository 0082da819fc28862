//go:build cluster

package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestRules runs promtool's check of the rules, and their tests.
func TestRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		if out, err := commandIn("monitoring", "", "promtool", args...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// prometheus is a running Prometheus.
type prometheus struct{ url string }

// get queries the HTTP API and returns the data of the reply.
func (p *prometheus) get(path string, query url.Values) (any, error) {
	body, err := cluster.Fetch(p.url + path + "?" + query.Encode())
	if err != nil {
		return nil, err
	}
	var reply struct {
		Status string
		Data   any
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil {
		return nil, err
	}
	if reply.Status != "success" {
		return nil, fmt.Errorf("%s: %s", path, body)
	}
	return reply.Data, nil
}

// query returns the number of series that an expression has now.
func (p *prometheus) query(expr string) (int, error) {
	data, err := p.get("/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", expr, err)
	}
	series, ok := data.(map[string]any)["result"].([]any)
	if !ok {
		return 0, fmt.Errorf("query %s: want a vector, got %v", expr, data)
	}
	return len(series), nil
}

// TestMonitoring lets a Prometheus scrape the server, and evaluates every expression of
// the dashboard and the rules.
func TestMonitoring(t *testing.T) {
	nginx(t)
	kubectl(t, "apply", "-k", "rbac")
	t.Cleanup(func() { kubectl(t, "delete", "-k", "rbac") })
	text, err := os.ReadFile("corefile/Corefile")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, string(text), "headless")
	s.await(t)

	port := cluster.MustFreePort(t)
	rules, err := filepath.Abs("monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\n"+
		"scrape_configs: [{job_name: dns, static_configs: [{targets: [\"127.0.0.1:%s\"]}]}]\n", rules, s.metrics)
	if err := os.WriteFile(folder+"/prometheus.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := process(t, "prometheus", nil, "prometheus", "--config.file="+folder+"/prometheus.yml",
		"--storage.tsdb.path="+folder+"/data", "--web.listen-address=127.0.0.1:"+port)
	p := &prometheus{"http://127.0.0.1:" + port}
	eventually(t, func() error {
		select {
		case err := <-ended:
			t.Fatalf("Prometheus ended: %v\n%s", err, kube.Log("prometheus"))
		default:
		}
		// The second name is the kubernetes plugin's, which is behind the cache.
		for _, name := range []string{"nginx.default.svc.cluster.local", "kubernetes.default.svc.cluster.local"} {
			if _, err := s.ask(name, dns.TypeA); err != nil {
				return err
			}
		}
		// A rate needs two scrapes.
		n, err := p.query("count_over_time(coredns_headless_publications_total[1m]) > 2")
		if err == nil && n == 0 {
			err = errors.New("no second scrape yet")
		}
		return err
	})

	t.Run("dashboard", func(t *testing.T) { checkDashboard(t, p) })
	t.Run("rules", func(t *testing.T) { checkRules(t, p) })
	t.Run("docs", func(t *testing.T) {
		for _, page := range []string{"README.md", "docs/metrics.md", "docs/operations.md", "docs/reliability.md", "docs/troubleshooting.md"} {
			checkNames(t, p, "../../"+page)
		}
	})
	t.Run("shared", func(t *testing.T) {
		create(t, "testdata/shared.yaml")
		eventually(t, func() error {
			n, err := p.query(`coredns_headless_shared_hosts == 1 and on (job) ALERTS{alertname="HeadlessSharedHosts", alertstate="pending"}`)
			if err == nil && n != 1 {
				err = errors.New("the metric or the alert of a shared host name is missing")
			}
			return err
		})
	})
}

// checkDashboard requires every panel to show data.
func checkDashboard(t *testing.T, p *prometheus) {
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", "dns", "$instance", ".+")
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			n, err := p.query(variables.Replace(target.Expr))
			if err == nil && n == 0 {
				err = fmt.Errorf("no series for %s", target.Expr)
			}
			if err != nil {
				t.Errorf("panel %q: %v", panel.Title, err)
			}
		}
	}
}

// checkRules requires that Prometheus evaluates every rule, that the metrics in the rules
// exist, and that each rule has a test whose labels exist.
func checkRules(t *testing.T, p *prometheus) {
	tests, err := os.ReadFile("monitoring/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var groups []any
	eventually(t, func() error {
		data, err := p.get("/api/v1/rules", nil)
		if err != nil {
			return err
		}
		groups = data.(map[string]any)["groups"].([]any)
		if len(groups) == 0 {
			return errors.New("no rules")
		}
		for _, group := range groups {
			for _, rule := range group.(map[string]any)["rules"].([]any) {
				if r := rule.(map[string]any); r["health"] != "ok" {
					return fmt.Errorf("rule %v is %v: %v", r["name"], r["health"], r["lastError"])
				}
			}
		}
		return nil
	})
	for _, group := range groups {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			name := rule.(map[string]any)["name"].(string)
			if !strings.Contains(string(tests), name) {
				t.Errorf("no test of rule %s", name)
			}
		}
	}
	checkNames(t, p, "monitoring/rules.yaml")

	label := regexp.MustCompile(`(\w+)="`)
	series := regexp.MustCompile(`series: '(\w+)\{(.*?)\}'`).FindAllStringSubmatch(string(tests), -1)
	if len(series) == 0 {
		t.Fatal("no series in monitoring/rules_test.yaml")
	}
	for _, s := range series {
		var matchers []string
		for _, l := range label.FindAllStringSubmatch(s[2], -1) {
			matchers = append(matchers, l[1]+`!=""`)
		}
		if n, err := p.query(s[1] + "{" + strings.Join(matchers, ",") + "}"); err != nil || n == 0 {
			t.Errorf("no series with the labels of %s: %v", s[0], err)
		}
	}
}

// checkNames requires that every metric named in a file exists.
func checkNames(t *testing.T, p *prometheus, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.get("/api/v1/label/__name__/values", nil)
	if err != nil {
		t.Fatal(err)
	}
	known := data.([]any)
	names := regexp.MustCompile(`\bcoredns_\w+`).FindAllString(string(text), -1)
	if len(names) == 0 {
		t.Fatalf("no metrics in %s", file)
	}
	for _, name := range names {
		// Prometheus lists a histogram by its parts.
		if !slices.Contains(known, any(name)) && !slices.Contains(known, any(name+"_bucket")) {
			t.Errorf("%s names %s, which is no metric of the server", file, name)
		}
	}
}
