package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build returns the folder of the Kubernetes programs: CLUSTER_BIN if it is set, else that
// of the version in testdata/cluster/hyperkube. Build builds missing programs.
func Build() (bin string, err error) {
	if bin := os.Getenv("CLUSTER_BIN"); bin != "" {
		return bin, nil
	}
	out, err := Run(exec.Command(Scripts + "/build.sh"))
	return strings.TrimSpace(out), err
}

// BuildServer returns the path of a CoreDNS with headless: HEADLESS_COREDNS if it is set,
// else a new build. The new program stays beside bin, so that go build links it again only
// after a change.
func BuildServer(bin string) (program string, err error) {
	if program := os.Getenv("HEADLESS_COREDNS"); program != "" {
		return filepath.Abs(program)
	}
	program = filepath.Join(filepath.Dir(bin), "coredns")
	cmd := exec.Command("go", "build", "-o", program, "../coredns")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false")
	_, err = Run(cmd)
	return program, err
}
