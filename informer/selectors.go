package informer

import "slices"

// selectors finds the services that select a pod. It is a trie: the labels of a
// selector, sorted by key, are the path to its services. Equal selectors share a path,
// and a lookup follows only the paths whose labels the pod has, however many services
// have one of them.
type selectors struct {
	services map[*member]struct{}
	next     map[label]*selectors
}

// add adds a service. An empty selector selects nothing: the service's endpoints are
// made by hand.
func (n *selectors) add(s *member) {
	if len(s.selector) == 0 {
		return
	}
	for _, l := range s.selector {
		if n.next == nil {
			n.next = make(map[label]*selectors)
		}
		child := n.next[l]
		if child == nil {
			child = new(selectors)
			n.next[l] = child
		}
		n = child
	}
	if n.services == nil {
		n.services = make(map[*member]struct{})
	}
	n.services[s] = struct{}{}
}

// remove removes a service that was added, and the nodes that only it needs.
func (n *selectors) remove(s *member) {
	var above *selectors // the last node that stays
	var cut label        // the label below it
	node := n
	for i, l := range s.selector {
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

func (n *selectors) empty() bool { return len(n.next) == 0 }

// match calls f for each service whose selector is among the labels of a pod, which are
// sorted by key. It returns how many labels it looked up. Each node that it visits takes
// the fewer of the labels below the node and those of the pod that are left.
func (n *selectors) match(labels []label, f func(*member)) (lookups int) {
	for s := range n.services {
		f(s)
	}
	if len(n.next) < len(labels) {
		for l, child := range n.next {
			lookups++
			if i, ok := slices.BinarySearchFunc(labels, l, byKey); ok && labels[i] == l {
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
