package deploy_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// values are the values of the chart of CoreDNS that its templates copy into
// objects, and those from which they make the Corefile.
type values struct {
	ReplicaCount   int32
	RollingUpdate  appsv1.RollingUpdateDeployment
	Servers        []serverValues
	ServiceAccount struct{ Create bool }
	RBAC           struct{ Create bool }

	TerminationGracePeriodSeconds int64
	LivenessProbe, ReadinessProbe struct{ PeriodSeconds, TimeoutSeconds, FailureThreshold int32 }

	ExtraVolumes      []corev1.Volume
	ExtraVolumeMounts []corev1.VolumeMount
	Env               []corev1.EnvVar
	Resources         map[string]map[string]any // null removes the value of the chart
	PriorityClassName string
	SecurityContext   *corev1.SecurityContext // of the container
	NodeSelector      map[string]string
	Tolerations       []corev1.Toleration
	Affinity          *corev1.Affinity
}

type serverValues struct {
	Zones []struct {
		Zone, Scheme string
		UseTCP       bool `json:"use_tcp"`
	}
	Port    int
	Plugins []struct {
		Name        string
		Parameters  any
		ConfigBlock string
	}
}

// corefile returns the Corefile that the chart makes. Each server has a block, whose
// keys are its zones with scheme and port. Each plugin has a line in it, and a block
// with the text of configBlock.
func (v *values) corefile() string {
	var b strings.Builder
	for _, server := range v.Servers {
		for i, zone := range server.Zones {
			if i > 0 {
				b.WriteString(" ")
			}
			b.WriteString(zone.Scheme + zone.Zone)
		}
		fmt.Fprintf(&b, ":%d {\n", server.Port)
		for _, plugin := range server.Plugins {
			b.WriteString(plugin.Name)
			if plugin.Parameters != nil {
				fmt.Fprintf(&b, " %v", plugin.Parameters)
			}
			if plugin.ConfigBlock != "" {
				b.WriteString(" {\n" + plugin.ConfigBlock + "\n}")
			}
			b.WriteString("\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// tokens returns the tokens of a Corefile as CoreDNS reads it, by line. It sorts the
// plugins of a server block, as their order has no effect.
func tokens(t *testing.T, text string) []string {
	t.Helper()
	blocks, err := caddyfile.Parse("Corefile", strings.NewReader(text), nil)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	var out []string
	for _, block := range blocks {
		out = append(out, strings.Join(block.Keys, " "))
		for _, directive := range slices.Sorted(maps.Keys(block.Tokens)) {
			line := 0
			for _, token := range block.Tokens[directive] {
				if token.Line != line {
					out = append(out, fmt.Sprintf("%q", token.Text))
				} else {
					out[len(out)-1] += fmt.Sprintf(" %q", token.Text)
				}
				line = token.Line
			}
		}
	}
	return out
}

// decode reads a file of one document.
func decode(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096).Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestHelmCorefile requires that the chart makes the Corefile of the folders.
func TestHelmCorefile(t *testing.T) {
	var v values
	decode(t, "helm/values.yaml", &v)
	ours, err := os.ReadFile("corefile/Corefile")
	if err != nil {
		t.Fatal(err)
	}
	// A zone without a scheme has the scheme dns.
	got, want := tokens(t, strings.ReplaceAll(v.corefile(), "dns://", "")), tokens(t, string(ours))
	if !slices.Equal(got, want) {
		t.Errorf("Corefile of the chart: got\n%s\nwant that of the folders\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, server := range v.Servers {
		for _, zone := range server.Zones {
			if zone.Scheme != "dns://" || !zone.UseTCP {
				t.Errorf("the Service has no port for TCP of zone %q", zone.Zone)
			}
		}
	}
}

// TestHelmDeployment requires that the chart makes the servers of the base.
func TestHelmDeployment(t *testing.T) {
	var v values
	decode(t, "helm/values.yaml", &v)
	var base appsv1.Deployment
	decode(t, "base/deployment.yaml", &base)
	pod := &base.Spec.Template.Spec
	container := &pod.Containers[0]

	security := container.SecurityContext.DeepCopy()
	of := pod.SecurityContext
	security.RunAsNonRoot, security.RunAsUser, security.RunAsGroup, security.SeccompProfile = of.RunAsNonRoot, of.RunAsUser, of.RunAsGroup, of.SeccompProfile
	affinity := pod.Affinity.DeepCopy()
	term := &affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm
	term.LabelSelector.MatchLabels = map[string]string{"app.kubernetes.io/name": "coredns"} // the chart's
	resources := map[string]map[string]any{
		"requests": {"cpu": container.Resources.Requests.Cpu().String(), "memory": container.Resources.Requests.Memory().String()},
		"limits":   {"cpu": nil, "memory": container.Resources.Limits.Memory().String()},
	}
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"replicaCount", v.ReplicaCount, *base.Spec.Replicas},
		{"rollingUpdate", v.RollingUpdate, *base.Spec.Strategy.RollingUpdate},
		{"env", v.Env, container.Env},
		{"resources", v.Resources, resources},
		{"priorityClassName", v.PriorityClassName, pod.PriorityClassName},
		{"securityContext", v.SecurityContext, security},
		{"nodeSelector", v.NodeSelector, pod.NodeSelector},
		{"tolerations", v.Tolerations, pod.Tolerations},
		{"affinity", v.Affinity, affinity},
		{"extraVolumes", v.ExtraVolumes, pod.Volumes[1:]}, // the first is the Corefile's
		{"extraVolumeMounts", v.ExtraVolumeMounts, container.VolumeMounts[1:]},
		{"readinessProbe.periodSeconds", v.ReadinessProbe.PeriodSeconds, container.ReadinessProbe.PeriodSeconds},
		{"readinessProbe.failureThreshold", v.ReadinessProbe.FailureThreshold, int32(3)}, // the default of Kubernetes, as the base has it
		{"readinessProbe.timeoutSeconds", v.ReadinessProbe.TimeoutSeconds, int32(1)},
		{"livenessProbe.timeoutSeconds", v.LivenessProbe.TimeoutSeconds, container.LivenessProbe.TimeoutSeconds},
		{"livenessProbe.failureThreshold", v.LivenessProbe.FailureThreshold, container.LivenessProbe.FailureThreshold},
		{"terminationGracePeriodSeconds", v.TerminationGracePeriodSeconds, int64(30)},
		{"serviceAccount.create", v.ServiceAccount.Create, true},
		{"rbac.create", v.RBAC.Create, true},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("%s: got %+v, want %+v as in the base", test.name, test.got, test.want)
		}
	}
	text := v.corefile()
	_, file, _ := strings.Cut(text, "snapshot ")
	if folder := path.Dir(strings.Fields(file)[0]); folder != v.ExtraVolumeMounts[0].MountPath {
		t.Errorf("the snapshot is in %s, and the volume at %s", folder, v.ExtraVolumeMounts[0].MountPath)
	}
}
