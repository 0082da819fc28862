// Package fixture has the objects that tests of an informer use.
package informer

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/randfill"
)

// newNginx is the service of the tutorials, changed.
func newNginx(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"},
		Spec: corev1.ServiceSpec{
			ClusterIP:  corev1.ClusterIPNone,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Selector:   map[string]string{"app": "nginx"},
			Ports:      []corev1.ServicePort{{Name: "web", Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// newWeb is the i-th pod of its StatefulSet, changed.
func newWeb(i int, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("web-", i), Labels: map[string]string{"app": "nginx"}},
		Spec: corev1.PodSpec{
			Hostname: fmt.Sprint("web-", i), Subdomain: "nginx",
			Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
				{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP},
				{Name: "http", ContainerPort: 8081, Protocol: corev1.ProtocolUDP},
			}}},
		},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			PodIPs:     []corev1.PodIP{{IP: fmt.Sprint("10.244.0.", i+1)}, {IP: fmt.Sprintf("fd00::%x", i+1)}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func notReady(p *corev1.Pod)    { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func terminating(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Time) }
func noAddress(p *corev1.Pod)   { p.Status.PodIPs = nil }

func newSlice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name,
			Labels: map[string]string{discoveryv1.LabelServiceName: "nginx"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   endpoints,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To[int32](8080)}},
	}
}

// nameWeb makes a pod the i-th of the s-th StatefulSet, and the n-th of all.
func nameWeb(p *corev1.Pod, s, i, n int) {
	p.Name = fmt.Sprintf("web-%d-%d", s, i)
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, fmt.Sprint("nginx-", s)
	p.Labels = map[string]string{
		"app":                                fmt.Sprint("nginx-", s),
		"controller-revision-hash":           fmt.Sprint("web-5d7c9f8b6-", s),
		"statefulset.kubernetes.io/pod-name": p.Name,
		"apps.kubernetes.io/pod-index":       fmt.Sprint(i),
	}
	p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)}}
}

// managed is a list of fields that somebody manages, about as long as they are.
func managed(name string) string {
	out := fmt.Appendf(nil, "{%q:{", name)
	for i := range 40 {
		out = fmt.Appendf(out, `"f:field-%d":{".":{}},`, i)
	}
	return string(out) + `"f:last":{}}}`
}

// typicalPod is a StatefulSet's pod as an API server sends it.
func typicalPod(i int) *corev1.Pod {
	return newWeb(i, func(p *corev1.Pod) {
		name := p.Name
		p.UID, p.ResourceVersion, p.GenerateName = "7f3c9a52-0f0e-4f5c-9f0a-1a2b3c4d5e6f", "123456789", "web-"
		p.Labels = map[string]string{
			"app": "nginx", "controller-revision-hash": "web-5d7c9f8b6",
			"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": fmt.Sprint(i),
		}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: p.UID, Controller: ptr.To(true)}}
		p.ManagedFields = []metav1.ManagedFieldsEntry{
			{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(managed("f:metadata"))},
			{Manager: "kubelet", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", Subresource: "status",
				FieldsV1: metav1.NewFieldsV1(managed("f:status"))},
		}
		c := &p.Spec.Containers[0]
		c.Name, c.Image, c.Command = "nginx", "registry.example.org/nginx:1.27", []string{"nginx", "-g", "daemon off;"}
		for e := range 8 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprint("VARIABLE_", e), Value: "some value of it"})
		}
		c.Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "kube-api-access", MountPath: "/var/run/secrets", ReadOnly: true}}
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz"}}, PeriodSeconds: 5}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-" + name}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nginx"}}}},
		}
		p.Spec.NodeName, p.Spec.ServiceAccountName, p.Spec.SchedulerName = "node-17", "default", "default-scheduler"
		p.Spec.Tolerations = []corev1.Toleration{
			{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr.To[int64](300)},
			{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr.To[int64](300)},
		}
		p.Status.PodIP, p.Status.HostIP = p.Status.PodIPs[0].IP, "192.0.2.17"
		p.Status.PodIPs = p.Status.PodIPs[:1]
		for _, kind := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "ContainersReady", "PodScheduled"} {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: "True", LastTransitionTime: metav1.Unix(1e9, 0)})
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "nginx", Ready: true, Image: c.Image, ImageID: "sha256:" + name,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Unix(1e9, 0)}}}}
	})
}

// encoded returns an object in protobuf, as an API server sends it.
func encoded(t testing.TB, o runtime.Object) []byte {
	t.Helper()
	info, _ := runtime.SerializerInfoForMediaType(kscheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	var b bytes.Buffer
	encoder := kscheme.Codecs.EncoderForVersion(info.Serializer, runtime.NewMultiGroupVersioner(corev1.SchemeGroupVersion))
	if _, ok := o.(*discoveryv1.EndpointSlice); ok {
		encoder = kscheme.Codecs.EncoderForVersion(info.Serializer, discoveryv1.SchemeGroupVersion)
	}
	if err := encoder.Encode(o, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// newFiller fills objects of Kubernetes at random, where it matters with what
// matters.
func newFiller(seed int64) *randfill.Filler {
	pick := func(c randfill.Continue, from ...string) string { return from[c.Intn(len(from))] }
	return randfill.NewWithSeed(seed).NilChance(.3).NumElements(0, 3).MaxDepth(20).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewQuantity(c.Int63n(1000), resource.DecimalSI)
		},
		func(t *metav1.Time, c randfill.Continue) { *t = metav1.Unix(c.Int63n(1e9), 0) },
		func(t *metav1.MicroTime, c randfill.Continue) { *t = metav1.NewMicroTime(time.Unix(c.Int63n(1e9), 0)) },
		func(m *metav1.ObjectMeta, c randfill.Continue) {
			c.FillNoCustom(m)
			m.Name = pick(c, m.Name, "web-0", "web-17", "WEB-1", "")
			for k := range m.Labels {
				if c.Bool() {
					m.Labels[k] = pick(c, m.Name, "0", "17", "")
				}
			}
			if c.Bool() {
				m.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: pick(c, "true", "false")}
			}
			if c.Bool() && m.Labels != nil {
				m.Labels[discoveryv1.LabelServiceName] = pick(c, "nginx", m.Name)
			}
		},
		func(s *corev1.PodSpec, c randfill.Continue) {
			c.FillNoCustom(s)
			s.Hostname = pick(c, s.Hostname, "web-0", "job-3", "")
		},
		func(p *corev1.PodPhase, c randfill.Continue) {
			*p = corev1.PodPhase(pick(c, "Running", "Pending", "Succeeded", "Failed", ""))
		},
		func(t *corev1.PodConditionType, c randfill.Continue) {
			*t = corev1.PodConditionType(pick(c, "Ready", "PodScheduled"))
		},
		func(s *corev1.ConditionStatus, c randfill.Continue) {
			*s = corev1.ConditionStatus(pick(c, "True", "False"))
		},
		func(s *corev1.PodStatus, c randfill.Continue) {
			c.FillNoCustom(s)
			s.PodIP = pick(c, "10.0.0.1", "fd00::1", "nonsense")
		},
		func(p *corev1.PodIP, c randfill.Continue) {
			p.IP = pick(c, "10.0.0.1", "fd00::1", "::ffff:10.0.0.9", "fe80::1%eth0", "10.0.0.2", "nonsense")
		},
		func(p *corev1.ContainerRestartPolicy, c randfill.Continue) {
			*p = corev1.ContainerRestartPolicy(pick(c, "Always", "OnFailure"))
		},
		func(p *corev1.Protocol, c randfill.Continue) {
			*p = corev1.Protocol(pick(c, "TCP", "UDP", "SCTP", "", "tcp", "Odd"))
		},
		func(s *corev1.ServiceSpec, c randfill.Continue) {
			c.FillNoCustom(s)
			s.ClusterIP = pick(c, "None", "10.96.0.1", "")
			s.Type = corev1.ServiceType(pick(c, "ClusterIP", "ExternalName", ""))
		},
		func(f *corev1.IPFamily, c randfill.Continue) { *f = corev1.IPFamily(pick(c, "IPv4", "IPv6")) },
		func(e *discoveryv1.Endpoint, c randfill.Continue) {
			c.FillNoCustom(e)
			for i := range e.Addresses {
				e.Addresses[i] = pick(c, "10.0.0.1", "fd00::1", "::ffff:10.0.0.9", "fe80::1%eth0", "db.example.org")
			}
		},
	)
}

// writeFile replaces a file as an editor does, so that it is never seen half
// written, and never with the stamp that it had.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	stamps++
	modified := time.Unix(1_000_000_000+stamps, 0)
	if err := os.Chtimes(temporary, modified, modified); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

var stamps int64

// Object is an object of Kubernetes that has a form in protobuf.
type RandomObject interface {
	metav1.Object
	runtime.Object
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// NewRandom returns an empty object of the kind that has a number in the package object,
// which can't be imported here.
func NewRandom(kind int) RandomObject {
	return []RandomObject{new(corev1.Service), new(corev1.Pod), new(discoveryv1.EndpointSlice), new(corev1.Namespace)}[kind]
}

// Random returns a random object of a kind, and its protobuf.
func Random(t testing.TB, kind int, seed int64) (RandomObject, []byte) {
	t.Helper()
	o := NewRandom(kind)
	newFiller(seed).Fill(o)
	b, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return o, b
}
