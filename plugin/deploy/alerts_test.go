package deploy_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestRunbook requires the runbook of each alert to be a heading with the alert's name.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile("monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, headings, _ := strings.Cut(string(page), "\n## Alerts\n")
	alerts := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			alerts++
			want := "https://github.com/headless-dns/headless/blob/main/docs/troubleshooting.md#" + strings.ToLower(rule.Alert)
			if got := rule.Annotations["runbook_url"]; got != want {
				t.Errorf("runbook_url of %s: got %q, want %q", rule.Alert, got, want)
			}
			if !strings.Contains(headings, "\n### "+rule.Alert+"\n") {
				t.Errorf("docs/troubleshooting.md has no heading %s", rule.Alert)
			}
		}
	}
	if described := strings.Count(headings, "\n### "); alerts == 0 || described != alerts {
		t.Errorf("%d alerts and %d headings, want as many headings as alerts", alerts, described)
	}
}
