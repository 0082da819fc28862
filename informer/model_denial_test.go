package informer

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// denial returns why a host below a headless service is missing, from the full objects. Of several
// reasons it returns the first of the order in which package records lists them.
func (m *model) denial(k object.Key, host string) string {
	service := m.objects[object.Services][k].(*corev1.Service)
	var reasons []records.Reason
	var subdomains []string
	for key, o := range m.objects[object.Pods] {
		pod := o.(*corev1.Pod)
		if key.Namespace != k.Namespace || len(service.Spec.Selector) == 0 ||
			!labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) ||
			pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		named := pod.Spec.Hostname != "" && pod.Spec.Subdomain == service.Name
		if !named && pod.Spec.Hostname == host && host != "" && (!m.podNames || pod.Name != host) {
			subdomains = append(subdomains, pod.Spec.Subdomain)
		}
		label := func(a netip.Addr) string {
			switch {
			case named:
				return pod.Spec.Hostname
			case m.podNames:
				return pod.Name
			case a.IsValid():
				return dashes.Replace(a.String())
			}
			return ""
		}
		publishes := service.Spec.PublishNotReadyAddresses
		terminates := pod.DeletionTimestamp != nil && !publishes
		ready := publishes || slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		fits := false
		for _, ip := range pod.Status.PodIPs {
			a := netip.MustParseAddr(ip.IP)
			family := corev1.IPv4Protocol
			if a.Is6() {
				family = corev1.IPv6Protocol
			}
			if !slices.Contains(service.Spec.IPFamilies, family) {
				continue
			}
			fits = true
			switch {
			case label(a) != host:
			case terminates:
				reasons = append(reasons, records.Terminating)
			case !ready:
				reasons = append(reasons, records.NotReady)
			}
		}
		switch {
		case fits || label(netip.Addr{}) != host:
		case terminates:
			reasons = append(reasons, records.Terminating)
		case len(pod.Status.PodIPs) == 0:
			reasons = append(reasons, records.NoAddress)
		default:
			reasons = append(reasons, records.WrongFamily)
		}
	}
	for key, o := range m.objects[object.EndpointSlices] {
		slice := o.(*discoveryv1.EndpointSlice)
		controlled := slice.Labels[discoveryv1.LabelManagedBy] == "endpointslice-controller.k8s.io" && len(service.Spec.Selector) > 0
		if key.Namespace != k.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name || controlled || service.Spec.PublishNotReadyAddresses {
			continue
		}
		for _, e := range slice.Endpoints {
			switch {
			case *e.Hostname != host || e.Conditions.Ready == nil || *e.Conditions.Ready:
			case e.Conditions.Terminating != nil && *e.Conditions.Terminating:
				reasons = append(reasons, records.Terminating)
			default:
				reasons = append(reasons, records.NotReady)
			}
		}
	}
	switch {
	case len(reasons) > 0:
		return slices.Min(reasons).String()
	case len(subdomains) > 0:
		return fmt.Sprintf("subdomain %q", slices.Min(subdomains))
	}
	return "no host"
}

// denialOf returns why the trie has no records of a host, in the model's form.
func denialOf(trie *records.Trie, name string) string {
	var n records.Name
	n.Fold(name)
	node, _ := trie.Find(&n, 2)
	switch d := node.Denial(&n, 2, dns.TypeA); d.Cause {
	case records.HostWithheld:
		return d.Reason.String()
	case records.HostElsewhere:
		return fmt.Sprintf("subdomain %q", d.Subdomain)
	case records.NoHost:
		return "no host"
	default:
		return fmt.Sprint("cause ", d.Cause)
	}
}
