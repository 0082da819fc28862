//go:build cluster

package rendezvous_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
)

// errNoName is the error of a lookup of a name that does not exist.
var errNoName = errors.New("no such name")

// A resolver looks up the address of a pod of a service, as a program in a pod of the same
// namespace does.
type resolver interface {
	lookup(ctx context.Context, pod, service, namespace string) error
}

// goResolver is Go's own. It asks for A and AAAA at the same time, from two sockets, with EDNS.
type goResolver struct{ *net.Resolver }

func newGoResolver(port string) resolver {
	return goResolver{&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}}}
}

func (r goResolver) lookup(ctx context.Context, pod, service, namespace string) error {
	_, err := r.LookupHost(ctx, pod+"."+service+"."+namespace+".svc.cluster.local.") // programs in Go are often given whole names
	var notFound *net.DNSError
	if errors.As(err, &notFound) && notFound.IsNotFound {
		return errNoName
	}
	return err
}

// libcResolver asks as glibc or musl do, with the resolv.conf of a pod: the search list, as the name
// has fewer than five dots, and A and AAAA at the same time from one socket, twice for five seconds.
type libcResolver struct {
	port string
	// strict: NXDOMAIN for one type means that the name does not exist, as in musl. In glibc
	// the other type counts.
	strict bool
}

func (r libcResolver) lookup(ctx context.Context, pod, service, namespace string) error {
	for _, domain := range []string{namespace + ".svc.cluster.local.", "svc.cluster.local.", "cluster.local.", ""} {
		if err := r.query(ctx, fmt.Sprintf("%s.%s.%s", pod, service, domain)); !errors.Is(err, errNoName) {
			return err
		}
	}
	return errNoName
}

func (r libcResolver) query(ctx context.Context, name string) error {
	for range 2 {
		err := r.attempt(ctx, name)
		var timeout net.Error
		if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			return err
		}
	}
	return fmt.Errorf("look up %q: no reply", name)
}

// attempt sends both questions and waits for both replies.
func (r libcResolver) attempt(ctx context.Context, name string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", "127.0.0.1:"+r.port)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	c := &dns.Conn{Conn: conn}
	waiting := make(map[uint16]bool)
	for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m := new(dns.Msg).SetQuestion(name, rrtype)
		waiting[m.Id] = true
		if err := c.WriteMsg(m); err != nil {
			return err
		}
	}
	found, missing := false, false
	for len(waiting) > 0 {
		m, err := c.ReadMsg()
		if err != nil {
			return err
		}
		if !waiting[m.Id] {
			continue
		}
		delete(waiting, m.Id)
		switch {
		case m.Rcode == dns.RcodeNameError:
			missing = true
		case m.Rcode != dns.RcodeSuccess:
			return fmt.Errorf("look up %q: %s", name, dns.RcodeToString[m.Rcode])
		case len(m.Answer) > 0:
			found = true
		}
	}
	if !found || r.strict && missing {
		return errNoName
	}
	return nil
}
