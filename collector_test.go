package headless

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headless-dns/headless/informer"
)

// gather returns the values of a metric by the value of its label, or by "".
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

// TestSnapshotOverdue has two sources of different pace: the metric is how late the
// later one is, and none is late by itself.
func TestSnapshotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, forgetQuick := hooks(func() {})
		slow, forgetSlow := hooks(func() {})
		check := func(when string, want time.Duration) {
			t.Helper()
			if got, ok := gather(t, "snapshot_overdue_seconds")[""]; !ok || got != want.Seconds() {
				t.Errorf("%s, a snapshot is overdue by %v, %t, want %v", when, got, ok, want)
			}
		}
		quick.Due(time.Now().Add(time.Minute))
		slow.Due(time.Now().Add(time.Hour))
		check("with changes", 0)
		time.Sleep(10 * time.Minute)
		check("when one is not written", 9*time.Minute)
		quick.Due(time.Time{})
		check("when it is written, but the other one", 0)
		time.Sleep(time.Hour)
		check("when the other one is not written", 10*time.Minute)
		quick.Due(time.Now().Add(time.Minute))
		check("with new changes of the first", 10*time.Minute)
		forgetSlow()
		check("with one source", 0)
		forgetQuick()
		if got := gather(t, "snapshot_overdue_seconds"); len(got) > 0 {
			t.Errorf("without a source, it is %v", got)
		}
	})
}

// TestSightings checks that the metrics are those of the sources that live, and of
// them the oldest.
func TestSightings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := func() float64 { return float64(time.Now().Unix()) }
		check := func(when, name, label string, want float64) {
			t.Helper()
			if got, ok := gather(t, name)[label]; !ok || got != want {
				t.Errorf("%s, %s of %q is %v, %t, want %v", when, name, label, got, ok, want)
			}
		}
		none := func(when string) {
			t.Helper()
			for _, name := range []string{"last_event_timestamp_seconds", "snapshot_timestamp_seconds", "snapshot_size_bytes", "snapshot_overdue_seconds"} {
				if got := gather(t, name); len(got) > 0 {
					t.Errorf("%s, %s is %v", when, name, got)
				}
			}
		}
		none("before the first source")
		first, forgetFirst := hooks(func() {})
		other, forgetOther := hooks(func() {})
		none("before the first event")

		silent := second()
		first.Received(informer.Pods, "a")
		first.Wrote(100, nil)
		time.Sleep(time.Minute)
		lively := second()
		first.Received(informer.Pods, "b")
		first.Received(informer.Services, "")
		other.Received(informer.Pods, "")
		other.Wrote(1000, nil)
		check("with a silent namespace", "last_event_timestamp_seconds", "pods", silent)
		check("with a silent namespace", "last_event_timestamp_seconds", "services", lively)
		check("with two snapshots", "snapshot_timestamp_seconds", "", silent)
		check("with two snapshots", "snapshot_size_bytes", "", 1100)

		forgetFirst()
		check("with one source", "last_event_timestamp_seconds", "pods", lively)
		check("with one source", "snapshot_timestamp_seconds", "", lively)
		check("with one source", "snapshot_size_bytes", "", 1000)
		if got, ok := gather(t, "last_event_timestamp_seconds")["services"]; ok {
			t.Errorf("nobody watches services, and their last event was at %v", got)
		}
		forgetOther()
		none("without a source")
	})
}
