package headless

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/informer"
)

// gather returns the values of a gauge by the value of its first label, or by "".
func gather(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "coredns_headless_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			label := ""
			if len(m.GetLabel()) > 0 {
				label = m.GetLabel()[0].GetValue()
			}
			out[label] = m.GetGauge().GetValue()
		}
	}
	return out
}

// TestSnapshotOverdue has two sources with different intervals. The metric is that of the
// snapshot that is most overdue, and 0 if none is.
func TestSnapshotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, withdrawQuick := testHooks()
		slow, withdrawSlow := testHooks()
		check := func(when string, want time.Duration) {
			t.Helper()
			if got, ok := gather(t, "snapshot_overdue_seconds")[""]; !ok || got != want.Seconds() {
				t.Errorf("%s: got overdue %v, present %t, want %v", when, got, ok, want.Seconds())
			}
		}
		quick.Due(time.Now().Add(time.Minute))
		slow.Due(time.Now().Add(time.Hour))
		check("both due in the future", 0)
		time.Sleep(10 * time.Minute)
		check("the quick one is overdue", 9*time.Minute)
		quick.Due(time.Time{})
		check("the quick one is written", 0)
		time.Sleep(time.Hour)
		check("the slow one is overdue", 10*time.Minute)
		quick.Due(time.Now().Add(time.Minute))
		check("the quick one has changes again", 10*time.Minute)
		withdrawSlow()
		check("the slow source has stopped", 0)
		withdrawQuick()
		if got := gather(t, "snapshot_overdue_seconds"); len(got) > 0 {
			t.Errorf("both sources have stopped: got overdue %v, want no metric", got)
		}
	})
}

// TestProgress checks that the metrics are those of running sources only, and the oldest of
// them.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := func() float64 { return float64(time.Now().Unix()) }
		check := func(when, name, label string, want float64) {
			t.Helper()
			if got, ok := gather(t, name)[label]; !ok || got != want {
				t.Errorf("%s: got %s{%q} %v, present %t, want %v", when, name, label, got, ok, want)
			}
		}
		checkAbsent := func(when string) {
			t.Helper()
			for _, name := range []string{"last_event_timestamp_seconds", "snapshot_timestamp_seconds", "snapshot_size_bytes", "snapshot_overdue_seconds"} {
				if got := gather(t, name); len(got) > 0 {
					t.Errorf("%s: got %s %v, want no metric", when, name, got)
				}
			}
		}
		checkAbsent("before the first source")
		first, withdrawFirst := testHooks()
		second, withdrawSecond := testHooks()
		checkAbsent("before the first event")

		early := now()
		first.Received(informer.Pods, "a")
		first.Wrote(100, nil)
		time.Sleep(time.Minute)
		late := now()
		first.Received(informer.Pods, "b")
		first.Received(informer.Services, "")
		second.Received(informer.Pods, "")
		second.Wrote(1000, nil)
		check("a namespace is silent", "last_event_timestamp_seconds", "pods", early)
		check("a namespace is silent", "last_event_timestamp_seconds", "services", late)
		check("two snapshots", "snapshot_timestamp_seconds", "", early)
		check("two snapshots", "snapshot_size_bytes", "", 1100)

		withdrawFirst()
		check("the first source has stopped", "last_event_timestamp_seconds", "pods", late)
		check("the first source has stopped", "snapshot_timestamp_seconds", "", late)
		check("the first source has stopped", "snapshot_size_bytes", "", 1000)
		if got, ok := gather(t, "last_event_timestamp_seconds")["services"]; ok {
			t.Errorf("no source watches services: got their last event at %v, want no metric", got)
		}
		withdrawSecond()
		checkAbsent("both sources have stopped")
	})
}
