package soak_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestJudge checks which answers the soak test judges as wrong.
func TestJudge(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	pod := func(uid, name, addr string, ready bool) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), Labels: map[string]string{"app": "web"}}}
		p.Spec.Hostname, p.Spec.Subdomain = name, "web"
		p.Status.PodIP = addr
		if ready {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return p
	}
	between := func(after, by float64) moment { return moment{at(after), at(by)} }
	h := newHistory()
	h.setService("web", true, between(0, 0))
	h.setPod(pod("a", "web-0", "10.0.0.1", true), false, between(0, 0))
	h.setPod(pod("b", "web-1", "10.0.0.2", true), false, between(0, 0))
	h.setPod(pod("b", "web-1", "10.0.0.2", true), true, between(97, 100))
	h.setPod(pod("c", "web-1", "10.0.0.3", false), false, between(100, 101))
	h.setPod(pod("c", "web-1", "10.0.0.3", true), false, between(117, 120))
	h.setOutage(true, at(200))
	h.setOutage(false, at(210))
	h.setPod(pod("a", "web-0", "10.0.0.1", true), true, between(199, 212))
	h.setService("web", false, between(399, 400))
	h.setWritten("pods", at(600))
	h.setWritten("services", at(450))
	h.setOutage(true, at(500))

	for _, test := range []struct {
		name  string
		at    float64
		reply string
		age   time.Duration
		wrong string // prefix of the error; "-" for none, "?" while the window is incomplete
	}{
		{"web-0", 50, "10.0.0.1", 0, "-"},
		{"web-0", 50, "10.0.0.2", 0, "10.0.0.2 is not"},
		{"web-0", 50, "10.0.0.1 10.0.0.2", 0, "10.0.0.2 is not"},
		{"web-0", 50, "NXDOMAIN", 0, "10.0.0.1 is missing"},
		{"web-0", 50, "REFUSED", 0, "REFUSED"},
		{"web-0", 50, "NOERROR", 0, "NOERROR with 0"},
		{"web-0", 50, "SERVFAIL", 0, "SERVFAIL"},
		{"web-7", 50, "NXDOMAIN", 0, "-"},
		{"", 50, "10.0.0.1 10.0.0.2", 0, "-"},
		{"", 50, "10.0.0.1", 0, "10.0.0.2 is missing"},
		{"", 50, "10.0.0.1 TC", 0, "-"},
		{"", 50, "10.0.0.9 TC", 0, "10.0.0.9 is not"},

		// A pod is replaced by one with another address. The server may see that
		// before this test.
		{"web-1", 96.5, "NXDOMAIN", 0, "10.0.0.2 is missing"},
		{"web-1", 97.5, "NXDOMAIN", 0, "-"},
		{"web-1", 104.5, "10.0.0.2", 4500 * time.Millisecond, "-"},
		{"web-1", 105.5, "10.0.0.2", 0, "10.0.0.2 is not"},
		{"web-1", 116.5, "10.0.0.3", 0, "10.0.0.3 is not"},
		{"web-1", 117.5, "10.0.0.3", 0, "-"},
		{"web-1", 124, "NXDOMAIN", 4 * time.Second, "-"},
		{"web-1", 125.5, "NXDOMAIN", 0, "10.0.0.3 is missing"},

		// During an outage known names keep resolving.
		{"web-1", 205, "10.0.0.3", 0, "-"},
		{"web-1", 205, "NXDOMAIN", 0, "10.0.0.3 is missing"},
		{"web-1", 205, "10.0.0.2", 0, "10.0.0.2 is not"},
		{"web-0", 220, "10.0.0.1", 0, "-"},
		{"web-0", 220, "NXDOMAIN", 0, "-"},
		{"web-0", 261, "10.0.0.1", 0, "10.0.0.1 is not"},

		// The service is deleted.
		{"web-1", 401, "10.0.0.3", time.Second, "-"},
		{"web-1", 406, "10.0.0.3", 0, "10.0.0.3 is not"},
		{"web-1", 406, "NXDOMAIN", 0, "-"},
		{"web-1", 449, "NXDOMAIN", 0, "-"},
		{"web-1", 451, "NXDOMAIN", 0, "?"},
		{"web-1", 505, "NXDOMAIN", 0, "?"},
	} {
		a := answer{question: question{"web", test.name}, asked: at(test.at), answered: at(test.at)}
		for _, word := range strings.Fields(test.reply) {
			switch {
			case strings.HasPrefix(word, "10."):
				a.rcode, a.addrs = "NOERROR", append(a.addrs, word)
			case word == "TC":
				a.truncated = true
			default:
				a.rcode = word
			}
		}
		got := "?"
		var age time.Duration
		if w, calm, complete := h.window(&a); complete {
			var err error
			got = "-"
			if age, err = h.judge(&a, w, calm); err != nil {
				got = err.Error()
			}
		}
		if !strings.HasPrefix(got, test.wrong) || age != test.age {
			t.Errorf("%s for %q at %v: got %s, age %v; want %s, age %v", test.reply, test.name, test.at, got, age, test.wrong, test.age)
		}
	}

	h.setOutage(false, at(510))
	h.forget(at(1000))
	if len(h.outages) != 0 || len(h.services) != 1 || len(h.services["web"].hosts) != 1 {
		t.Errorf("history after forget: %+v, want no outages and one host", h)
	}
	if recent, known := h.questions(); len(recent) == 0 || len(known) != 2 {
		t.Errorf("got questions %v and %v, want some and 2", recent, known)
	}
}
