package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestLicenses checks that the image has the license of every module in the server,
// and the other files that a license demands.
func TestLicenses(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("../licenses.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{
		"github.com/headless-dns/headless/LICENSE",
		"std/LICENSE",
		"github.com/coredns/coredns/LICENSE",
		"github.com/prometheus/client_golang/NOTICE",
		"github.com/prometheus/client_golang/internal/github.com/golang/gddo/LICENSE", // of a part of a module
		"github.com/DataDog/sketches-go/LICENSE",                                      // whose folder in the module cache is spelled otherwise
		"github.com/flynn/go-shlex/COPYING",
	} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		} else if info.Size() == 0 || info.Mode() != 0o644 {
			t.Errorf("%s has %d bytes and the mode %v", file, info.Size(), info.Mode())
		}
	}
}
