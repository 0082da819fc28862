package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	read := func(text string) map[string][]string {
		t.Helper()
		out := make(map[string][]string)
		zone := dns.NewZoneParser(strings.NewReader(text), "", "")
		for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
			key := rr.Header().Name + " " + dns.TypeToString[rr.Header().Rrtype]
			out[key] = append(out[key], strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		if err := zone.Err(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	services := newServices(3, 20)
	got := read(clusterZone(services))
	for _, s := range services {
		var addrs, targets []string
		for i := range s.size {
			addr := s.addr(i).String()
			addrs, targets = append(addrs, addr), append(targets, fmt.Sprintf("0 %d 8080 %s", 100/s.size, s.podFQDN(i)))
			if found := got[s.podFQDN(i)+" A"]; !slices.Equal(found, []string{addr}) {
				t.Errorf("%s: got %q, want %s", s.podFQDN(i), found, addr)
			}
		}
		if found := got[s.fqdn()+" A"]; !slices.Equal(found, addrs) {
			t.Errorf("%s: got %q, want %q", s.fqdn(), found, addrs)
		}
		if found := got[s.portFQDN()+" SRV"]; !slices.Equal(found, targets) {
			t.Errorf("%s: got %q, want %q", s.portFQDN(), found, targets)
		}
	}
	got = read(otherZone())
	for _, name := range otherNames() {
		if found := got[name+" A"]; !slices.Equal(found, []string{"10.0.0.1"}) {
			t.Errorf("%s: got %q, want 10.0.0.1", name, found)
		}
	}
}
