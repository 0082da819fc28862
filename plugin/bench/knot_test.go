package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// knotProgram returns the command of a Knot DNS that is installed or that make has
// unpacked, or nil if there is none.
func knotProgram(b *testing.B, args ...string) *exec.Cmd {
	b.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	root := filepath.Join(cache, "headless-daemons", "knot")
	for _, program := range []string{"knotd", "/usr/sbin/knotd", filepath.Join(root, "usr", "sbin", "knotd")} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		cmd := exec.Command(path, args...)
		if strings.HasPrefix(path, root) {
			libraries, err := filepath.Glob(root + "/usr/lib/*-linux-gnu")
			if err != nil {
				b.Fatal(err)
			}
			cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
		}
		return cmd
	}
	return nil
}

// startKnot starts a Knot DNS with the names of the services and of the other zone. It
// returns nil if there is no Knot DNS. By default Knot sends at most 1232 bytes. With
// answer-rotation it would give the records in another order each time, as CoreDNS does,
// but would take ten times as long for many.
func startKnot(b *testing.B, services []service) *server {
	b.Helper()
	addr, dir := freeAddr(b), b.TempDir()
	conf := filepath.Join(dir, "knot.conf")
	cmd := knotProgram(b, "-c", conf)
	if cmd == nil {
		return nil
	}
	host, port, _ := net.SplitHostPort(addr)
	for name, text := range map[string]string{
		"knot.conf": fmt.Sprintf(`
server:
  listen: %s@%s
  rundir: %s
  udp-max-payload: 4096
database:
  storage: %[3]s
log:
  - target: stderr
    any: error
zone:
  - domain: cluster.local
    storage: %[3]s
    file: cluster.zone
  - domain: example.org
    storage: %[3]s
    file: other.zone
`, host, port, dir),
		"cluster.zone": clusterZone(services),
		"other.zone":   otherZone(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	s := &server{Cmd: cmd, plugin: knotServer, addr: addr}
	s.start(b, services[0].podFQDN(0))
	return s
}

// zoneHead has the records that a zone must have. The TTL is that of headless.
const zoneHead = "$TTL 5\n$ORIGIN %s\n@ SOA ns hostmaster 1 7200 1800 86400 5\n@ NS ns\nns A 10.0.0.1\n"

// clusterZone returns a zone file with the names of services.
func clusterZone(services []service) string {
	var b strings.Builder
	fmt.Fprintf(&b, zoneHead, "cluster.local.")
	for i := range services {
		s := &services[i]
		for i := range s.size {
			fmt.Fprintf(&b, "%[1]s A %[2]s\n%[3]s A %[2]s\n%[4]s SRV 0 %[5]d 8080 %[1]s\n", s.podFQDN(i), s.addr(i), s.fqdn(), s.portFQDN(), max(1, 100/s.size))
		}
	}
	return b.String()
}

// otherZone returns a zone file with the names of the other zone.
func otherZone() string {
	var b strings.Builder
	fmt.Fprintf(&b, zoneHead, "example.org.")
	for _, name := range otherNames() {
		fmt.Fprintf(&b, "%s A 10.0.0.1\n", name)
	}
	return b.String()
}

// TestZones reads the zone files.
func TestZones(t *testing.T) {
	count := func(text string) map[string]int {
		t.Helper()
		out := make(map[string]int)
		zone := dns.NewZoneParser(strings.NewReader(text), "", "")
		for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
			out[rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]]++
		}
		if err := zone.Err(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	services := newServices(3, 20)
	got := count(clusterZone(services))
	for _, s := range services {
		for key, want := range map[string]int{s.podFQDN(0) + " A": 1, s.podFQDN(s.size-1) + " A": 1, s.podFQDN(s.size) + " A": 0, s.fqdn() + " A": s.size, s.portFQDN() + " SRV": s.size} {
			if got[key] != want {
				t.Errorf("%s: got %d records, want %d", key, got[key], want)
			}
		}
	}
	got = count(otherZone())
	for _, name := range otherNames() {
		if got[name+" A"] != 1 {
			t.Errorf("%s: got %d addresses, want 1", name, got[name+" A"])
		}
	}
}
