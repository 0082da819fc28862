package informer

import (
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// podZone returns the topology zone of a pod: that of its label, which needs no node, else that of
// its node. The label is read once for all services that select the pod, which may be thousands.
func (n *naming) podZone(p *object.Pod, nodeZone func(name string) string) string {
	if !n.zonal {
		return ""
	}
	if n.labelled != p {
		n.labelled, n.zone = p, p.Zone()
		n.read++
	}
	if n.zone != "" {
		return n.zone
	}
	return nodeZone(p.Node())
}

// zoneOfNode returns the topology zone of a node, or "".
func (j *joiner) zoneOfNode(name string) string {
	if n := j.nodes[name]; n != nil {
		return n.Zone
	}
	return ""
}

// setNode stores a node. flushNodes counts the endpoints of its pods again, walking the pods once
// for all nodes that changed.
func (j *joiner) setNode(name string, n *object.Node) bool {
	before := j.zoneOfNode(name)
	if n != nil {
		j.nodes[name] = n
	} else {
		delete(j.nodes, name)
	}
	if before == j.zoneOfNode(name) {
		return false
	}
	if x := j.clients.Load(); x != nil {
		x.setZone(name, j.zoneOfNode(name))
	}
	if _, ok := j.rezoned[name]; !ok && j.started {
		j.rezoned[name] = before
	}
	return true
}

// flushNodes moves the endpoints of the pods on nodes that changed to their new zones. The trie
// must have the pods and services as they are stored, so no other kind may change between setNode
// and flushNodes. It writes to none of the maps that concurrent readers use.
func (j *joiner) flushNodes(u *records.Update) {
	for name, before := range j.rezoned {
		if j.zoneOfNode(name) == before { // it changed, and changed back
			delete(j.rezoned, name)
		}
	}
	if len(j.rezoned) == 0 {
		return
	}
	j.walks++
	before := func(name string) string { return j.rezoned[name] }
	for name, m := range j.namespaces {
		if !j.served(name) || m.selectors.empty() {
			continue
		}
		for _, p := range m.pods {
			if _, ok := j.rezoned[p.Node()]; !ok || j.naming.podZone(p, before) == j.zone(p) {
				continue
			}
			j.match(&m.selectors, p, func(s *joinedService) {
				j.countPodIn(counter{u, true}, s, p, j.naming.podZone(p, before))
				j.countPodIn(counter{u, false}, s, p, j.zone(p))
			})
		}
	}
	clear(j.rezoned)
}
