package informer

import (
	"net/netip"
	"sync"

	"github.com/headless-dns/headless/informer/internal/object"
)

// IndexClients makes Client find clients, until every caller has called its release. Without
// callers there is no index: it takes memory for each pod, and time for each change of one.
func (i *Informer) IndexClients() (release func()) {
	i.joiner.indexClients(1)
	return sync.OnceFunc(func() { i.joiner.indexClients(-1) })
}

// Client returns who has an address: a pod, which need not belong to a service, or a node. It
// returns false if the address is that of
//
//   - no pod, or only of finished ones,
//   - several pods, unless all are on the host network of one node. The address is then that of
//     the node, and any process there may be the client.
//
// It also returns false without IndexClients, before the first sync, and if no pods are watched.
// The node is known with Config.Zonal and from manifests.
func (i *Informer) Client(addr netip.Addr) (Client, bool) {
	x := i.joiner.clients.Load()
	if x == nil {
		return Client{}, false
	}
	select {
	case <-i.synced:
	default: // another pod with the address may not be listed yet
		return Client{}, false
	}
	return x.find(addr)
}

// Client is who sends queries.
type Client struct {
	pod      *object.Pod // nil for a node
	node     string
	nodeZone string
}

// Namespace returns the namespace of the pod, or "".
func (c Client) Namespace() string {
	if c.pod == nil {
		return ""
	}
	return c.pod.ID().Namespace
}

// Pod returns the name of the pod, or "" if the client is a node.
func (c Client) Pod() string {
	if c.pod == nil {
		return ""
	}
	return c.pod.Name()
}

// Node returns the name of the node, or "" if it is unknown.
func (c Client) Node() string { return c.node }

// Zone returns the topology zone in lower case, or "": that of the pod's label, else that of the
// node.
func (c Client) Zone() string {
	if c.pod != nil {
		if zone := c.pod.Zone(); zone != "" {
			return zone
		}
	}
	return c.nodeZone
}

// Labels yields the labels of the pod, sorted by key.
func (c Client) Labels(yield func(key, value string) bool) {
	if c.pod == nil {
		return
	}
	c.pod.Labels(func(l object.Label, _ bool) bool { return yield(l.Key, l.Value) })
}

// indexClients adds to the number of users of the index, creates it for the first one, and drops
// it after the last.
func (j *joiner) indexClients(users int) {
	j.mu.Lock() // so neither a pod nor a node changes meanwhile
	defer j.mu.Unlock()
	j.clientUsers += users
	switch x := j.clients.Load(); {
	case j.clientUsers == 0:
		j.clients.Store(nil)
	case x == nil:
		x = newClientIndex()
		for _, m := range j.namespaces {
			for _, p := range m.pods {
				x.change(nil, p)
			}
		}
		for _, n := range j.nodes {
			x.setZone(n.Name, n.Zone)
		}
		j.clients.Store(x)
	}
}

// clientIndex finds the pod that has an address. A change takes the same time however many pods
// there are.
type clientIndex struct {
	mu sync.RWMutex
	// An address is in one of the maps. Nearly all are in the first one, whose entries are small.
	pods   map[[16]byte]*object.Pod // of the addresses that one pod has, not on the host network
	shared map[[16]byte]*sharers    // of all others
	zones  map[string]string        // by node; without nodes that are in none
}

// sharers are the pods that have an address.
type sharers struct {
	pods  map[*object.Pod]struct{} // not on the host network
	nodes map[string]int           // those of the pods on the host network, and how many pods
}

func newClientIndex() *clientIndex {
	return &clientIndex{
		pods:   make(map[[16]byte]*object.Pod),
		shared: make(map[[16]byte]*sharers),
		zones:  make(map[string]string),
	}
}

// find returns the client that has an address.
func (x *clientIndex) find(addr netip.Addr) (c Client, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if c.pod = x.pods[addr.As16()]; c.pod != nil {
		c.node = c.pod.Node()
	} else if s := x.shared[addr.As16()]; s != nil && len(s.pods) == 0 && len(s.nodes) == 1 {
		for c.node = range s.nodes { // the only one
		}
	}
	c.nodeZone = x.zones[c.node]
	return c, c.pod != nil || c.node != ""
}

// setZone sets the zone of a node, or removes it if it is empty.
func (x *clientIndex) setZone(node, zone string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if zone == "" {
		delete(x.zones, node)
	} else {
		x.zones[node] = zone
	}
}

// change replaces a version of a pod by the next one. Either may be nil. No reader sees neither.
func (x *clientIndex) change(old, next *object.Pod) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old != nil && !old.Finished() {
		for addr := range old.Addrs {
			x.remove(addr.As16(), old)
		}
	}
	if next != nil && !next.Finished() {
		for addr := range next.Addrs {
			x.add(addr.As16(), next)
		}
	}
}

func (x *clientIndex) add(addr [16]byte, p *object.Pod) {
	s, other := x.shared[addr], x.pods[addr]
	if s == nil {
		if other == nil && !p.HostNetwork() {
			x.pods[addr] = p
			return
		}
		s = &sharers{pods: make(map[*object.Pod]struct{}), nodes: make(map[string]int)}
		x.shared[addr] = s
	}
	if other != nil {
		delete(x.pods, addr)
		s.pods[other] = struct{}{}
	}
	if p.HostNetwork() {
		s.nodes[p.Node()]++
	} else {
		s.pods[p] = struct{}{}
	}
}

func (x *clientIndex) remove(addr [16]byte, p *object.Pod) {
	s := x.shared[addr]
	if s == nil {
		delete(x.pods, addr)
		return
	}
	if !p.HostNetwork() {
		delete(s.pods, p)
	} else if s.nodes[p.Node()]--; s.nodes[p.Node()] == 0 {
		delete(s.nodes, p.Node())
	}
	if len(s.nodes) > 0 || len(s.pods) > 1 {
		return
	}
	delete(x.shared, addr)
	for last := range s.pods {
		x.pods[addr] = last
	}
}
