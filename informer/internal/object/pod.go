package object

import (
	"net/netip"
	"unique"

	corev1 "k8s.io/api/core/v1"
)

// Pod is what is kept of a Pod. It takes 48 bytes and the bytes of its name:
// there are a hundred thousand of them.
type Pod struct {
	Template unique.Handle[PodTemplate]
	text     string // the name, and the hostname if it is neither the name nor empty
	v6       *[16]byte
	nameLen  uint32
	v4       [4]byte
	state    podState
}

// PodTemplate is what the pods of one template have in common. It is held once
// for all of them.
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
	podFinished                // it runs no more and won't again
	podHostnameIsName          // its hostname is its name
	podV4                      // it has the address v4
)

func (p *Pod) ID() Key { return Key{p.Template.Value().namespace, p.Name()} }

func (p *Pod) Name() string { return p.text[:p.nameLen] }

func (p *Pod) Hostname() string {
	if p.has(podHostnameIsName) {
		return p.Name()
	}
	return p.text[p.nameLen:]
}

func (p *Pod) has(s podState) bool { return p.state&s != 0 }

func (p *Pod) Ready() bool       { return p.has(podReady) }
func (p *Pod) Terminating() bool { return p.has(podTerminating) }
func (p *Pod) Finished() bool    { return p.has(podFinished) }

// Addrs yields the addresses of the pod.
func (p *Pod) Addrs(yield func(netip.Addr) bool) {
	if p.has(podV4) && !yield(netip.AddrFrom4(p.v4)) {
		return
	}
	if p.v6 != nil {
		yield(netip.AddrFrom16(*p.v6))
	}
}

func (p *Pod) Equal(q *Pod) bool {
	return p == q || p.Template == q.Template && p.text == q.text && p.nameLen == q.nameLen &&
		p.state == q.state && p.v4 == q.v4 && (p.v6 == q.v6 || p.v6 != nil && q.v6 != nil && *p.v6 == *q.v6)
}

// SameLabels reports whether two pods with one key have the same labels, whatever else
// differs.
func (p *Pod) SameLabels(q *Pod) bool { return p.Template == q.Template && p.text == q.text }

// NewPod returns what is kept of a pod.
func NewPod(p *corev1.Pod) *Pod {
	f := podFields{
		metadata:  newMetadata(&p.ObjectMeta),
		hostname:  p.Spec.Hostname,
		subdomain: p.Spec.Subdomain,
		phase:     string(p.Status.Phase),
		ip:        p.Status.PodIP,
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
		f.ready = f.ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}
	for _, ip := range p.Status.PodIPs {
		f.ips = append(f.ips, ip.IP)
	}
	return f.pod()
}

// setAddr gives the pod an address, if it has none of its family yet.
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
