package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are the parsed output of `go test -bench`.
type results struct {
	values map[string]map[string][]float64 // by benchmark and unit
	cpu    string
}

// The name of a benchmark ends with GOMAXPROCS, unless that is 1.
var processors = regexp.MustCompile(`-\d+$`)

// readResults parses benchmarks in the format of benchstat. The key of a benchmark is the
// last element of its package path, a dot, and its name.
func readResults(r io.Reader) (*results, error) {
	out := &results{values: make(map[string]map[string][]float64)}
	pkg := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = path.Base(value)
		}
		if value, ok := strings.CutPrefix(line, "cpu: "); ok {
			out.cpu = value
		}
		name, ok := strings.CutPrefix(line, "Benchmark")
		fields := strings.Fields(name)
		if !ok || len(fields) < 4 || len(fields)%2 != 0 {
			continue
		}
		key := pkg + "." + processors.ReplaceAllString(fields[0], "")
		if out.values[key] == nil {
			out.values[key] = make(map[string][]float64)
		}
		for i := 2; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("parse benchmark %q: %w", line, err)
			}
			out.values[key][fields[i+1]] = append(out.values[key][fields[i+1]], value)
		}
	}
	return out, lines.Err()
}

// median returns the median of a benchmark's values, or NaN if there are none.
func (r *results) median(benchmark, unit string) float64 {
	return median(r.values[benchmark][unit])
}

// pairs returns f of the values of two benchmarks in each round, or nothing if one of them
// was not measured in every round.
func (r *results) pairs(first, second, unit string, f func(first, second float64) float64) []float64 {
	values, others := r.values[first][unit], r.values[second][unit]
	if len(values) != len(others) {
		return nil
	}
	var out []float64
	for i := range values {
		out = append(out, f(values[i], others[i]))
	}
	return out
}

// median returns the median of values, or NaN if there are none.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	switch n := len(values); {
	case n == 0:
		return math.NaN()
	case n%2 == 0:
		return (values[n/2-1] + values[n/2]) / 2
	default:
		return values[n/2]
	}
}

// The functions below return the names of benchmarks. With n = 0 a name has no size.

func serveName(query, proto string, n int, plugin string) string {
	if n == 0 {
		return fmt.Sprintf("bench.ServeDNS/query=%s/proto=%s/plugin=%s", query, proto, plugin)
	}
	return fmt.Sprintf("bench.ServeDNS/query=%s/proto=%s/n=%d/plugin=%s", query, proto, n, plugin)
}

func processName(query string, n int, plugin string) string {
	if n == 0 {
		return fmt.Sprintf("bench.Process/query=%s/plugin=%s", query, plugin)
	}
	return fmt.Sprintf("bench.Process/query=%s/n=%d/plugin=%s", query, n, plugin)
}

func scaleName(what, plugin string) string {
	return fmt.Sprintf("bench.Scale/%s/plugin=%s", what, plugin)
}
