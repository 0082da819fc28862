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

// agree queries every server for the names that the headless services of the namespace
// have, had or might have, until the replies agree.
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

// questionsOf derives the questions from the objects in the API server. The hosts come
// from the EndpointSlices, which the reference answers from. The pods add names that may
// not exist.
func questionsOf(ns string) ([]dns.Question, error) {
	ctx := context.Background()
	services, err := api.CoreV1().Services(ns).List(ctx, list)
	if err != nil {
		return nil, err
	}
	podList, err := api.CoreV1().Pods(ns).List(ctx, list)
	if err != nil {
		return nil, err
	}
	slices, err := api.DiscoveryV1().EndpointSlices("").List(ctx, list)
	if err != nil {
		return nil, err
	}
	endpoints := endpointsByAddr(slices.Items)

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
		for _, slice := range slices.Items {
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
					// For an address of several endpoints the plugins choose different
					// names, on purpose.
					if name, err := dns.ReverseAddr(addr); err == nil && endpoints[addr] == 1 {
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

// endpointsByAddr returns how many endpoints have each address.
func endpointsByAddr(slices []discoveryv1.EndpointSlice) map[string]int {
	endpoints := map[string]int{}
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			for _, addr := range endpoint.Addresses {
				endpoints[addr]++
			}
		}
	}
	return endpoints
}

func dashed(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
}

// compare queries every server over TCP and returns an error that quotes the first few
// differences from the reference.
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

// sameRcode reports whether two replies have equivalent rcodes. For a name that no plugin
// owns, headless replies REFUSED, and the kubernetes plugin SERVFAIL.
func sameRcode(a, b *dns.Msg) bool {
	return a.Rcode == b.Rcode || notServed(a) && notServed(b)
}

func notServed(r *dns.Msg) bool {
	return (r.Rcode == dns.RcodeRefused || r.Rcode == dns.RcodeServerFailure) && len(r.Answer) == 0
}

// canonical returns the answer section as sorted lines in lower case, TTL included.
func canonical(r *dns.Msg) []string {
	var out []string
	for _, rr := range r.Answer {
		out = append(out, strings.ToLower(rr.String()))
	}
	slices.Sort(out)
	return out
}
