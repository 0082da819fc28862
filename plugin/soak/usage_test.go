//go:build soak

package soak_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

// usage is what a server uses.
type usage struct {
	resident, heap    float64 // megabytes; resident excludes mapped files
	goroutines, files int
}

func (u *usage) log(t *testing.T, when string) {
	t.Logf("%s: %.1f MB resident, heap of %.1f MB, %d goroutines, %d open files", when, u.resident, u.heap, u.goroutines, u.files)
}

var (
	// RssAnon excludes the program's pages, which are loaded on first use and never freed.
	residentLine  = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`)
	heapLine      = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	goroutineLine = regexp.MustCompile(`(?m)^goroutine profile: total (\d+)$`)
)

// measure reloads the Corefile with the fast path, which empties the cache plugin, and collects
// garbage. It returns the least usage of ten seconds, in which the runtime returns memory and
// idle connections end.
func (s *server) measure(t *testing.T) usage {
	t.Helper()
	s.reload(t, true)
	var least usage
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := range 20 {
		u, err := s.usage()
		if err != nil {
			t.Fatalf("measure the server: %v", err)
		}
		if i == 0 {
			least = u
		}
		least.resident, least.heap = min(least.resident, u.resident), min(least.heap, u.heap)
		least.goroutines, least.files = min(least.goroutines, u.goroutines), min(least.files, u.files)
		<-tick.C
	}
	return least
}

func (s *server) usage() (u usage, err error) {
	process := fmt.Sprintf("/proc/%d/", s.Process.Pid)
	heap, err1 := s.profile("heap?gc=1&debug=1")
	goroutines, err2 := s.profile("goroutine?debug=1")
	status, err3 := os.ReadFile(process + "status")
	files, err4 := os.ReadDir(process + "fd")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return u, err
	}
	resident, err1 := number(residentLine, string(status))
	bytes, err2 := number(heapLine, heap)
	count, err3 := number(goroutineLine, goroutines)
	return usage{resident / 1024, bytes / 1e6, int(count), len(files)}, errors.Join(err1, err2, err3)
}

func number(line *regexp.Regexp, text string) (float64, error) {
	m := line.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no line matches %s", line)
	}
	return strconv.ParseFloat(m[1], 64)
}

func (s *server) profile(name string) (string, error) {
	return cluster.Fetch("http://" + s.profiles + "/debug/pprof/" + name)
}
