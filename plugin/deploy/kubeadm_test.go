//go:build cluster

package deploy_test

import (
	"reflect"
	"strings"
	"testing"
)

// TestKubeadm installs headless in a cluster of kubeadm, and removes it.
func TestKubeadm(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	ip := nginx(t)
	objects := [][2]string{{"configmap", "coredns"}, {"service", "kube-dns"}, {"clusterrole", "system:coredns"},
		{"clusterrolebinding", "system:coredns"}, {"serviceaccount", "coredns"}}
	before := map[[2]string]any{}
	for _, o := range objects {
		before[o] = get(t, o[0], o[1])
	}
	deployment := get(t, "deployment", "coredns")["spec"]

	r := newRunbook(t)
	r.validate(t, "kubeadm")
	wantRefused(t, "kubeadm", "deployment", "coredns")
	const section = "kubeadm"
	r.run(t, section, 0)

	wantDrain(t, "deployment", "coredns")
	wantPlatforms(t, "deployment", "coredns")
	spec := get(t, "deployment", "coredns")["spec"]
	config := at(t, spec, "template", "spec", "volumes", 0, "configMap").(map[string]any)
	if name := config["name"].(string); !strings.HasPrefix(name, "headless-") {
		t.Errorf("ConfigMap of the server: got %s, want headless-HASH", name)
	}
	config["name"] = "coredns"
	container := at(t, spec, "template", "spec", "containers", 0).(map[string]any)
	if container["image"] != image {
		t.Errorf("image: got %v, want %s", container["image"], image)
	}
	container["image"] = "coredns:v1.14.2"
	readiness := at(t, container, "readinessProbe").(map[string]any)
	if readiness["periodSeconds"] != 2.0 {
		t.Errorf("period of the readiness probe: got %v s, want 2", readiness["periodSeconds"])
	}
	readiness["periodSeconds"] = 10.0 // the default
	removeElement(t, container, "volumeMounts", "mountPath", "/var/lib/headless")
	removeElement(t, at(t, spec, "template", "spec").(map[string]any), "volumes", "name", "snapshot")
	delete(at(t, spec, "template", "spec", "affinity").(map[string]any), "nodeAffinity") // as wantPlatforms requires
	if !reflect.DeepEqual(spec, deployment) {
		t.Errorf("only the image, the ConfigMap, the probe, the platforms and the volume of the snapshot may change:\ngot  %v\nwant %v", spec, deployment)
	}
	for _, o := range objects {
		if after := get(t, o[0], o[1]); !reflect.DeepEqual(after, before[o]) {
			t.Errorf("%v changed:\ngot  %v\nwant %v", o, after, before[o])
		}
	}

	ours := corefile(t, "deployment", "coredns")
	t.Run("Corefile", func(t *testing.T) {
		theirs := at(t, before[objects[0]], "data", "Corefile").(string)
		var rest []string
		stanza := false
		for _, line := range strings.Split(ours, "\n") {
			switch trimmed := strings.TrimSpace(line); {
			case strings.HasPrefix(trimmed, "headless "):
				stanza = true
			case !stanza:
				rest = append(rest, line)
			case trimmed == "}":
				stanza = false
			}
		}
		text := strings.NewReplacer("lameduck 15s", "lameduck 5s", "bufsize 1232", "").Replace(strings.Join(rest, "\n"))
		if !reflect.DeepEqual(strings.Fields(text), strings.Fields(theirs)) {
			t.Errorf("the Corefile without headless and bufsize, and with kubeadm's lameduck:\ngot  %s\nwant %s", text, theirs)
		}
		example := strings.Replace(ours, "        snapshot /var/lib/headless/snapshot\n", "", 1)
		if got := block(t, guide, section, "corefile", 0); got != example {
			t.Errorf("the Corefile in the guide:\ngot  %s\nwant the folder's without its snapshot: %s", got, example)
		}
		s := start(t, ours, "coredns")
		s.await(t)
		s.wantBufsize(t, "web-0.nginx.default.svc.cluster.local")
		eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.cluster.local", ip) })
		eventually(t, func() error { return s.hasA("kube-dns.kube-system.svc.cluster.local", "10.96.0.10") })
	})

	r.run(t, section, 1)
	if undone := get(t, "deployment", "coredns")["spec"]; !reflect.DeepEqual(undone, deployment) {
		t.Errorf("Deployment after the rollback:\ngot  %v\nwant %v", undone, deployment)
	}

	wantConfigMaps(t, 1)
	r.run(t, section, 2)
	wantRemoved(t)

	// An upgrade by kubeadm replaces its objects.
	r.run(t, section, 0)
	wantConfigMaps(t, 1)
	kubectl(t, "replace", "-f", "testdata/kubeadm.yaml")
	if upgraded := get(t, "deployment", "coredns")["spec"]; !reflect.DeepEqual(upgraded, deployment) {
		t.Errorf("Deployment after an upgrade by kubeadm:\ngot  %v\nwant %v", upgraded, deployment)
	}
	r.run(t, section, 2)
	wantRemoved(t)
}
