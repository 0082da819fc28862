//go:build cluster

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// resolverQuestion is a command, and a regular expression for what it prints.
type resolverQuestion struct{ ask, want string }

// resolverQuestions are the queries of clients in a pod of namespace default, after the
// end-to-end tests of Kubernetes for headless services. They ask for the service, its
// ports and its pods, by relative and absolute names, over UDP and TCP, and by address.
// want is a regular expression for the client's output, with its lines joined by spaces.
var resolverQuestions = []resolverQuestion{
	{"dig +notcp +noall +answer +search nginx A", `nginx\.default\.svc\.cluster\.local\.\s+5\s+IN\s+A\s+10\.244\.1\.5 .*10\.244\.2\.5`},
	{"dig +tcp +short +search nginx A", `^10\.244\.1\.5 10\.244\.1\.6 10\.244\.2\.5$`},
	{"dig +notcp +short +search nginx.default A", `^10\.244\.1\.5 10\.244\.1\.6 10\.244\.2\.5$`},
	{"dig +tcp +short +search nginx.default.svc A", `^10\.244\.1\.5 10\.244\.1\.6 10\.244\.2\.5$`},
	{"dig +notcp +short nginx.default.svc.cluster.local A", `^10\.244\.1\.5 10\.244\.1\.6 10\.244\.2\.5$`},
	{"dig +notcp +short +search _web._tcp.nginx.default.svc SRV", `^0 33 80 web-0\.nginx.* web-1\.nginx.* web-2\.nginx\.default\.svc\.cluster\.local\.$`},
	{"dig +tcp +short +search _web._tcp.nginx SRV", `^0 33 80 web-0\.nginx.* web-1\.nginx.* web-2\.nginx\.default\.svc\.cluster\.local\.$`},
	{"dig +short -x 10.244.1.5", `^web-0\.nginx\.default\.svc\.cluster\.local\.$`},
	{"dig +tcp +short -x 10.244.1.6", `^web-\d\.nginx\.default\.svc\.cluster\.local\.$`},
	{"getent hosts web-0.nginx", `^10\.244\.1\.5\s+web-0\.nginx\.default\.svc\.cluster\.local$`},
	{"getent hosts web-0.nginx.default", `^10\.244\.1\.5\s+web-0\.nginx\.default\.svc\.cluster\.local$`},
	{"getent hosts web-0.nginx.default.svc", `^10\.244\.1\.5\s+web-0\.nginx\.default\.svc\.cluster\.local$`},
	{"getent hosts web-0.nginx.default.svc.cluster.local", `^10\.244\.1\.5\s+web-0\.nginx\.default\.svc\.cluster\.local$`},
	{"getent hosts WEB-0.Nginx", `^10\.244\.1\.5\s+`},
	{"getent ahosts nginx", `10\.244\.1\.5.*10\.244\.1\.6.*10\.244\.2\.5`},
	{"getent hosts 10.244.1.5", `^10\.244\.1\.5\s+web-0\.nginx\.default\.svc\.cluster\.local$`},
	{"busybox nslookup web-0.nginx.default.svc.cluster.local", `Address: 10\.244\.1\.5`},
	{"busybox nslookup -type=srv _web._tcp.nginx.default.svc.cluster.local", `web-2\.nginx\.default\.svc\.cluster\.local`},
	{"dig +noall +comments web-9.nginx.default.svc.cluster.local", `EDE: 0 \(Other\): \(no pod with hostname web-9\)`},
	{"busybox nslookup -type=txt _why.web-9.nginx.default.svc.cluster.local", `text = "no pod with hostname web-9 in namespace default"`},
	{"getent hosts web-9.nginx; echo none", `^none$`},
	{"getent hosts web-0.other; echo none", `^none$`},
}

// tryIt returns the queries of README.md's section "Try it", with the beginnings of their answers.
func tryIt(t *testing.T) (questions []resolverQuestion) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Try it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^`]*`([^`]+)`").FindAllStringSubmatch(section, -1) {
		questions = append(questions, resolverQuestion{"dig +short " + row[1], "^" + regexp.QuoteMeta(row[2])})
	}
	if len(questions) != 3 {
		t.Fatalf("README.md has %d queries to try, want 3", len(questions))
	}
	return questions
}

// TestResolvers runs clients with a resolv.conf as a kubelet writes it, and the server on
// port 53. They run in their own network and mount namespaces, which end with their first
// process.
func TestResolvers(t *testing.T) {
	work := t.TempDir()
	manifests, err := filepath.Abs("../../testdata/run")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"resolv.conf": "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n",
		"Corefile":    fmt.Sprintf(".:53 {\nbind 127.0.0.1\nheadless cluster.local in-addr.arpa {\nmanifests %s\nauthoritative\n}\n}\n", manifests),
	} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf(`
busybox ip link set lo up
mount --bind %s/resolv.conf /etc/resolv.conf
%s -conf %s/Corefile >&2 &
tries=100
until dig +short +tries=1 +time=1 web-0.nginx.default.svc.cluster.local | grep -q 10; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || exit 1
	busybox sleep 0.1
done
`, work, program, work)
	questions := append(resolverQuestions, tryIt(t)...)
	for _, q := range questions {
		sorted := "sort"
		if strings.HasPrefix(q.ask, "busybox") {
			sorted = "cat"
		}
		script += fmt.Sprintf("echo '== '; { %s; } 2>&1 | %s\n", q.ask, sorted)
	}
	out, err := commandWith(script, "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh")
	if err != nil {
		t.Fatal(err)
	}
	replies := strings.Split(out, "== \n")[1:]
	if len(replies) != len(questions) {
		t.Fatalf("%d of %d clients printed something:\n%s", len(replies), len(questions), out)
	}
	for i, q := range questions {
		reply := strings.Join(strings.Split(strings.TrimSpace(replies[i]), "\n"), " ")
		if !regexp.MustCompile(q.want).MatchString(reply) {
			t.Errorf("%s prints %q, want %q", q.ask, reply, q.want)
		}
	}
}
