//go:build cluster

package main_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// agree asks the servers for every name that the headless services of the
// namespace have, had or could be thought to have, until the replies agree.
func agree(t *testing.T, ns string) {
	t.Helper()
	n := 0
	eventually(t, func() error {
		questions, err := questionsOf(ns)
		if err != nil {
			return err
		}
		n = len(questions)
		return compare(questions)
	})
	t.Logf("the servers agree on %d questions about %s", n, ns)
}

// questionsOf makes up the questions from what the API server has. An
// EndpointSlice, which the reference answers from, tells the hosts; the pods
// tell names which may or may not exist.
func questionsOf(ns string) ([]dns.Question, error) {
	ctx := context.Background()
	services, err := kub.CoreV1().Services(ns).List(ctx, list)
	if err != nil {
		return nil, err
	}
	podList, err := kub.CoreV1().Pods(ns).List(ctx, list)
	if err != nil {
		return nil, err
	}
	all, err := kub.DiscoveryV1().EndpointSlices("").List(ctx, list)
	if err != nil {
		return nil, err
	}
	holders := holdersOf(all.Items)

	names := map[string]bool{}
	reverse := map[string]bool{}
	for _, svc := range services.Items {
		if svc.Spec.ClusterIP != corev1.ClusterIPNone {
			continue
		}
		hosts := []string{"", "no-such-host.", "_no-such-port._tcp."}
		for _, pod := range podList.Items {
			hosts = append(hosts, pod.Name+".")
			if pod.Spec.Hostname != "" {
				hosts = append(hosts, pod.Spec.Hostname+".")
			}
			for _, ip := range pod.Status.PodIPs {
				hosts = append(hosts, dashed(ip.IP)+".")
			}
		}
		for _, slice := range all.Items {
			if slice.Namespace != ns || slice.Labels[discoveryv1.LabelServiceName] != svc.Name {
				continue
			}
			for _, port := range slice.Ports {
				if *port.Name != "" {
					hosts = append(hosts, "_"+*port.Name+"._"+strings.ToLower(string(*port.Protocol))+".")
				}
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Hostname != nil {
					hosts = append(hosts, *endpoint.Hostname+".")
				}
				for _, addr := range endpoint.Addresses {
					hosts = append(hosts, dashed(addr)+".")
					// Of the names of an address that several endpoints have, the
					// plugins answer with different ones, on purpose.
					if name, err := dns.ReverseAddr(addr); err == nil && holders[addr] == 1 {
						reverse[name] = true
					}
				}
			}
		}
		for _, host := range hosts {
			names[host+fqdn(svc.Name, ns)] = true
		}
	}

	var questions []dns.Question
	for name := range names {
		types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV}
		if strings.HasPrefix(name, "_") {
			types = types[2:]
		}
		for _, qtype := range types {
			questions = append(questions, dns.Question{Name: name, Qtype: qtype})
		}
	}
	for name := range reverse {
		questions = append(questions, dns.Question{Name: name, Qtype: dns.TypePTR})
	}
	return questions, nil
}

// holdersOf is how many endpoints have an address.
func holdersOf(slices []discoveryv1.EndpointSlice) map[string]int {
	holders := map[string]int{}
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			for _, addr := range endpoint.Addresses {
				holders[addr]++
			}
		}
	}
	return holders
}

func dashed(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
}

// compare asks every server over TCP and returns the first few differences from
// the reference.
func compare(questions []dns.Question) error {
	servers := []*server{ref, srv, alone}
	var conns []*dns.Conn
	for _, s := range servers {
		conn, err := dns.Dial("tcp", "127.0.0.1:"+s.port)
		if err != nil {
			return err
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	var differences []string
	for _, q := range questions {
		var want *dns.Msg
		for i, s := range servers {
			got, err := exchange(conns[i], q.Name, q.Qtype)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if want == nil {
				want = got
			} else if !sameRcode(got, want) || !slices.Equal(canonical(got), canonical(want)) {
				differences = append(differences, fmt.Sprintf("%s answers\n%v\n%s answers\n%v", s.name, got, ref.name, want))
			}
		}
	}
	if len(differences) != 0 {
		return fmt.Errorf("%d of %d replies differ:\n%s", len(differences), 2*len(questions), strings.Join(differences[:min(3, len(differences))], "\n"))
	}
	return nil
}

// sameRcode reports whether two replies mean the same. Where no plugin of a server has
// the name, headless replies REFUSED, and the kubernetes plugin SERVFAIL.
func sameRcode(a, b *dns.Msg) bool {
	return a.Rcode == b.Rcode || disowned(a) && disowned(b)
}

func disowned(r *dns.Msg) bool {
	return (r.Rcode == dns.RcodeRefused || r.Rcode == dns.RcodeServerFailure) && len(r.Answer) == 0
}

// canonical is the answer section as a sorted list in lower case, each record
// with its TTL.
func canonical(r *dns.Msg) []string {
	var out []string
	for _, rr := range r.Answer {
		out = append(out, strings.ToLower(rr.String()))
	}
	slices.Sort(out)
	return out
}
