package main

import (
	"slices"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
)

// The kubernetes plugin knows only what is ready. What headless replies besides, with "hosts
// addressed", follows from the objects by the rules of its documentation.

// diffHostsAnnotation of a Service overrides the option "hosts".
const diffHostsAnnotation = "headless-dns.github.io/hosts"

// The reasons for which an endpoint is withheld although its name is known. An address family that
// the service lacks is none: no pod is about to have the name.
const (
	diffNotReady    = "is not ready"
	diffNoAddress   = "has no address yet"
	diffTerminating = "terminates"
)

// The counts of queries that "hosts addressed" makes a difference to, or must not.
const (
	diffEarly       = "with hosts addressed: the addresses of a host that is not ready"
	diffEarlyNoData = "with hosts addressed: no data at a host that is not ready"
	diffEarlyPTR    = "with hosts addressed: the reverse name of a host that is not ready"
	diffHidden      = "with hosts addressed: a host that is ready, and others of its name are not"
	diffEmpty       = "with hosts addressed: no data at a service without a ready host"
	diffBeside      = "with hosts addressed: a service with hosts that are ready and hosts that are not"
)

// diffReason returns why an endpoint of a slice is withheld, or "" if it is ready.
func diffReason(e discoveryv1.Endpoint) string {
	switch {
	case ptr.Deref(e.Conditions.Ready, true):
		return ""
	case ptr.Deref(e.Conditions.Terminating, false):
		return diffTerminating
	}
	return diffNotReady
}

// withoutAddress returns the endpoints of pods that have no address in a family of their service.
// No slice has those.
func (f *diffFacts) withoutAddress() []diffFact {
	var out []diffFact
	for _, svc := range f.services {
		if !f.headless[svc.Name] {
			continue
		}
		for _, pod := range f.selected(svc) {
			if slices.ContainsFunc(diffAddressTypes(svc), func(family discoveryv1.AddressType) bool {
				return len(diffEndpoint(svc, pod, nil, family).Addresses) > 0
			}) {
				continue
			}
			e := diffFact{service: svc.Name}
			switch {
			case pod.DeletionTimestamp != nil && !svc.Spec.PublishNotReadyAddresses:
				e.reason = diffTerminating
			case len(pod.Status.PodIPs) == 0:
				e.reason = diffNoAddress
			default: // of another family
				continue
			}
			if pod.Spec.Hostname != "" && pod.Spec.Subdomain == svc.Name {
				e.host, e.hostname = pod.Spec.Hostname, true
			}
			out = append(out, e)
		}
	}
	return out
}

// selected returns the pods that a service selects and that have not ended.
func (f *diffFacts) selected(svc *corev1.Service) []*corev1.Pod {
	if len(svc.Spec.Selector) == 0 {
		return nil
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	return slices.DeleteFunc(slices.Clone(f.pods), func(pod *corev1.Pod) bool {
		return !selector.Matches(labels.Set(pod.Labels)) || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	})
}

// isAddressed reports whether the hosts of a service have the addresses of endpoints that are not
// ready.
func (f *diffFacts) isAddressed(service string) bool {
	i := slices.IndexFunc(f.services, func(s *corev1.Service) bool { return s.Name == service })
	switch f.services[i].Annotations[diffHostsAnnotation] {
	case "addressed":
		return true
	case "ready":
		return false
	}
	return f.options().addressed
}

// giveEarly sets the endpoints that are not ready and whose addresses their hosts have. It also
// sets those that a ready endpoint hides.
func (f *diffFacts) giveEarly() {
	for _, e := range f.withheld {
		switch {
		case e.reason != diffNotReady || !f.isAddressed(e.service):
		case len(diffAt(f.endpoints, e.service, e.host)) > 0:
			f.hidden = append(f.hidden, e)
		default:
			f.early = append(f.early, e)
		}
	}
}

// diffAt returns the endpoints of a service or, if host is not empty, those of a host.
func diffAt(endpoints []diffFact, service, host string) []diffFact {
	var out []diffFact
	for _, e := range endpoints {
		if e.service == service && (host == "" || e.host == host) {
			out = append(out, e)
		}
	}
	return out
}

// addEarly adds to a reply of kubernetes what endpoints that are not ready give a name.
func (c *diffComparer) addEarly(name string, qtype uint16, theirs *diffReply) *diffReply {
	if records := c.earlyPointers(name); len(records) > 0 {
		if qtype != dns.TypePTR {
			return theirs
		}
		c.counts[diffEarlyPTR]++
		return theirs.with(slices.Concat(theirs.answer, records))
	}
	p, ok := c.placeOf(name)
	if !ok || p.port {
		return theirs
	}
	early := diffAt(c.early, p.service, p.host)
	switch {
	case len(early) == 0:
		if p.host != "" && len(diffAt(c.hidden, p.service, p.host)) > 0 {
			c.counts[diffHidden]++
		}
		return theirs
	case p.host != "":
		var records []diffRR
		for _, e := range early {
			if e.addr.Is4() && qtype == dns.TypeA || e.addr.Is6() && qtype == dns.TypeAAAA {
				records = append(records, diffRR{name: name, rrtype: qtype, ttl: diffTTL, data: string(e.addr.AsSlice())})
			}
		}
		if len(records) > 0 {
			c.counts[diffEarly]++
		} else {
			c.counts[diffEarlyNoData]++
		}
		return theirs.with(records)
	case len(diffAt(c.endpoints, p.service, "")) > 0:
		c.counts[diffBeside]++
		return theirs
	default:
		c.counts[diffEmpty]++
		return theirs.with(nil)
	}
}

// with returns the reply to a name that exists, with other answers. Without any it is a denial
// with the same SOA.
func (r *diffReply) with(answer []diffRR) *diffReply {
	out := *r
	out.rcode = dns.RcodeSuccess
	if len(answer) > 0 {
		out.ns = nil
	}
	slices.SortFunc(answer, diffRR.compare)
	out.answer = slices.Compact(answer)
	return &out
}

// earlyPointers returns the PTR records of endpoints that are not ready.
func (c *diffComparer) earlyPointers(reverse string) []diffRR {
	var out []diffRR
	for _, e := range c.early {
		if name, _ := dns.ReverseAddr(e.addr.String()); name == reverse {
			out = append(out, diffRR{name: reverse, rrtype: dns.TypePTR, ttl: diffTTL, data: e.host + "." + c.fqdn(e.service)})
		}
	}
	return out
}
