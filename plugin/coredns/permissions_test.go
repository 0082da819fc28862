//go:build cluster

package main_test

import (
	"context"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPermissions has the API server tell what the account of headless may do:
// read what it watches, and what everybody may.
func TestPermissions(t *testing.T) {
	path, err := kubeconfigOf("headless")
	if err != nil {
		t.Fatal(err)
	}
	account, err := client(path)
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
				t.Errorf("must be able to %s %s", verb, resource)
			}
			delete(seen, verb+" "+resource)
		}
	}
	for right := range seen {
		// Every account may ask about itself.
		if !strings.HasPrefix(right, "create auth") || !strings.Contains(right, "/selfsubject") {
			t.Errorf("must not be able to %s", right)
		}
	}

	if _, err := account.CoreV1().Secrets("default").List(context.Background(), list); err == nil {
		t.Error("must not be able to list secrets")
	}
}

// TestNoForbidden looks for a request that the account was refused. It has to
// come before the API server is restarted, which refuses everything until it
// knows its roles again.
func TestNoForbidden(t *testing.T) {
	for _, s := range []*server{srv, alone} {
		if log := s.log(1 << 20); strings.Contains(log, "forbidden") {
			t.Errorf("%s: a request was refused:\n%s", s.name, log)
		}
	}
}
