package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// diffZoneNames are the topology zones of nodes. Some nodes have none. One zone has the name of
// a directive, one has dots, and one has capitals.
var diffZoneNames = []string{"us-a", "us-a", "EU-1", "corp.example.com", "pin"}

// diffZoneLabel is the label of pods and nodes.
const diffZoneLabel = corev1.LabelTopologyZone

// addNodes gives a cluster with the option "zonal" its nodes. They are few, so that zones have
// several pods; the last one has no zone.
func (c *diffCluster) addNodes() {
	if !c.options().zonal {
		return
	}
	for i := range 4 {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d-%d", c.seed, i)}}
		if i < 3 {
			n.Labels = map[string]string{diffZoneLabel: diffPick(c, diffZoneNames...)}
		}
		c.nodes = append(c.nodes, n)
	}
}

// changeNodes gives some nodes another zone, or none. It leaves the nodes of pods that have the
// label alone: those pods keep the zone in which they were started.
func (c *diffCluster) changeNodes() {
	for i, n := range c.nodes {
		if !c.chance(30) || slices.ContainsFunc(c.pods, func(p *corev1.Pod) bool {
			return p.Spec.NodeName == n.Name && p.Labels[diffZoneLabel] != ""
		}) {
			continue
		}
		n = n.DeepCopy()
		n.Labels = nil
		if c.chance(80) {
			n.Labels = map[string]string{diffZoneLabel: diffPick(c, diffZoneNames...)}
		}
		c.nodes[i] = n
	}
}

// nodeOf returns the index of the node of a pod, or -1.
func (c *diffCluster) nodeOf(p *corev1.Pod) int {
	return slices.IndexFunc(c.nodes, func(n *corev1.Node) bool { return n.Name == p.Spec.NodeName })
}

// giveNode binds a pod to a node. Some pods have the node's zone as a label, as an API server
// gives it since Kubernetes 1.35.
func (c *diffCluster) giveNode(p *corev1.Pod) {
	if len(c.nodes) == 0 {
		return
	}
	n := diffPick(c, c.nodes...)
	p.Spec.NodeName = n.Name
	if zone := n.Labels[diffZoneLabel]; zone != "" && c.chance(50) {
		p.Labels[diffZoneLabel] = zone
	}
}

// giveZone gives an endpoint of a slice a zone, or none. An address has the same zone wherever the
// slice has it: kubernetes has one zone for each address of a slice.
func (c *diffCluster) giveZone(e *discoveryv1.Endpoint, zones map[string]*string) {
	if !c.options().zonal {
		return
	}
	if zone := diffPick(c, append(diffZoneNames, "")...); zone != "" {
		e.Zone = &zone
	}
	if zone, ok := zones[e.Addresses[0]]; ok {
		e.Zone = zone
	}
	e.Addresses = slices.DeleteFunc(e.Addresses, func(a string) bool {
		zone, ok := zones[a]
		return ok && zone != e.Zone
	})
	for _, a := range e.Addresses {
		zones[a] = e.Zone
	}
}
