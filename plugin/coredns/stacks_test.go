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
	// The goroutines have to run once before they have a stack in use.
	sample := []metrics.Sample{{Name: "/gc/stack/starting-size:bytes"}}
	size := func() uint64 {
		runtime.GC()
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	for range 1000 {
		if size() == 8<<10 {
			break
		}
		runtime.Gosched()
	}
	for range 100 { // more than a server has
		go func() { select {} }()
	}
	runtime.Gosched()
	if got := size(); got != 8<<10 {
		t.Errorf("goroutines start with %d bytes of stack, want 8192", got)
	}
}
