package headless

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestBuildID(t *testing.T) {
	ours := debug.Module{Path: modulePath, Version: "v1.2.3"}
	devel := debug.Module{Path: modulePath, Version: "(devel)"}
	coredns := debug.Module{Path: "github.com/coredns/coredns", Version: "v1.15.0"}
	pseudo := debug.Module{Path: modulePath, Version: "v1.2.4-0.20261127050102-0123456789ab"}
	vcs := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "cafe"}, {Key: "vcs.modified", Value: "false"}}
	changed := []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "cafe"}}
	for _, test := range []struct {
		name              string
		version, revision string
		info              *debug.BuildInfo
		want              buildID
	}{
		{"nothing is known", "", "", nil, buildID{"unknown", "unknown"}},
		{"make build", "v2.0.0", "beef", &debug.BuildInfo{Main: ours, Settings: vcs}, buildID{"v2.0.0", "beef"}},
		{"make build with what go build finds", "v2.0.0", "beef", &debug.BuildInfo{Main: pseudo, Settings: changed}, buildID{"v2.0.0", "beef"}},
		{"make build without git", "", "", &debug.BuildInfo{Main: devel}, buildID{"unknown", "unknown"}},
		{"go build", "", "", &debug.BuildInfo{Main: devel, Settings: vcs}, buildID{"unknown", "cafe"}},
		{"go build of what was changed", "", "", &debug.BuildInfo{Main: pseudo, Settings: changed}, buildID{pseudo.Version, "cafe-dirty"}},
		{"go install of a commit", "", "", &debug.BuildInfo{Main: pseudo}, buildID{pseudo.Version, "0123456789ab"}},
		{"go build of what was changed, without a version", "", "", &debug.BuildInfo{Main: devel, Settings: changed}, buildID{"unknown", "cafe-dirty"}},
		{"go build without a revision", "", "", &debug.BuildInfo{Main: devel, Settings: changed[:1]}, buildID{"unknown", "unknown"}},
		{"go install", "", "", &debug.BuildInfo{Main: ours}, buildID{"v1.2.3", "unknown"}},
		{"another CoreDNS", "", "", &debug.BuildInfo{Main: coredns, Deps: []*debug.Module{&ours}, Settings: vcs}, buildID{"v1.2.3", "unknown"}},
		{"another CoreDNS, of a commit", "", "", &debug.BuildInfo{Main: coredns, Deps: []*debug.Module{{Path: "a.example/a"}, &pseudo}, Settings: vcs},
			buildID{pseudo.Version, "0123456789ab"}},
		{"another CoreDNS, of a fork", "", "", &debug.BuildInfo{Main: coredns, Deps: []*debug.Module{{Path: modulePath, Version: "v1.2.3",
			Replace: &debug.Module{Path: "b.example/fork", Version: "v1.9.0"}}}}, buildID{"v1.9.0", "unknown"}},
		{"another CoreDNS, of a folder", "", "", &debug.BuildInfo{Main: coredns, Deps: []*debug.Module{{Path: modulePath, Version: "v1.2.3",
			Replace: &debug.Module{Path: "../headless"}}}}, buildID{"unknown", "unknown"}},
	} {
		if got := newBuildID(test.version, test.revision, test.info); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// TestUserAgent checks that the API server receives the versions of CoreDNS and of
// the plugin.
func TestUserAgent(t *testing.T) {
	if got, want := (buildID{"v1.2.3-4-g0123456", "beef"}).userAgent(),
		fmt.Sprintf("CoreDNS/1.15.0 headless/1.2.3-4-g0123456 (%s/%s)", runtime.GOOS, runtime.GOARCH); got != want {
		t.Errorf("got user agent %q, want %q", got, want)
	}
	agents := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case agents <- r.UserAgent():
		default:
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	h := newTestHeadless(t, "headless cluster.local {\nendpoint "+server.URL+"\n}")
	h.source.start()
	if got := <-agents; got != built.userAgent() {
		t.Errorf("got user agent %q, want %q", got, built.userAgent())
	}
}

func TestBuildInfo(t *testing.T) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() == "coredns_headless_build_info" {
			for _, m := range f.GetMetric() {
				got = append(got, fmt.Sprint(m.GetGauge().GetValue()))
				for _, l := range m.GetLabel() {
					got = append(got, l.GetName()+"="+l.GetValue())
				}
			}
		}
	}
	want := []string{"1", "goversion=" + runtime.Version(), "revision=" + built.revision, "version=" + built.version}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got metric %q, want %q", got, want)
	}
}

// TestLinked checks that the Makefile sets variables that exist: the linker ignores
// all others.
func TestLinked(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("version.go")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for _, m := range regexp.MustCompile(`-X '?`+regexp.QuoteMeta(modulePath)+`\.(\w+)=`).FindAllStringSubmatch(string(makefile), -1) {
		set[m[1]] = true
		if !regexp.MustCompile(`(?m)^\t` + m[1] + ` +string\b`).Match(source) {
			t.Errorf("the Makefile sets %s, which version.go does not declare", m[1])
		}
	}
	if !set["linkedVersion"] || !set["linkedRevision"] || len(set) != 2 {
		t.Errorf("the Makefile sets %v", set)
	}
}
