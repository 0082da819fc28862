//go:build cluster

package main_test

import (
	"context"
	"os"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestPermissions checks the rights of headless's account: to watch its objects, and
// those that every account has.
func TestPermissions(t *testing.T) {
	path, err := kube.Kubeconfig("headless")
	if err != nil {
		t.Fatal(err)
	}
	account, err := cluster.NewClient(path)
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}
	review, err = account.AuthorizationV1().SelfSubjectRulesReviews().Create(context.Background(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, rule := range review.Status.ResourceRules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					seen[verb+" "+strings.Trim(group+"/"+resource, "/")] = true
				}
			}
		}
	}
	for _, resource := range []string{"pods", "services", "discovery.k8s.io/endpointslices"} {
		for _, verb := range []string{"get", "list", "watch"} {
			if !seen[verb+" "+resource] {
				t.Errorf("the account lacks the right to %s %s", verb, resource)
			}
			delete(seen, verb+" "+resource)
		}
	}
	for right := range seen {
		// Every account may ask for its own rights.
		if !strings.HasPrefix(right, "create auth") || !strings.Contains(right, "/selfsubject") {
			t.Errorf("the account has the right to %s", right)
		}
	}

	if _, err := account.CoreV1().Secrets("default").List(context.Background(), list); err == nil {
		t.Error("the account can list secrets")
	}
}

// TestNoForbidden looks for refused requests in the logs. It must run before a test
// restarts the API server, which at first refuses everything until it has read the roles.
func TestNoForbidden(t *testing.T) {
	for _, s := range []*server{srv, alone} {
		if log := s.log(1 << 20); strings.Contains(log, "forbidden") {
			t.Errorf("%s: the API server refused a request:\n%s", s.name, log)
		}
	}
}

// createAccount creates an account with the role of a server until the test ends.
func createAccount(t *testing.T, name, role string) {
	t.Helper()
	kubectl(t, "-n", "kube-system", "create", "serviceaccount", name)
	kubectl(t, "create", "clusterrolebinding", name, "--clusterrole="+role, "--serviceaccount=kube-system:"+name)
	t.Cleanup(func() {
		kubectl(t, "delete", "clusterrolebinding", name)
		kubectl(t, "-n", "kube-system", "delete", "serviceaccount", name)
	})
}

// grant gives an account the role that docs/options.md names for an option until the test ends, with
// the commands there.
func grant(t *testing.T, account, role string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Rights\n")
	commands := 0
	for line := range strings.Lines(section) {
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "kubectl" || words[3] != role {
			continue
		}
		commands++
		for i, word := range words {
			if word == "--serviceaccount=kube-system:headless" {
				words[i] = "--serviceaccount=kube-system:" + account
			}
		}
		kubectl(t, words[1:]...)
	}
	if commands != 2 {
		t.Fatalf("docs/options.md has %d commands about %s, want one for the role and one for its binding", commands, role)
	}
	t.Cleanup(func() { kubectl(t, "delete", "clusterrolebinding,clusterrole", role) })
}
