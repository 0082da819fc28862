package main

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/internal/apiserver"
)

const namespace = "bench"

// endpointsPerSlice is the EndpointSlice controller's limit of endpoints in a slice.
const endpointsPerSlice = 100

// service is a headless service of a StatefulSet.
type service struct {
	name  string
	size  int
	first int // the number of its first pod in the cluster
	// bare means that there are only pods, which no service selects.
	bare bool
}

// newServices returns services of the given sizes. They are named web-SIZE; later ones of
// the same size are named web-SIZE-NUMBER.
func newServices(size ...int) []service {
	var out []service
	seen, pods := make(map[int]int), 0
	for _, n := range size {
		s := service{name: fmt.Sprint("web-", n), size: n, first: pods}
		if seen[n]++; seen[n] > 1 {
			s.name += fmt.Sprint("-", seen[n])
		}
		out = append(out, s)
		pods += n
	}
	return out
}

func (s *service) fqdn() string          { return s.name + "." + namespace + ".svc.cluster.local." }
func (s *service) podName(i int) string  { return fmt.Sprintf("%s-%d", s.name, i) }
func (s *service) podFQDN(i int) string  { return s.podName(i) + "." + s.fqdn() }
func (s *service) portFQDN() string      { return "_web._tcp." + s.fqdn() }
func (s *service) slices() int           { return (s.size + endpointsPerSlice - 1) / endpointsPerSlice }
func (s *service) addr(i int) netip.Addr { return addrOf(s.first + i) }

func addrOf(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (s *service) object() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.name, UID: uid("service", s.first), Labels: map[string]string{"app": s.name}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: corev1.ClusterIPNone, ClusterIPs: []string{corev1.ClusterIPNone},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Selector: map[string]string{"app": s.name},
			Ports: []corev1.ServicePort{{Name: "web", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("web")}},
		},
	}
}

func uid(kind string, n int) types.UID {
	return types.UID(fmt.Sprintf("6f1c0d3e-%.4s-4c5b-9b1e-%012x", kind, n))
}

var created = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// podTemplate has the common fields of the pods. Its size is that of a real pod of a
// StatefulSet, some 3 KB: DNS needs a small part of what a watch delivers.
var podTemplate = corev1.Pod{
	ObjectMeta: metav1.ObjectMeta{
		Namespace:         namespace,
		GenerateName:      "web-",
		CreationTimestamp: created,
		Annotations: map[string]string{
			"checksum/config":       "8c5f2bb4f9a87f33f2ab8f1c6a8f6ad5d2c2b5a3b9f8f1a7f1a0b4c86d1f2e3a",
			"prometheus.io/scrape":  "true",
			"prometheus.io/port":    "9102",
			"kubernetes.io/psp":     "restricted",
			"cni/podnetwork-status": `[{"name":"default","interface":"eth0","ips":["10.0.0.1"],"mac":"0a:58:0a:00:00:01","default":true}]`,
		},
		ManagedFields: []metav1.ManagedFieldsEntry{
			managed("kube-controller-manager", "", `{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{}},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:apps.kubernetes.io/pod-index":{},"f:controller-revision-hash":{},"f:statefulset.kubernetes.io/pod-name":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"6f1c0d3e-stat-4c5b-9b1e-000000000000\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"POD_NAME\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:fieldRef":{}}}},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{}}},"f:resources":{".":{},"f:limits":{},"f:requests":{}},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/data\"}":{".":{},"f:mountPath":{},"f:name":{}}}}},"f:hostname":{},"f:subdomain":{},"f:volumes":{".":{},"k:{\"name\":\"data\"}":{".":{},"f:name":{}}}}}`),
			managed("kubelet", "status", `{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:podIPs":{},"f:startTime":{}}}`),
		},
	},
	Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, SchedulerName: "default-scheduler",
		ServiceAccountName: "default", DeprecatedServiceAccount: "default", EnableServiceLinks: ptr.To(true),
		TerminationGracePeriodSeconds: ptr.To(int64(30)), Priority: ptr.To(int32(0)),
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "web-config"}, DefaultMode: ptr.To(int32(0o644))}}},
		},
		Containers: []corev1.Container{container("web", true), container("exporter", false)},
		Tolerations: []corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To(int64(300))},
			{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To(int64(300))},
		},
	},
	Status: corev1.PodStatus{
		Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBurstable, StartTime: &created,
		ContainerStatuses: []corev1.ContainerStatus{containerStatus("web"), containerStatus("exporter")},
	},
}

func managed(manager, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Subresource: subresource, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1",
		Time: &created, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func container(name string, serves bool) corev1.Container {
	c := corev1.Container{
		Name: name, Image: "registry.example.org/platform/" + name + ":v1.27.3", ImagePullPolicy: corev1.PullIfNotPresent,
		Env: []corev1.EnvVar{
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
			{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIP"}}},
			{Name: "CLUSTER_DOMAIN", Value: "cluster.local"},
		},
		Resources: corev1.ResourceRequirements{
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
		VolumeMounts:             []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "config", MountPath: "/etc/web", ReadOnly: true}},
		TerminationMessagePath:   "/dev/termination-log",
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}
	if serves {
		c.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}}
		c.ReadinessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("web"), Scheme: corev1.URISchemeHTTP}},
			PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
		}
	}
	return c
}

func containerStatus(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: name, Ready: true, Started: ptr.To(true), Image: "registry.example.org/platform/" + name + ":v1.27.3",
		ImageID:     "registry.example.org/platform/" + name + "@sha256:0d17b565c37bcbd895e9d92315a05c1c3c9a29f762b011a10c54a66cd53c9b31",
		ContainerID: "containerd://9f3f2b7a1c5d4e6f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7",
		State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: created}},
	}
}

// pod returns the i-th pod of the service. Pods share fields with podTemplate: don't
// write them.
func (s *service) pod(i int, ready bool) *corev1.Pod {
	p := podTemplate
	n := s.first + i
	name, addr := s.podName(i), s.addr(i).String()
	p.Name, p.UID = name, uid("pod", n)
	p.Labels = map[string]string{
		"app":                                s.name,
		"controller-revision-hash":           s.name + "-5d7c9f8b6",
		"apps.kubernetes.io/pod-index":       fmt.Sprint(i),
		"statefulset.kubernetes.io/pod-name": name,
	}
	p.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "StatefulSet", Name: s.name, UID: uid("stat", s.first), Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}}
	p.Spec.NodeName = nodeOf(n)
	if !s.bare {
		p.Spec.Hostname, p.Spec.Subdomain = name, s.name
	}
	p.Status.HostIP = "192.168.0.1"
	p.Status.PodIP, p.Status.PodIPs = addr, []corev1.PodIP{{IP: addr}}
	state := corev1.ConditionFalse
	if ready {
		state = corev1.ConditionTrue
	}
	for _, c := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodScheduled, corev1.ContainersReady, corev1.PodReady} {
		condition := corev1.PodCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: created}
		if c == corev1.ContainersReady || c == corev1.PodReady {
			condition.Status = state
		}
		p.Status.Conditions = append(p.Status.Conditions, condition)
	}
	return &p
}

func nodeOf(pod int) string { return fmt.Sprint("node-", pod%1000) }

// slice returns the k-th slice that the EndpointSlice controller would write for the service.
func (s *service) slice(k int, ready func(i int) bool) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("%s-%05d", s.name, k), GenerateName: s.name + "-", UID: uid("slice", s.first+k),
			CreationTimestamp: created,
			Labels: map[string]string{
				"app": s.name, discoveryv1.LabelServiceName: s.name, corev1.IsHeadlessService: "",
				discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: s.name, UID: uid("service", s.first), Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
			}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("web"), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(int32(8080))}},
	}
	for i := k * endpointsPerSlice; i < min((k+1)*endpointsPerSlice, s.size); i++ {
		n := s.first + i
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{s.addr(i).String()},
			Conditions: conditions(ready(i)),
			Hostname:   ptr.To(s.podName(i)),
			NodeName:   ptr.To(nodeOf(n)),
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: s.podName(i), UID: uid("pod", n)},
		})
	}
	return o
}

func conditions(ready bool) discoveryv1.EndpointConditions {
	return discoveryv1.EndpointConditions{Ready: ptr.To(ready), Serving: ptr.To(ready), Terminating: ptr.To(false)}
}

func allReady(int) bool { return true }

// populate creates services, their ready pods and their slices in an API server.
func populate(api *apiserver.Server, services []service) {
	api.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, UID: uid("namespace", 0)}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}})
	for _, s := range services {
		var objects []apiserver.Object
		for i := range s.size {
			objects = append(objects, s.pod(i, true))
		}
		if s.bare {
			api.Put(objects...)
			continue
		}
		objects = append(objects, s.object())
		for k := range s.slices() {
			objects = append(objects, s.slice(k, allReady))
		}
		api.Put(objects...)
	}
}
