//go:build cluster

package deploy_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	readme = "../../README.md"
	guide  = "../../docs/install.md"

	image = "registry.example.org/headless:1" // in both pages
)

// block returns the n-th code block of a language in a section of a page.
func block(t *testing.T, file, section, language string, n int) string {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## "+section+"\n")
	if !found {
		t.Fatalf("no section %q in %s", section, file)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	blocks := strings.Split(text, "\n~~~ "+language+"\n")
	if len(blocks) <= n+1 {
		t.Fatalf("section %q of %s has %d blocks of %s, want more than %d", section, file, len(blocks)-1, language, n)
	}
	out, _, _ := strings.Cut(blocks[n+1], "\n~~~\n")
	return out + "\n"
}

// runbook runs the commands of the guide in a copy of the repository's manifests.
type runbook struct{ folder string }

func newRunbook(t *testing.T) *runbook {
	t.Helper()
	r := &runbook{t.TempDir()}
	if err := os.CopyFS(filepath.Join(r.folder, "plugin", "deploy"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the n-th block of commands in a section of the guide, and returns their output.
func (r *runbook) run(t *testing.T, section string, n int) string {
	t.Helper()
	out, err := commandIn(r.folder, "", "sh", "-e", "-c", block(t, guide, section, "sh", n))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// change appends a comment to the Corefile of a folder.
func (r *runbook) change(t *testing.T, folder string) {
	t.Helper()
	path := filepath.Join(r.folder, "plugin", "deploy", folder, "Corefile")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "# changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// validate lets the API server check a folder in a dry run, in which an unknown field is
// an error. The flags in more may turn warnings into errors: a folder that only adds
// workloads must cause no warning, such as a violation of the restricted pod security
// standard. Without an image the API server must refuse the workloads.
func (r *runbook) validate(t *testing.T, folder string, more ...string) {
	t.Helper()
	args := append([]string{"apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"}, more...)
	if out, err := command("kubectl", append(args, "-k", folder)...); err == nil || !strings.Contains(err.Error(), "image: Required value") {
		t.Errorf("%s without an image: want a refusal by the API server, got %v\n%s", folder, err, out)
	}
	overlay := filepath.Join(r.folder, "strict")
	if err := os.Mkdir(overlay, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "resources: [../plugin/deploy/" + folder + "]\nimages: [{newName: headless}]\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, append(args, "-k", overlay)...)
}

// TestImage requires that the commands of the quick start set their image in the rendered
// workload.
func TestImage(t *testing.T) {
	r := newRunbook(t)
	for _, test := range []struct{ file, section, image string }{
		{readme, "Install", image},
		{guide, "kind", "headless:1"},
	} {
		var rendered string
		for line := range strings.Lines(block(t, test.file, test.section, "sh", 0)) {
			if command, _, found := strings.Cut(line, "| kubectl apply"); found {
				out, err := commandIn(r.folder, "", "sh", "-e", "-c", command)
				if err != nil {
					t.Fatal(err)
				}
				rendered += out
			}
		}
		objects := objectsOf(t, rendered)
		got := at(t, objects[len(objects)-1], "spec", "template", "spec", "containers", 0, "image")
		if got != test.image {
			t.Errorf("%s, section %s: image %v, want %s", test.file, test.section, got, test.image)
		}
	}
}

// TestRendered requires that other versions of kustomize render the folders as the
// cluster's kubectl does: one older than that of kubectl 1.30, and that of 1.32.
func TestRendered(t *testing.T) {
	for _, folder := range []string{"base", "corefile", "kubeadm", "nodelocal", "rbac", "standalone", "testdata/monitored"} {
		want := objectsOf(t, kubectl(t, "kustomize", folder))
		if len(want) == 0 {
			t.Errorf("%s renders no objects", folder)
		}
		for _, version := range []string{"v5.0.3", "v5.5.0"} {
			out, err := command("go", "run", "sigs.k8s.io/kustomize/kustomize/v5@"+version, "build", folder)
			if err != nil {
				t.Errorf("kustomize %s of %s: %v", version, folder, err)
				continue
			}
			if got := objectsOf(t, out); !reflect.DeepEqual(got, want) {
				t.Errorf("kustomize %s of %s:\ngot  %v\nwant %v", version, folder, got, want)
			}
		}
	}
}
