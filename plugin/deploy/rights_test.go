//go:build cluster

package deploy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// rights removes one right at a time from the roles of a server. The server must then log
// that it lacks that right. An API server that streams lists requires no right to list,
// so the client's streaming is off.
func rights(t *testing.T, corefile string, roles ...string) {
	for _, role := range roles {
		rules := get(t, "clusterrole", role)["rules"].([]any)
		for i := range rules {
			for _, resource := range at(t, rules, i, "resources").([]any) {
				for _, verb := range at(t, rules, i, "verbs").([]any) {
					t.Run(fmt.Sprintf("%v-%v", verb, resource), func(t *testing.T) {
						account := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
						kubectl(t, "-n", "kube-system", "create", "serviceaccount", account)
						for _, r := range roles {
							bind(t, account, r, resource.(string), verb.(string))
						}
						s := start(t, corefile, account, "KUBE_FEATURE_WatchListClient=false")
						eventually(t, func() error {
							refused := fmt.Sprintf("cannot %v resource \"%v\"", verb, resource)
							if log := kube.Log(s.name); !strings.Contains(log, refused) {
								return fmt.Errorf("%q is not in the log:\n%s", refused, log)
							}
							return nil
						})
					})
				}
			}
		}
	}
}

// bind binds the account to a copy of the role without one right.
func bind(t *testing.T, account, role, resource, verb string) {
	t.Helper()
	name := account + "-" + role
	var rules []any
	for _, rule := range get(t, "clusterrole", role)["rules"].([]any) {
		for _, r := range at(t, rule, "resources").([]any) {
			verbs := []any{}
			for _, v := range at(t, rule, "verbs").([]any) {
				if r != resource || v != verb {
					verbs = append(verbs, v)
				}
			}
			rules = append(rules, map[string]any{"apiGroups": at(t, rule, "apiGroups"), "resources": []any{r}, "verbs": verbs})
		}
	}
	copied, err := json.Marshal(map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
		"metadata": map[string]any{"name": name}, "rules": rules})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commandIn("", string(copied), "kubectl", "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "create", "clusterrolebinding", name, "--clusterrole="+name, "--serviceaccount=kube-system:"+account)
}
