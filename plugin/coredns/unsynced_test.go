//go:build !race

// At its setup the kubernetes plugin writes klog's logger, which its own watches read, without
// a lock: also those of an earlier server in this process, which nobody waits for.

package main

import "testing"

// TestUnsynced asks a server for a pod before the first sync. Without the kubernetes plugin
// headless fails the query; else that plugin does, which is not ready either. Only its
// SERVFAIL has an SOA.
func TestUnsynced(t *testing.T) {
	const unreachable = "endpoint http://127.0.0.1:1\nstartup_timeout 1ms\n"
	for with, want := range map[string]int{"": 0, "kubernetes cluster.local {\n" + unreachable + "}\n": 1} {
		s := serve(t, ".:0 {\nbind 127.0.0.1\nheadless cluster.local {\n"+unreachable+"}\n"+with+"}")
		if m := s.want(t, "web-0."+nginx+" A", "SERVFAIL"); len(m.Ns) != want {
			t.Errorf("authority section with %q: got %v, want %d records", with, m.Ns, want)
		}
	}
}
