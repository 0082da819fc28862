//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A history records the addresses of the pods of nginx over time, as a watch reports
// them.
type history struct {
	mu    sync.Mutex
	lives []life // oldest first
}

// A life is one of the successive pods with a name.
type life struct {
	uid, name, addr string
	created, gone   time.Time // gone is zero while the pod exists
	ready           []span
}

// A span has not ended if until is zero.
type span struct{ from, until time.Time }

// watch records the pods until the end of the test.
func watch(t *testing.T) *history {
	t.Helper()
	cmd := exec.Command("kubectl", "get", "pods", "-l", "app=nginx", "--watch", "--output-watch-events", "-o", "json")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &history{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		events := json.NewDecoder(pipe)
		for {
			var e struct {
				Type   string
				Object corev1.Pod
			}
			if events.Decode(&e) != nil {
				return
			}
			h.add(&e.Object, e.Type == "DELETED", time.Now())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	return h
}

func (h *history) add(pod *corev1.Pod, gone bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.lives, func(l life) bool { return l.uid == string(pod.UID) })
	if i < 0 {
		i = len(h.lives)
		h.lives = append(h.lives, life{uid: string(pod.UID), name: pod.Name, created: pod.CreationTimestamp.Time})
	}
	l := &h.lives[i]
	if a := addr(pod, 4); a != "" {
		l.addr = a
	}
	if gone {
		l.gone = now
	}
	last := len(l.ready) - 1
	was := last >= 0 && l.ready[last].until.IsZero()
	switch is := ready(pod) && !gone; {
	case is && !was:
		l.ready = append(l.ready, span{from: now})
	case was && !is:
		l.ready[last].until = now
	}
}

// check compares replies with the history. An address must belong to a pod of the name,
// or have belonged to one within the last TTL. NXDOMAIN is wrong if a pod of the name
// has been ready for a TTL. check returns the longest time between the end of a pod's
// readiness and a reply with its address.
func (h *history) check(t *testing.T, replies []reply) time.Duration {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var late time.Duration
	failures := 0
	for _, r := range replies {
		err := h.judge(r, &late)
		if err == nil {
			continue
		}
		if failures++; failures <= 5 {
			t.Errorf("%s, queried at %s: %v\n%s", r.name, r.sent.Format(time.StampMilli), err, r.text)
		}
	}
	if failures > 0 {
		t.Errorf("%d of %d replies are wrong; the pods were:\n%+v", failures, len(replies), h.lives)
	}
	return late
}

func (h *history) judge(r reply, late *time.Duration) error {
	host, isHost := strings.CutSuffix(r.name, "."+nginx)
	if !isHost && r.name != nginx {
		return errors.New("no reply")
	}
	switch {
	case r.status == "NOERROR" && len(r.addrs) > 0:
		for _, a := range r.addrs {
			if !slices.ContainsFunc(h.lives, func(l life) bool { return (!isHost || l.name == host) && l.answers(a, r, late) }) {
				return fmt.Errorf("no pod of this name has or had the address %s", a)
			}
		}
		return nil
	case r.status == "NXDOMAIN" && isHost:
		if slices.ContainsFunc(h.lives, func(l life) bool { return l.name == host && l.settled(r) }) {
			return errors.New("the pod is ready")
		}
		return nil
	}
	return fmt.Errorf("status %q", r.status)
}

// answers reports whether the address may be in the reply.
func (l *life) answers(a string, r reply, late *time.Duration) bool {
	if l.addr != a || r.received.Before(l.created) || (!l.gone.IsZero() && r.sent.After(l.gone.Add(ttl))) {
		return false
	}
	if n := len(l.ready); n > 0 && !l.ready[n-1].until.IsZero() {
		*late = max(*late, r.sent.Sub(l.ready[n-1].until))
	}
	return true
}

// ahead is how much sooner than this test, which watches through kubectl, a server may
// see that a pod is not ready.
const ahead = 2 * time.Second

// settled reports whether the pod had been ready for a TTL before the query, and stayed
// ready for a while after the reply.
func (l *life) settled(r reply) bool {
	return slices.ContainsFunc(l.ready, func(s span) bool {
		return r.sent.After(s.from.Add(ttl)) && (s.until.IsZero() || r.received.Add(ahead).Before(s.until))
	})
}

// last returns the last reply for a name.
func last(replies []reply, name string) reply {
	for _, r := range slices.Backward(replies) {
		if r.name == name {
			return r
		}
	}
	return reply{}
}
