package object

import (
	"math"
	"net/netip"
	"time"
	"unique"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
)

// Pod is a slim Pod: the fields that DNS uses. It takes 48 bytes and those of its name,
// as there may be a hundred thousand.
type Pod struct {
	Template unique.Handle[PodTemplate]
	// names is the name, then the hostname if that is neither the name nor empty. It is the
	// data of a string, and nameLen and namesLen are the lengths: two bytes each instead of
	// eight make room for the node.
	names             *byte
	node              unique.Handle[string] // the name of its node, or zero
	v6                *[16]byte
	v4                [4]byte
	since             uint32 // when it became ready: seconds since 1970, or 0 if that is unknown
	nameLen, namesLen uint16
	state             podState
}

// maxName is the most bytes that a pod keeps of its name, and of its hostname. Kubernetes permits
// 253 and 63.
const maxName = math.MaxUint16 / 2

// PodTemplate is what the pods of a template share. It is stored once for all of them.
type PodTemplate struct {
	namespace, Subdomain string
	Ports                unique.Handle[NamedPorts] // zero without any
	labels               string                    // see appendLabels
}

// NamedPorts returns the named ports of the pods.
func (t *PodTemplate) NamedPorts() NamedPorts {
	if t.Ports == (unique.Handle[NamedPorts]{}) {
		return NamedPorts{}
	}
	return t.Ports.Value()
}

type podState uint8

const (
	podReady          podState = 1 << iota
	podTerminating             // it is being deleted
	podFinished                // it has ended and does not restart
	podHostnameIsName          // the hostname is the name
	podV4                      // v4 is an address of the pod
	podHostNetwork             // its addresses are those of its node
)

// ID returns the key of the pod.
func (p *Pod) ID() Key { return Key{p.Template.Value().namespace, p.Name()} }

// both returns the name and the hostname as one string.
func (p *Pod) both() string { return unsafe.String(p.names, p.namesLen) }

// Name returns the name of the pod.
func (p *Pod) Name() string { return p.both()[:p.nameLen] }

// Node returns the name of the pod's node, or "" if the pod is not bound to one or the node was
// not decoded.
func (p *Pod) Node() string { return text(p.node) }

// Hostname returns the hostname of the pod in lower case, or "".
func (p *Pod) Hostname() string {
	if p.has(podHostnameIsName) {
		return p.Name()
	}
	return p.both()[p.nameLen:]
}

func (p *Pod) has(s podState) bool { return p.state&s != 0 }

// Ready reports whether the pod has the condition Ready.
func (p *Pod) Ready() bool { return p.has(podReady) }

// Terminating reports whether the pod is being deleted.
func (p *Pod) Terminating() bool { return p.has(podTerminating) }

// ReadySince returns when the pod became ready. It returns the zero time if the pod is not ready,
// or if that is unknown.
func (p *Pod) ReadySince() time.Time {
	if !p.Ready() || p.since == 0 {
		return time.Time{}
	}
	return time.Unix(int64(p.since), 0)
}

// Finished reports whether the pod has ended and does not restart.
func (p *Pod) Finished() bool { return p.has(podFinished) }

// HostNetwork reports whether the pod is in the network of its node, whose addresses it then has.
func (p *Pod) HostNetwork() bool { return p.has(podHostNetwork) }

// Addrs yields the addresses of the pod, at most one of each family.
func (p *Pod) Addrs(yield func(netip.Addr) bool) {
	if p.has(podV4) && !yield(netip.AddrFrom4(p.v4)) {
		return
	}
	if p.v6 != nil {
		yield(netip.AddrFrom16(*p.v6))
	}
}

// Equal reports whether nothing that is made of pods could differ between two pods.
func (p *Pod) Equal(q *Pod) bool {
	return p == q || p.Template == q.Template && p.node == q.node && p.both() == q.both() && p.nameLen == q.nameLen &&
		p.state == q.state && p.since == q.since && p.v4 == q.v4 && (p.v6 == q.v6 || p.v6 != nil && q.v6 != nil && *p.v6 == *q.v6)
}

// SameLabels reports whether two versions of a pod certainly have the same labels.
func (p *Pod) SameLabels(q *Pod) bool { return p.Template == q.Template && p.both() == q.both() }

// NewPod returns a slim Pod.
func NewPod(p *corev1.Pod) *Pod { return newPod(p, true) }

func newPod(p *corev1.Pod, zonal bool) *Pod {
	f := podFields{
		metadata:  newMetadata(&p.ObjectMeta),
		hostname:  p.Spec.Hostname,
		subdomain: p.Spec.Subdomain,
		phase:     string(p.Status.Phase),
		ip:        p.Status.PodIP,

		hostNetwork: p.Spec.HostNetwork,
	}
	if zonal {
		f.node = p.Spec.NodeName
	}
	for i := range p.Spec.Containers {
		f.ports = appendContainerPorts(f.ports, &p.Spec.Containers[i])
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			f.sidecarPorts = appendContainerPorts(f.sidecarPorts, c)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			f.setReady(c.LastTransitionTime.Unix())
		}
	}
	for _, ip := range p.Status.PodIPs {
		f.ips = append(f.ips, ip.IP)
	}
	return f.pod()
}

// setAddr sets an address of the pod, unless it has one of that family.
func (p *Pod) setAddr(ip string) {
	a, ok := ParseAddr(ip)
	switch {
	case !ok:
	case a.Is4() && !p.has(podV4):
		p.v4 = a.As4()
		p.state |= podV4
	case a.Is6() && p.v6 == nil:
		v6 := a.As16()
		p.v6 = &v6
	}
}
