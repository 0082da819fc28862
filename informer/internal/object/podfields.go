package object

import (
	"crypto/sha256"
	"math"
	"strings"
	"unique"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
)

// podFields are the fields of a Pod that are read, in any encoding. Its strings may be
// borrowed.
type podFields struct {
	metadata
	hostname, subdomain string
	node                string          // if zonal
	ports               []containerPort // of containers
	sidecarPorts        []containerPort // of init containers that keep running
	phase               string
	ready               bool
	hostNetwork         bool
	since               uint32 // when it became ready
	ip                  string
	ips                 []string

	zonal  bool   // the node is read
	buffer []byte // scratch of pod
}

// setReady records a condition that the pod is ready, and since when, in seconds since 1970.
func (f *podFields) setReady(since int64) {
	f.ready = true
	if 0 < since && since <= math.MaxUint32 {
		f.since = uint32(since)
	}
}

// pod returns the pod with these fields. It keeps none of their strings.
func (f *podFields) pod() *Pod {
	name, hostname := cut(f.name), cut(strings.ToLower(f.hostname))
	p := &Pod{nameLen: uint16(len(name)), since: f.since}
	b := append(f.buffer[:0], name...)
	if hostname == name {
		p.state |= podHostnameIsName
	} else {
		b = append(b, hostname...)
	}
	p.names, p.namesLen = unsafe.StringData(string(b)), uint16(len(b))
	if f.node != "" {
		p.node = unique.Make(f.node) // copies the string if it is new, as the next ones do
	}
	t := PodTemplate{namespace: f.namespace, Subdomain: strings.ToLower(f.subdomain)}
	f.ports = namePorts(append(f.ports, f.sidecarPorts...))
	if b = appendPorts(b[:0], f.ports); len(b) > 0 {
		named := NamedPorts{lines: borrow(b)}
		if len(f.ports) > ComparedPorts {
			digest := sha256.Sum256(b)
			named.Digest = string(digest[:])
		}
		t.Ports = unique.Make(named)
	}
	b = appendLabels(b[:0], f.labels, name, hostname)
	t.labels = borrow(b)
	p.Template = unique.Make(t)
	f.buffer = b
	for _, s := range []struct {
		is bool
		podState
	}{
		{f.ready, podReady},
		{f.terminating, podTerminating},
		{f.phase == string(corev1.PodSucceeded) || f.phase == string(corev1.PodFailed), podFinished},
		{f.hostNetwork, podHostNetwork},
	} {
		if s.is {
			p.state |= s.podState
		}
	}
	for _, ip := range f.ips {
		p.setAddr(ip)
	}
	if len(f.ips) == 0 { // only in manifests
		p.setAddr(f.ip)
	}
	return p
}

// cut returns at most maxName bytes of a name.
func cut(name string) string { return name[:min(len(name), maxName)] }

// reset clears the fields, which ends all borrowing. It keeps their memory for the next
// pod.
func (f *podFields) reset() {
	clear(f.labels[:cap(f.labels)])
	clear(f.ports[:cap(f.ports)])
	clear(f.sidecarPorts[:cap(f.sidecarPorts)])
	clear(f.ips[:cap(f.ips)])
	*f = podFields{
		metadata: metadata{labels: f.labels[:0]},
		ports:    f.ports[:0], sidecarPorts: f.sidecarPorts[:0], ips: f.ips[:0],
		zonal: f.zonal, buffer: f.buffer[:0],
	}
}

// decodePod decodes a Pod from protobuf into f, which is empty before and after. The field
// numbers are those of k8s.io/api/core/v1/generated.proto.
func decodePod(b []byte, f *podFields) (*Pod, metadata, error) {
	defer f.reset()
	m := newMessage("pod", b)
	for m.next() {
		switch m.number {
		case 1:
			f.decode(&m)
		case 2:
			f.decodeSpec(&m)
		case 3:
			f.decodeStatus(&m)
		}
	}
	if m.err != nil {
		return nil, metadata{}, m.err
	}
	p := f.pod()
	meta := f.metadata
	meta.labels = nil
	return p, meta, nil
}

func (f *podFields) decodeSpec(outer *message) {
	m := newMessage("spec", outer.embedded())
	for m.next() {
		switch m.number {
		case 2:
			f.ports, _ = decodeContainer(&m, f.ports)
		case 20:
			before := len(f.sidecarPorts)
			var restart string
			if f.sidecarPorts, restart = decodeContainer(&m, f.sidecarPorts); restart != string(corev1.ContainerRestartPolicyAlways) {
				f.sidecarPorts = f.sidecarPorts[:before]
			}
		case 10:
			if node := m.string(); f.zonal {
				f.node = node
			}
		case 11:
			f.hostNetwork = m.bool()
		case 16:
			f.hostname = m.string()
		case 17:
			f.subdomain = m.string()
		}
	}
	outer.finish(&m)
}

// decodeContainer appends the ports of a container. It also returns its restart policy.
func decodeContainer(outer *message, ports []containerPort) (_ []containerPort, restart string) {
	m := newMessage("container", outer.embedded())
	for m.next() {
		switch m.number {
		case 6:
			ports = append(ports, decodeContainerPort(&m))
		case 24:
			restart = m.string()
		}
	}
	outer.finish(&m)
	return ports, restart
}

func decodeContainerPort(outer *message) containerPort {
	var p containerPort
	m := newMessage("container port", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			p.name = m.string()
		case 3:
			p.number = m.number32()
		case 4:
			p.protocol = m.string()
		}
	}
	outer.finish(&m)
	return p
}

func (f *podFields) decodeStatus(outer *message) {
	m := newMessage("status", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			f.phase = m.string()
		case 2:
			f.decodeCondition(&m)
		case 6:
			f.ip = m.string()
		case 12:
			f.ips = append(f.ips, decodePodIP(&m))
		}
	}
	outer.finish(&m)
}

func (f *podFields) decodeCondition(outer *message) {
	var kind, status string
	var since int64
	m := newMessage("condition", outer.embedded())
	for m.next() {
		switch m.number {
		case 1:
			kind = m.string()
		case 2:
			status = m.string()
		case 4:
			since = decodeSeconds(&m)
		}
	}
	outer.finish(&m)
	if kind == string(corev1.PodReady) && status == string(corev1.ConditionTrue) {
		f.setReady(since)
	}
}

// decodeSeconds decodes a metav1.Time, and returns its seconds since 1970.
func decodeSeconds(outer *message) int64 {
	var seconds int64
	m := newMessage("time", outer.embedded())
	for m.next() {
		if m.number == 1 && m.expect(protowire.VarintType) {
			seconds = int64(m.varint)
		}
	}
	outer.finish(&m)
	return seconds
}

func decodePodIP(outer *message) string {
	var ip string
	m := newMessage("pod IP", outer.embedded())
	for m.next() {
		if m.number == 1 {
			ip = m.string()
		}
	}
	outer.finish(&m)
	return ip
}
