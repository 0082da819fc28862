package informer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

const nginxManifest = `
apiVersion: v1
kind: Service
metadata: {name: nginx, namespace: default}
spec: {clusterIP: None, selector: {app: nginx}, ports: [{name: web, port: 80}]}
`

const web0Manifest = `
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: nginx}}
spec: {hostname: web-0, subdomain: nginx, containers: [{name: nginx}]}
status: {podIP: 10.244.0.1, conditions: [{type: Ready, status: "True"}]}
`

const (
	first  = "10.244.0.1"
	second = "10.244.0.2"
)

// rig is a source under test, with what it pushed, logged and called.
type rig struct {
	*manifestSource
	lists      map[origin][]object
	rejections []error
	counts     []int // of bad manifests
	logged     []string
}

// newRig reads manifests as the start does. Nothing is pushed yet.
func newRig(paths ...string) (*rig, error) {
	r := new(rig)
	s, err := newSelection(selection{})
	if err != nil {
		return nil, err
	}
	r.manifestSource, err = newManifestSource(manifestConfig{
		paths: paths, selected: s,
		log:      funcr.New(func(_, args string) { r.logged = append(r.logged, args) }, funcr.Options{}),
		rejected: func(err error) { r.rejections = append(r.rejections, err) },
		bad:      func(n int) { r.counts = append(r.counts, n) },
	})
	return r, err
}

// lookAt reads manifests as the start does and pushes them. The rig looks again when the
// test polls.
func lookAt(t *testing.T, paths ...string) *rig {
	t.Helper()
	r, err := newRig(paths...)
	if err != nil {
		t.Fatal(err)
	}
	r.say()
	r.push(r.take)
	return r
}

func (r *rig) take(lists map[origin][]object) { r.lists = lists }

// answer returns the IPv4 addresses of the pod with a name, or of all pods, that the
// service nginx selects: what DNS would answer.
func (r *rig) answer(name string) string {
	var found []string
	served := false
	for _, objects := range r.lists {
		for _, o := range objects {
			switch o := o.(type) {
			case *service:
				served = served || o.id().name == "nginx"
			case *pod:
				if !o.ready() || name != "" && o.name() != name {
					continue
				}
				for l := range o.labels {
					for a := range o.addrs {
						if l == (label{"app", "nginx"}) && a.Is4() {
							found = append(found, a.String())
						}
					}
				}
			}
		}
	}
	switch {
	case !served:
		return "outside"
	case len(found) == 0:
		return "missing"
	}
	slices.Sort(found)
	return strings.Join(found, ", ")
}

// pollUntil looks at the files some times, and each time checks what web-0 is.
func (r *rig) expect(t *testing.T, what string, wants ...string) {
	t.Helper()
	for i, want := range wants {
		r.poll(r.take)
		if got := r.answer("web-0"); got != want {
			t.Errorf("%s, after look %d: web-0 is %q, want %q", what, i+1, got, want)
		}
	}
}

// lastBad is how many manifests were last reported to be bad.
func (r *rig) lastBad() int { return r.counts[len(r.counts)-1] }

func (r *rig) hasLogged(want string) bool {
	return slices.ContainsFunc(r.logged, func(line string) bool { return strings.Contains(line, want) })
}

// files writes files into a new folder and returns its path.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		writeFile(t, filepath.Join(dir, name), content)
	}
	return dir
}

// writeInPlace writes a file in place, as a shell's redirection does.
func writeInPlace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
