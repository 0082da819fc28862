//go:build cluster

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// fastProcess is a CoreDNS whose objects are manifests, so that tests can start and end several.
type fastProcess struct {
	name, file string
	cmd        *exec.Cmd
	ended      chan struct{}
	metrics    string // address
}

// fastNames are names of the manifests and of the next plugin, with their addresses.
const (
	fastHost  = "web-000.small.default.svc.cluster.local."
	fastAddr  = "10.1.0.0"
	otherHost = "other.example.org."
	otherAddr = "192.0.2.1"
)

// fastManifests writes services of 3 and 300 dual-stack pods, whose names have one length each.
func fastManifests(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for i, service := range []struct {
		name string
		pods int
	}{{"small", 3}, {"large", 300}} {
		fmt.Fprintf(&b, "{apiVersion: v1, kind: Service, metadata: {name: %[1]s}, spec: {clusterIP: None, ipFamilies: [IPv4, IPv6], "+
			"selector: {app: %[1]s}, ports: [{name: web, port: 80}]}}\n---\n", service.name)
		for pod := range service.pods {
			fmt.Fprintf(&b, "{apiVersion: v1, kind: Pod, metadata: {name: %[1]s-%[2]d, labels: {app: %[1]s}}, spec: {hostname: web-%03[2]d, subdomain: %[1]s, containers: []}, "+
				"status: {podIPs: [{ip: 10.1.%[3]d.%[4]d}, {ip: \"2001:db8::%[5]x\"}], conditions: [{type: Ready, status: \"True\"}]}}\n---\n",
				service.name, pod, 4*i+pod>>8, pod&255, 0x1000*(i+1)+pod)
		}
	}
	return writeFile(t, "manifests.yaml", b.String())
}

// fastCorefile returns a Corefile with a next plugin that has otherHost. The lines are of the
// headless stanza and of the server block.
func fastCorefile(port, manifests, stanza, block string) string {
	return fmt.Sprintf(".:%s {\nerrors\nheadless cluster.local in-addr.arpa ip6.arpa {\nmanifests %s\n%s\n}\nhosts {\n%s %s\n}\n%s\n}\n",
		port, manifests, stanza, otherAddr, otherHost, block)
}

// startFast starts a server and waits until the fast path answers on so many addresses, or has
// warned that it does not.
func startFast(t *testing.T, name, corefile string, sockets int) *fastProcess {
	t.Helper()
	port := cluster.MustFreePort(t)
	p := &fastProcess{
		name:    fmt.Sprintf("%s-%s", name, port),
		file:    writeFile(t, "Corefile", ""),
		ended:   make(chan struct{}),
		metrics: "127.0.0.1:" + port,
	}
	p.write(t, corefile)
	p.cmd = exec.Command(program, "-conf", p.file)
	if err := kube.Launch(p.name, p.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = os.Remove(kube.PIDFile(p.name))
		if t.Failed() {
			log := kube.Log(p.name)
			t.Logf("the end of the log of %s:\n%s", p.name, log[max(0, len(log)-4096):])
		}
	})
	p.await(t, sockets)
	return p
}

// write writes the Corefile.
func (p *fastProcess) write(t *testing.T, corefile string) {
	t.Helper()
	corefile = strings.Replace(corefile, "errors\n", "errors\nprometheus "+p.metrics+"\n", 1)
	if err := os.WriteFile(p.file, []byte(corefile), 0o600); err != nil {
		t.Fatal(err)
	}
}

// await waits until the fast path answers on so many addresses.
func (p *fastProcess) await(t *testing.T, sockets int) {
	t.Helper()
	eventually(t, func() error {
		select {
		case <-p.ended:
			t.Fatalf("%s ended", p.name)
		default:
		}
		got, err := cluster.Metric(p.metrics, "coredns_headless_fastpath_sockets")
		if err == nil && got != float64(sockets) {
			err = fmt.Errorf("the fast path of %s has %v sockets, want %d", p.name, got, sockets)
		}
		return err
	})
}

// awaitLog waits until the log has so many lines with a text.
func (p *fastProcess) awaitLog(t *testing.T, text string, want int) {
	t.Helper()
	eventually(t, func() error {
		if got := strings.Count(kube.Log(p.name), text); got != want {
			return fmt.Errorf("%s logs %q %d times, want %d", p.name, text, got, want)
		}
		return nil
	})
}

// end ends the server as Kubernetes does, and waits.
func (p *fastProcess) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// series returns the metrics of the server.
func (p *fastProcess) series(t *testing.T) map[string]float64 {
	t.Helper()
	out, err := cluster.Metrics(p.metrics)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fastAnswers returns how many answers the fast path gave.
func (p *fastProcess) fastAnswers(t *testing.T) int {
	t.Helper()
	return int(p.series(t)["coredns_headless_fastpath_answers_total"])
}

// ready waits until the server on a port answers.
func ready(t *testing.T, port string) {
	t.Helper()
	eventually(t, func() error { return askRight("127.0.0.1:"+port, fastHost) })
}

// askRight queries a name from a new port, up to three times as a resolver does, and returns an
// error unless the answer is the name's address.
func askRight(server, name string) (err error) {
	want := map[string]string{fastHost: fastAddr, otherHost: otherAddr}[name]
	var r *dns.Msg
	for range 3 {
		client := dns.Client{Timeout: 2 * time.Second}
		if r, _, err = client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), server); err == nil {
			break
		}
	}
	if err == nil && (r.Rcode != dns.RcodeSuccess || !slices.Equal(rdatas(r.Answer), []string{want})) {
		err = fmt.Errorf("want %s:\n%v", want, r)
	}
	return err
}

// reload lets the server read its Corefile again.
func (p *fastProcess) reload(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}
