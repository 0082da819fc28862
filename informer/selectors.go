package informer

import (
	"slices"
	"unique"

	"github.com/headless-dns/headless/informer/internal/object"
)

// selectors finds the services that select a pod.
type selectors struct {
	root selectorNode
	keys map[string]int // label keys, with the number of services whose selector has each
	// matched caches the services that select the pods of a template, until the selectors
	// change or clearCache.
	matched map[unique.Handle[object.PodTemplate]][]*joinedService
}

// selectorNode is a node of a trie. The labels of a selector, sorted by key, are the path
// to its services. Equal selectors share a path. A lookup follows only the paths whose
// labels the pod has, however many services select by one of them.
type selectorNode struct {
	services map[*joinedService]struct{}
	next     map[object.Label]*selectorNode
}

// add adds a service. A service without a selector selects no pod.
func (t *selectors) add(s *joinedService) {
	if len(s.Selector) == 0 {
		return
	}
	t.clearCache()
	if t.keys == nil {
		t.keys = make(map[string]int)
	}
	n := &t.root
	for _, l := range s.Selector {
		t.keys[l.Key]++
		if n.next == nil {
			n.next = make(map[object.Label]*selectorNode)
		}
		child := n.next[l]
		if child == nil {
			child = new(selectorNode)
			n.next[l] = child
		}
		n = child
	}
	if n.services == nil {
		n.services = make(map[*joinedService]struct{})
	}
	n.services[s] = struct{}{}
}

// remove removes a service and the nodes that no other service needs.
func (t *selectors) remove(s *joinedService) {
	t.clearCache()
	var above *selectorNode // the last node to keep
	var cut object.Label    // the label of the edge to cut below it
	node := &t.root
	for i, l := range s.Selector {
		if t.keys[l.Key]--; t.keys[l.Key] == 0 {
			delete(t.keys, l.Key)
		}
		if i == 0 || len(node.next) > 1 || len(node.services) > 0 {
			above, cut = node, l
		}
		node = node.next[l]
	}
	if above == nil {
		return
	}
	if delete(node.services, s); len(node.services)+len(node.next) == 0 {
		delete(above.next, cut)
	}
}

func (t *selectors) empty() bool { return len(t.root.next) == 0 }

// cacheMatches caches the services that select the pods of a template. The caller must call
// clearCache after the batch, or the memory for templates that are gone is kept.
func (t *selectors) cacheMatches(template unique.Handle[object.PodTemplate], services []*joinedService) {
	if t.matched == nil {
		t.matched = make(map[unique.Handle[object.PodTemplate]][]*joinedService)
	}
	t.matched[template] = services
}

// clearCache empties the cache. It keeps the memory if that is for a few templates.
func (t *selectors) clearCache() {
	if len(t.matched) > 8 {
		t.matched = nil
	}
	clear(t.matched)
}

// match calls f for each service whose selector is a subset of the labels of a pod, which
// are sorted by key. It returns the number of label lookups. At each node it looks up the
// labels below the node or the remaining labels of the pod, whichever are fewer.
func (n *selectorNode) match(labels []object.Label, f func(*joinedService)) (lookups int) {
	for s := range n.services {
		f(s)
	}
	if len(n.next) < len(labels) {
		for l, child := range n.next {
			lookups++
			if i, ok := slices.BinarySearchFunc(labels, l, object.CompareKeys); ok && labels[i] == l {
				lookups += child.match(labels[i+1:], f)
			}
		}
		return lookups
	}
	if len(n.next) == 0 {
		return 0
	}
	for i, l := range labels {
		lookups++
		if child := n.next[l]; child != nil {
			lookups += child.match(labels[i+1:], f)
		}
	}
	return lookups
}
