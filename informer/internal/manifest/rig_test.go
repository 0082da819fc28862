package manifest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
)

const (
	first  = "10.244.0.1"
	second = "10.244.0.2"
)

// rig is a source under test, with its last push, its log and the calls of its hooks.
type rig struct {
	*Source
	lists      map[object.Origin][]object.Object
	rejections []error
	counts     []int // of bad manifests
	logged     []string
}

// newRig reads manifests as at the start. It pushes nothing.
func newRig(paths ...string) (*rig, error) {
	r := new(rig)
	s, err := selection.New(selection.Config{})
	if err != nil {
		return nil, err
	}
	r.Source, err = New(Config{
		Paths: paths, Selected: s,
		Log:      funcr.New(func(_, args string) { r.logged = append(r.logged, args) }, funcr.Options{}),
		Rejected: func(err error) { r.rejections = append(r.rejections, err) },
		Bad:      func(n int) { r.counts = append(r.counts, n) },
	})
	return r, err
}

// lookAt reads manifests as at the start and pushes them.
func lookAt(t *testing.T, paths ...string) *rig {
	t.Helper()
	r, err := newRig(paths...)
	if err != nil {
		t.Fatal(err)
	}
	r.report()
	r.push(r.take)
	return r
}

func (r *rig) take(lists map[object.Origin][]object.Object) { r.lists = lists }

// answer returns the IPv4 addresses of the pod with a name, or of all pods, as DNS would
// answer for the service nginx.
func (r *rig) answer(name string) string {
	var found []string
	served := false
	for _, objects := range r.lists {
		for _, o := range objects {
			switch o := o.(type) {
			case *object.Service:
				served = served || o.ID().Name == "nginx"
			case *object.Pod:
				if !o.Ready() || name != "" && o.Name() != name {
					continue
				}
				for l := range o.Labels {
					for a := range o.Addrs {
						if l == (object.Label{Key: "app", Value: "nginx"}) && a.Is4() {
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

// expect looks at the files once for each of wants, and compares the address of web-0 with
// it.
func (r *rig) expect(t *testing.T, what string, wants ...string) {
	t.Helper()
	for i, want := range wants {
		r.poll(r.take)
		if got := r.answer("web-0"); got != want {
			t.Errorf("%s, after look %d: web-0 is %q, want %q", what, i+1, got, want)
		}
	}
}

// lastBad returns the last reported number of bad manifests.
func (r *rig) lastBad() int { return r.counts[len(r.counts)-1] }

func (r *rig) hasLogged(want string) bool {
	return slices.ContainsFunc(r.logged, func(line string) bool { return strings.Contains(line, want) })
}

// writeInPlace writes a file in place, as a shell's redirection does.
func writeInPlace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
