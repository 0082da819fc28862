package informer

import (
	"runtime"
	"slices"
	"testing"
)

// TestHeapBudget holds the memory of a pod with all that is made of it: the slim
// object, the join, the trie and the reverse index.
func TestHeapBudget(t *testing.T) {
	const services, pods, budget = 200, 100, 300 // bytes
	newWorld(1)                                  // what is made once
	before := heap()
	i, _ := newWorld(slices.Repeat([]int{pods}, services)...)
	perPod := (heap() - before) / (services * pods)
	runtime.KeepAlive(i)
	t.Logf("a pod takes %d bytes", perPod)
	if perPod > budget {
		t.Errorf("a pod takes %d bytes, at most %d", perPod, budget)
	}
}
