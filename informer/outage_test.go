package informer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/headless-dns/headless/informer/internal/object"
)

// journal records the log lines about watches, with a clock that the test advances.
type journal struct {
	*cluster
	clock *clocktesting.FakeClock
	lines []string
}

func newJournal() *journal {
	j := &journal{clock: clocktesting.NewFakeClock(time.Now())}
	log := funcr.New(func(_, args string) { j.lines = append(j.lines, args) }, funcr.Options{})
	j.cluster = &cluster{clock: j.clock, log: log, failing: func(object.Kind, bool) {}}
	return j
}

// expect compares the lines since the last call with texts that they must contain.
func (j *journal) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if len(j.lines) != len(want) {
		t.Errorf("%s: the log has %q, want %q", what, j.lines, want)
	}
	for i := range min(len(j.lines), len(want)) {
		if !strings.Contains(j.lines[i], want[i]) {
			t.Errorf("%s: line %d is %q, want %q in it", what, i, j.lines[i], want[i])
		}
	}
	j.lines = nil
}

func refused(port int) error {
	return &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, byte(port>>8), byte(port)), Port: port},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
}

func asked(of error, port int) error {
	return &url.Error{Op: "Get", URL: fmt.Sprintf("https://10.0.0.1/api/v1/pods?resourceVersion=%d", port), Err: of}
}

// TestFaultChanges reports one fault after another. The log names each cause, but not
// again for another port, and only a few causes.
func TestFaultChanges(t *testing.T) {
	unknown := x509.UnknownAuthorityError{}
	j := newJournal()
	h := newHealth(object.Origin{Kind: object.Pods}, j.cluster)
	for port := range 100 {
		h.fails(asked(refused(1+port), port))
	}
	j.expect(t, "many tries of one cause", "connection refused")
	for port := range 100 {
		h.fails(asked(unknown, port))
	}
	j.expect(t, "another of the same class", "unknown authority")
	h.works()
	j.expect(t, "it works", worksAgain)
	h.fails(unknown)
	j.expect(t, "another fault of the same cause", "unknown authority")
	for i := range 100 {
		h.fails(refused(1 + i))
		h.fails(unknown)
	}
	j.expect(t, "causes that alternate", "connection refused")
	for range 10 {
		j.clock.Step(causePause / 10)
		h.fails(unknown)
		h.fails(unknown)
	}
	j.expect(t, "the first cause, which stays", "unknown authority")
	for i := range 240 {
		j.clock.Step(newPause / 10)
		h.fails(fmt.Errorf("cause %s", strings.Repeat("x", 1+i)))
	}
	if n := len(j.lines); n < 24 || n > 24+maxCauses {
		t.Errorf("%d causes: %d lines in %v", 240, n, 24*newPause)
	}
	j.lines = nil
	j.clock.Step(newPause)
	h.fails(errors.New("the last"))
	j.expect(t, "a cause that stays", "the last")
}

// TestFaultText checks that a line leads with the cause, and says what is served meanwhile.
func TestFaultText(t *testing.T) {
	j := newJournal()
	h := newHealth(object.Origin{Kind: object.Pods}, j.cluster)
	fails := func(want string, err error) {
		t.Helper()
		h.fails(err)
		j.expect(t, want, want)
		h.works()
		j.lines = nil
	}
	missing := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "api.example.org"}}
	fails(`"msg"="can't watch pods" "error"="connection refused (nothing to serve yet)"`, asked(refused(1), 1))
	fails(`"error"="lookup api.example.org: no such host (nothing to serve yet)"`, asked(missing, 1))
	fails(`"error"="x509: certificate signed by unknown authority (nothing to serve yet)"`, asked(x509.UnknownAuthorityError{}, 1))
	j.restored.Store(true)
	fails(`"error"="connection refused (serving the snapshot)"`, refused(1))
	if _, err := h.list(t.Context(), func(context.Context) (runtime.Object, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	listed := j.clock.Now()
	j.clock.Step(time.Hour)
	fails(`"error"="connection refused (serving what was known at `+listed.Format(time.TimeOnly)+`)"`, refused(1))
	j.clock.Step(12 * time.Hour)
	fails(`"error"="connection refused (serving what was known at `+listed.Format(time.DateTime)+`)"`, refused(1))
}

// TestOutage makes the watches of a hundred namespaces fail together. The log names one
// and counts the others, also when they recover.
func TestOutage(t *testing.T) {
	j := newJournal()
	var all []*health
	for i := range 100 {
		for _, k := range []object.Kind{object.Services, object.Pods, object.EndpointSlices} {
			namespace := "team-" + string(rune('a'+i/10)) + string(rune('a'+i%10))
			all = append(all, newHealth(object.Origin{Kind: k, Namespace: namespace}, j.cluster))
		}
	}
	const retry = 10 * time.Second
	round := func(watches []*health, err func(*health) error) {
		for i, h := range watches {
			h.fails(asked(err(h), i))
		}
		j.clock.Step(retry)
	}
	first := func(others int) string {
		return fmt.Sprintf(`"kind"="services" "namespace"="team-aa" "others"=%d`, others)
	}
	refused := func(*health) error { return refused(1) }
	unavailable := func(h *health) error {
		of := schema.GroupResource{Resource: h.Kind.String()}
		if h.Kind == object.EndpointSlices {
			of.Group = "discovery.k8s.io"
		}
		return apierrors.NewGenericServerResponse(503, "get", of, "", "", 0, true)
	}
	forbidden := func(h *health) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: h.Kind.String()}, "",
			fmt.Errorf("User %q cannot list resource %q in the namespace %q", "headless", h.Kind, h.Namespace))
	}

	round(all, refused)
	j.expect(t, "at once", first(0))
	for range 90 {
		round(all, refused)
	}
	j.expect(t, "in a quarter of an hour", first(299))
	round(all, unavailable)
	j.expect(t, "a new cause", "unable to handle the request")
	for range 90 {
		round(all, unavailable)
	}
	j.expect(t, "in a quarter of an hour of that", first(299))
	for range 6 {
		round(all, forbidden)
	}
	if n := len(j.lines); n != 6 {
		t.Errorf("the rights to three kinds are missing: %d lines, want one for each and one more: %q", n, j.lines)
	}
	j.lines = nil

	// One keeps failing.
	for i, h := range all[1:] {
		h.works()
		j.clock.Step(time.Duration(i%3) * time.Millisecond)
	}
	for range 2 {
		round(all[:1], forbidden)
	}
	j.expect(t, "all but one recover")
	for range 2 {
		round(all[:1], forbidden)
	}
	j.expect(t, "half a minute later", `"kind"="pods" "namespace"="team-aa" "others"=298 "failing"=1 "after"="31m`)

	// In a second outage, one flaps.
	for range 6 {
		round(all, refused)
	}
	j.expect(t, "the next outage", first(0), first(299))
	flapping := all[7]
	flapping.works()
	round([]*health{flapping}, refused)
	for range 12 {
		round(all, refused)
	}
	j.expect(t, "one that worked for a moment", first(299))
	flapping.works() // it fails for the shortest time of all
	for _, h := range all {
		h.works()
	}
	j.expect(t, "the last works", `"others"=299 "failing"=0 "after"="35m10s"`)
	for _, h := range all {
		h.works()
		h.unregister()
	}
	j.expect(t, "afterwards")
	if o := &j.outage; len(o.failing) != 0 || len(o.causes) != 0 || len(o.recovered) != 0 {
		t.Errorf("afterwards, %d watches fail of %d causes, and %d recoveries are not logged", len(o.failing), len(o.causes), len(o.recovered))
	}
}

// TestOutageSpreads makes watches fail one after another. The pauses between the lines
// with their number grow, and a new cause does not wait.
func TestOutageSpreads(t *testing.T) {
	j := newJournal()
	var watches []*health
	for range 360 { // for an hour
		watches = append(watches, newHealth(object.Origin{Kind: object.Pods}, j.cluster))
		for _, h := range watches {
			h.fails(refused(1))
		}
		j.clock.Step(10 * time.Second)
	}
	if n := len(j.lines); n < 8 || n > 11 {
		t.Errorf("%d lines in an hour, want one at first, then after 30 s, 1 m, 2 m, 4 m, 8 m, and then each 10 m: %q", n, j.lines)
	}
	j.lines = nil
	watches[0].fails(errors.New("another"))
	j.expect(t, "another cause", "another")
	// The first is no longer named when it is over.
	watches[0].unregister()
	j.expect(t, "the end of a watch does not count as recovery")
	late := newHealth(object.Origin{Kind: object.Pods, Namespace: "late"}, j.cluster)
	late.fails(refused(1))
	j.clock.Step(causePause)
	late.fails(refused(1))
	j.expect(t, "with another first", `"namespace"="late" "others"=359`)
	for _, h := range append(watches, late) {
		h.unregister()
	}
	j.expect(t, "the end of all does not count as recovery")
}
