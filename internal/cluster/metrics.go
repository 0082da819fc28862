package cluster

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Metrics gets the metrics of the prometheus plugin at an address. It returns the value of each
// series, which is a name with its labels, as the plugin writes them.
func Metrics(addr string) (map[string]float64, error) {
	url := "http://" + addr + "/metrics"
	text, err := Fetch(url)
	if err != nil {
		return nil, err
	}
	out := make(map[string]float64)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndexByte(line, ' ') + 1
		if out[strings.TrimSuffix(line[:end], " ")], err = strconv.ParseFloat(line[end:], 64); err != nil {
			return nil, fmt.Errorf("get %s: line %q: %w", url, line, err)
		}
	}
	return out, nil
}

// Metric returns the value of one series of Metrics.
func Metric(addr, series string) (float64, error) {
	all, err := Metrics(addr)
	if err != nil {
		return 0, err
	}
	value, ok := all[series]
	if !ok {
		return 0, fmt.Errorf("%s has no metric %s", addr, series)
	}
	return value, nil
}

var failingWatches = regexp.MustCompile(`^coredns_headless_failing_watches\{kind="\w+"\}$`)

// FailingWatches returns how many kinds of objects a server fails to watch. An error means that
// it has no metric of that.
func FailingWatches(addr string) (int, error) {
	all, err := Metrics(addr)
	if err != nil {
		return 0, err
	}
	kinds, failing := 0, 0
	for series, n := range all {
		if !failingWatches.MatchString(series) {
			continue
		}
		if kinds++; n != 0 {
			failing++
		}
	}
	if kinds == 0 {
		return 0, fmt.Errorf("%s has no metric of failing watches", addr)
	}
	return failing, nil
}
