package records

import (
	"net/netip"
	"testing"
)

// TestWithheld checks the counts and the reasons of withheld endpoints.
func TestWithheld(t *testing.T) {
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	update.Add(key, Endpoint{Host: "web-0", Hostname: true, Addr: netip.MustParseAddr("10.244.0.1"), Withheld: NotReady})
	update.Add(key, Endpoint{Host: "web-1", Hostname: true, Withheld: NoAddress})
	update.Commit()
	if got, want := trie.Stats().Endpoints, (Counts{NotReady: 1, NoAddress: 1}); got != want {
		t.Errorf("the numbers of endpoints are %v, want %v", got, want)
	}
	for host, want := range map[string]Reason{"web-0": NotReady, "web-1": NoAddress, "web-2": Ready} {
		if got := trie.Withheld(key, host); got != want {
			t.Errorf("the reason of %s is %q, want %q", host, got, want)
		}
	}
}
