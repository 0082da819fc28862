package main

// CoreDNS serves each query in a goroutine of its own, which needs a stack of some 6 KB. The
// runtime starts goroutines with the average of the stacks that were in use at the last garbage
// collection, and nearly all goroutines of a server wait, with next to nothing in use. So each
// query starts with 2 KB and copies its stack twice, which is a quarter of the CPU time of a query
// for a pod (docs/performance.md).
//
// Goroutines that wait with as much stack as a query needs raise that average. Where there are so
// many other goroutines that they don't, all is as without them.
const (
	waiting      = 256     // goroutines; a server has 30 to 40 others
	stackOfQuery = 6 << 10 // bytes, rounded up to 8 KB by the runtime
)

func init() {
	for range waiting {
		go wait()
	}
}

// wait waits forever with stackOfQuery bytes of stack in use.
//
//go:noinline
func wait() {
	var stack [stackOfQuery]byte
	use(&stack)
	select {}
}

// use keeps the compiler from leaving out what it uses.
//
//go:noinline
func use(stack *[stackOfQuery]byte) { stack[0] = 1 }
