package headless

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/coredns/coredns/coremain"
	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	gomod "golang.org/x/mod/module"
)

// The Makefile sets these with -ldflags. CoreDNS has its own version.
var (
	linkedVersion  string // git describe
	linkedRevision string // git rev-parse
)

const (
	modulePath = "github.com/headless-dns/headless"
	unknown    = "unknown"
)

// buildID is what the plugin was built from.
type buildID struct{ version, revision string }

var built = newBuildID(linkedVersion, linkedRevision, buildInfo())

func buildInfo() *debug.BuildInfo {
	info, _ := debug.ReadBuildInfo()
	return info
}

// newBuildID returns the version and revision that -ldflags set. What they lack
// comes from the build info: in another project's build of CoreDNS, the plugin is
// a dependency, and the revision of the repository is not that of the plugin.
func newBuildID(version, revision string, info *debug.BuildInfo) buildID {
	if info == nil {
		info = new(debug.BuildInfo)
	}
	if info.Main.Path == modulePath {
		revision = cmp.Or(revision, vcsRevision(info))
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path != modulePath {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version != "(devel)" { // which is no version, and no valid product in a User-Agent
			version = cmp.Or(version, m.Version)
		}
		if rev, err := gomod.PseudoVersionRev(m.Version); err == nil {
			revision = cmp.Or(revision, rev)
		}
	}
	return buildID{cmp.Or(version, unknown), cmp.Or(revision, unknown)}
}

// vcsRevision returns the commit of the repository of the main module, or "".
func vcsRevision(info *debug.BuildInfo) string {
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

// userAgent returns the User-Agent of requests to the API server.
func (b buildID) userAgent() string {
	return fmt.Sprintf("%s/%s %s/%s (%s/%s)",
		coremain.CoreName, coremain.CoreVersion, pluginName, strings.TrimPrefix(b.version, "v"), runtime.GOOS, runtime.GOARCH)
}

func (b buildID) String() string {
	return fmt.Sprintf("version %s, revision %s, %s", b.version, b.revision, runtime.Version())
}

func init() {
	promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "build_info",
		Help:      "Version, revision and Go version that the plugin was built from; the value is 1.",
	}, []string{"version", "revision", "goversion"}).WithLabelValues(built.version, built.revision, runtime.Version()).Set(1)
}
