//go:build cluster

package deploy_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// wantRefused requires that kubectl can't apply a folder without an image, and leaves the
// workload unchanged.
func wantRefused(t *testing.T, folder, kind, name string) {
	t.Helper()
	before := get(t, kind, name)["spec"]
	if _, err := command("kubectl", "apply", "--server-side", "--force-conflicts", "-k", folder); err == nil {
		t.Errorf("%s was applied without an image, want an error", folder)
	}
	if after := get(t, kind, name)["spec"]; !reflect.DeepEqual(after, before) {
		t.Errorf("%s without an image changed %s:\ngot  %v\nwant %v", folder, name, after, before)
	}
}

// wantPorts requires the container ports that the Services and the probes name.
func wantPorts(t *testing.T, kind, name string) {
	t.Helper()
	got := map[string]string{}
	container := at(t, get(t, kind, name), "spec", "template", "spec", "containers", 0)
	for _, port := range at(t, container, "ports").([]any) {
		got[at(t, port, "name").(string)] = fmt.Sprintf("%v/%v", at(t, port, "containerPort"), at(t, port, "protocol"))
	}
	want := map[string]string{"dns": "53/UDP", "dns-tcp": "53/TCP", "metrics": "9153/TCP",
		"liveness-probe": "8080/TCP", "readiness-probe": "8181/TCP"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("ports of %s: got %v, want %v", name, got, want)
	}
	for _, probe := range []string{"liveness", "readiness"} {
		if got := at(t, container, probe+"Probe", "httpGet", "port"); got != probe+"-probe" {
			t.Errorf("port of the %s probe of %s: got %v, want %s-probe", probe, name, got, probe)
		}
	}
}

// wantDrain checks the time from a server's SIGTERM to its end. The server answers until
// its readiness probe has failed, which makes kube-proxy drop the UDP flows to it. It
// answers for the same time again, until kube-proxy has received that. Then it still has
// ten seconds to end.
func wantDrain(t *testing.T, kind, name string) {
	t.Helper()
	text := corefile(t, kind, name)
	_, after, _ := strings.Cut(text, "lameduck ")
	lameduck, err := time.ParseDuration(strings.SplitN(after, "\n", 2)[0])
	if err != nil {
		t.Fatalf("parse the lameduck of %s: %v:\n%s", name, err, text)
	}
	pod := at(t, get(t, kind, name), "spec", "template", "spec")
	number := func(object any, key string) time.Duration { return time.Duration(at(t, object, key).(float64)) }
	probe := at(t, pod, "containers", 0, "readinessProbe")
	unready := number(probe, "periodSeconds") * number(probe, "failureThreshold") * time.Second
	if lameduck < 2*unready {
		t.Errorf("lameduck of %s: %v, want at least twice the %v until it is unready", name, lameduck, unready)
	}
	if killed := number(pod, "terminationGracePeriodSeconds") * time.Second; lameduck+10*time.Second > killed {
		t.Errorf("lameduck of %s: %v, want ten seconds less than the %v until it is killed", name, lameduck, killed)
	}
}

// wantPlatforms requires that a server runs only on nodes whose platform the image has: the
// platforms that the Makefile builds for.
func wantPlatforms(t *testing.T, kind, name string) {
	t.Helper()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(makefile), "\nplatforms = ")
	var values []any
	for _, platform := range strings.Fields(strings.SplitN(after, "\n", 2)[0]) {
		values = append(values, platform)
	}
	want := map[string]any{"nodeSelectorTerms": []any{map[string]any{"matchExpressions": []any{
		map[string]any{"key": "kubernetes.io/arch", "operator": "In", "values": values},
	}}}}
	affinity := at(t, get(t, kind, name), "spec", "template", "spec", "affinity", "nodeAffinity")
	if got := at(t, affinity, "requiredDuringSchedulingIgnoredDuringExecution"); !reflect.DeepEqual(got, want) {
		t.Errorf("%s runs on nodes with %v, want %v", name, got, want)
	}
}
