package headless

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v2"
)

// workflow has the fields of a workflow that TestWorkflows checks.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Uses        string
		Steps       []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

// TestWorkflows checks that each workflow has the least permissions that it needs.
// Neither a pull request nor a moved tag of an action may change a release.
func TestWorkflows(t *testing.T) {
	// The jobs that may write, and what they write.
	writes := map[string]string{
		"release.yml image packages": "the image", "release.yml image id-token": "its signature",
		"release.yml binaries contents": "the release", "release.yml binaries id-token": "its signature", "release.yml binaries attestations": "its provenance",
	}
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@(v\d+|[0-9a-f]{40})$|^\./\.github/workflows/[\w.-]+$`)
	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no workflows: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		var w workflow
		if err := yaml.Unmarshal(text, &w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if w.Permissions == nil {
			t.Errorf("%s has the default permissions of the repository", name)
		}
		for scope, access := range w.Permissions {
			if scope != "contents" || access != "read" {
				t.Errorf("every job of %s has the permission to %s %s", name, access, scope)
			}
		}
		for id, job := range w.Jobs {
			for scope, access := range job.Permissions {
				key := name + " " + id + " " + scope
				if access == "write" && writes[key] == "" {
					t.Errorf("%s has the permission to write", key)
				}
				delete(writes, key)
			}
			uses := []string{job.Uses}
			for _, step := range job.Steps {
				uses = append(uses, step.Uses)
				if regexp.MustCompile(`^actions/checkout@`).MatchString(step.Uses) && step.With["persist-credentials"] != false {
					t.Errorf("%s %s leaves its token on the disk", name, id)
				}
				if regexp.MustCompile(`\$\{\{`).MatchString(step.Run) {
					t.Errorf("%s %s puts an expression into a script: %s", name, id, step.Run)
				}
			}
			for _, action := range uses {
				if action != "" && !pinned.MatchString(action) {
					t.Errorf("%s %s uses %s, which is not pinned", name, id, action)
				}
			}
		}
	}
	for key, what := range writes {
		t.Errorf("%s does not write %s, which is in the list", key, what)
	}
}
