package main

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"testing"
)

// TestStacks checks that a goroutine starts with the stack that a query needs. It looks at a process
// of its own, as other tests leave goroutines behind.
func TestStacks(t *testing.T) {
	const child = "HEADLESS_STACKS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestStacks$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	for range 200 { // as many as a server has
		go func() { select {} }()
	}
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/stack/starting-size:bytes"}}
	metrics.Read(sample)
	if got := sample[0].Value.Uint64(); got != 8<<10 {
		t.Errorf("goroutines start with %d bytes of stack, want 8192", got)
	}
}
