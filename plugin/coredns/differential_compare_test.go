package main

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// diffCounts counts queries by outcome: agreement, or the name of a deviation.
type diffCounts map[string]int

// diffComparer queries both plugins about a cluster.
type diffComparer struct {
	*diffFacts
	ours, theirs diffAsk
	counts       diffCounts
	mixed        bool // queries have names in mixed case
}

// compareAll sends every query and returns an error for the first unexplained difference.
func (c *diffComparer) compareAll() error {
	for i, name := range c.names {
		// Not random, as the seed must determine the changes of the cluster.
		types := append(diffTypes, diffOtherTypes[(uint64(i)+c.seed)%uint64(len(diffOtherTypes))])
		if strings.HasSuffix(name, ".arpa.") {
			types = append(diffTypes, diffOtherTypes...)
		}
		for _, qtype := range types {
			if err := c.compareOne(name, qtype); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *diffComparer) ask(ask diffAsk, name string, qtype uint16) (*diffReply, error) {
	if _, zonal := c.zonalOf(name); c.mixed || zonal {
		name = diffMixed(name)
	}
	return ask.reply(name, qtype)
}

// reply sends a query and returns the compared part of the reply.
func (ask diffAsk) reply(name string, qtype uint16) (*diffReply, error) {
	m, err := ask(name, qtype)
	if err != nil {
		return nil, err
	}
	if !m.Response || len(m.Question) != 1 || m.Question[0].Name != name || m.Question[0].Qtype != qtype {
		return nil, fmt.Errorf("%s %s: the reply is to another query:\n%v", name, dns.TypeToString[qtype], m)
	}
	return diffNewReply(m), nil
}

// diffMixed returns a name with about every second byte in upper case. Which ones depends on the
// name alone.
func diffMixed(name string) string {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	r := rand.New(rand.NewPCG(hash.Sum64(), 0))
	b := []byte(name)
	for i := range b {
		if r.IntN(2) == 0 {
			b[i] = strings.ToUpper(name[i : i+1])[0]
		}
	}
	return string(b)
}

func (c *diffComparer) compareOne(name string, qtype uint16) error {
	ours, err := c.askOurs(name, qtype)
	if err != nil {
		return err
	}
	if !c.diffFacts.ours(name) {
		c.counts["passed on"]++
		if !ours.passed() {
			return fmt.Errorf("%s %s: headless answers, want the query passed on, as no headless service has the name:\n%v", name, dns.TypeToString[qtype], ours.msg)
		}
		return nil
	}
	if err := c.checkZonal(name, qtype, ours); err != nil {
		return err
	}
	theirs, err := c.ask(c.theirs, name, qtype)
	if err != nil {
		return err
	}
	theirs = c.addEarly(name, qtype, theirs)
	if ours.equal(theirs) && (qtype != dns.TypePTR || c.arePointers(name, ours)) {
		c.counts["agreed"]++
		return nil
	}
	for _, d := range diffDeviations {
		if d.explains(c, &diffQuestion{name, qtype, ours, theirs}) {
			c.counts["deviation: "+d.name]++
			return nil
		}
	}
	return fmt.Errorf("%s %s:\nheadless replies\n%v\nkubernetes replies\n%v", name, dns.TypeToString[qtype], ours.msg, theirs.msg)
}

// diffQuestion is a question with both replies.
type diffQuestion struct {
	name         string
	qtype        uint16
	ours, theirs *diffReply
}

// diffDeviation is an intended difference. explains returns true only if the replies
// match its rule in every respect.
type diffDeviation struct {
	name     string // includes the rule
	explains func(*diffComparer, *diffQuestion) bool
}

var diffDeviations = []diffDeviation{
	{"_zone, and below it pin and prefer, are empty non-terminals (RFC 4592, section 2.2.2)", func(c *diffComparer, q *diffQuestion) bool {
		z, ok := c.zonalOf(q.name)
		return ok && !z.unknown && z.zone == "" && q.ours.negative(dns.RcodeSuccess) && q.theirs.negative(dns.RcodeNameError)
	}},
	{"nothing exists below a service without a ready endpoint (RFC 8020)", func(c *diffComparer, q *diffQuestion) bool {
		z, ok := c.zonalOf(q.name)
		return ok && len(diffAt(c.endpoints, z.service, ""))+len(diffAt(c.early, z.service, "")) == 0 && q.ours.negative(dns.RcodeNameError) && q.theirs.negative(dns.RcodeSuccess)
	}},
	{"the first labels with an underscore are no part of a zone but a port, a protocol or nothing (RFC 2782)", func(c *diffComparer, q *diffQuestion) bool {
		z, ok := c.zonalOf(q.name)
		return ok && z.protocol != "" && c.isOtherZone(q, z)
	}},
	{"the name of a protocol is an empty non-terminal (RFC 4592, section 2.2.2)", func(c *diffComparer, q *diffQuestion) bool {
		return q.ours.negative(dns.RcodeSuccess) && q.theirs.negative(dns.RcodeNameError) && slices.Equal(q.ours.ns, q.theirs.ns) &&
			c.nonTerminal(q.name)
	}},
	{"the name of a port has SRV records alone (Kubernetes DNS specification, section 2.4.2)", func(c *diffComparer, q *diffQuestion) bool {
		return (q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA) && q.ours.negative(dns.RcodeSuccess) && q.theirs.positive(q.qtype) &&
			len(c.port(q.name)) > 0
	}},
	{"ANY gives one set (RFC 8482, section 4.1)", func(c *diffComparer, q *diffQuestion) bool {
		return q.qtype == dns.TypeANY && len(q.ours.answer) > 0 && q.theirs.negative(q.theirs.rcode) && c.isSet(q)
	}},
	{"SOA of a missing name is NXDOMAIN (RFC 1034, section 4.3.2)", func(c *diffComparer, q *diffQuestion) bool {
		if q.qtype != dns.TypeSOA || !q.ours.negative(dns.RcodeNameError) || !q.theirs.negative(dns.RcodeSuccess) || !slices.Equal(q.ours.ns, q.theirs.ns) {
			return false
		}
		a, err := c.askOurs(q.name, dns.TypeA) // kubernetes replies NOERROR to the SOA of every name
		return err == nil && a.negative(dns.RcodeNameError)
	}},
	{"another type than PTR at a reverse name is no data (RFC 2308, section 2.2)", func(c *diffComparer, q *diffQuestion) bool {
		return q.qtype != dns.TypePTR && q.ours.negative(dns.RcodeSuccess) && q.theirs.negative(dns.RcodeNameError) &&
			slices.Equal(q.ours.ns, q.theirs.ns) && len(c.pointers(q.name)) > 0
	}},
	{"PTR gives names of headless services, hostnames before others (Kubernetes DNS specification, section 2.4.3)", func(c *diffComparer, q *diffQuestion) bool {
		return q.qtype == dns.TypePTR && q.ours.positive(dns.TypePTR) && c.arePointers(q.name, q.ours) &&
			!slices.ContainsFunc(q.ours.answer, func(rr diffRR) bool { return !slices.Contains(q.theirs.answer, rr) })
	}},
	{"glue is the whole set of the target's addresses (RFC 2181, section 5)", func(c *diffComparer, q *diffQuestion) bool {
		return q.qtype == dns.TypeSRV && q.ours.sameBut(q.theirs) && slices.Equal(q.ours.answer, q.theirs.answer) && c.isGlue(q.ours)
	}},
	{"the weight is shared between endpoints with a port (Kubernetes DNS specification, section 2.4.2)", func(c *diffComparer, q *diffQuestion) bool {
		if q.qtype != dns.TypeSRV || !q.ours.sameBut(q.theirs) || !q.ours.positive(dns.TypeSRV) || !c.isGlue(q.ours) {
			return false
		}
		with := len(c.port(q.name))
		endpoints := with + len(c.at(q.name, false))
		return slices.EqualFunc(q.ours.answer, q.theirs.answer, func(a, b diffRR) bool {
			if int(a.weight) != max(1, 100/with) || int(b.weight) != max(1, 100/endpoints) {
				return false
			}
			a.weight = b.weight
			return a == b
		})
	}},
	{"port and protocol begin with an underscore (RFC 2782)", func(c *diffComparer, q *diffQuestion) bool {
		labels := c.below(q.name)
		if len(labels) != 3 || !q.ours.negative(dns.RcodeNameError) || q.theirs.rcode != dns.RcodeSuccess {
			return false
		}
		labels[0], labels[1] = strings.TrimPrefix(labels[0], "_"), strings.TrimPrefix(labels[1], "_")
		right := "_" + labels[0] + "._" + labels[1] + "." + c.fqdn(labels[2])
		return q.name != right && len(c.at(right, true))+len(c.at(right, false)) > 0 ||
			labels[0] == "" // a wildcard for kubernetes
	}},
	{"a port without a number has no name (Kubernetes DNS specification, section 2.4.2)", func(c *diffComparer, q *diffQuestion) bool {
		return strings.HasPrefix(q.name, "_") && q.ours.negative(dns.RcodeNameError) && q.theirs.rcode == dns.RcodeSuccess &&
			len(c.port(q.name)) == 0 && len(c.at(q.name, false)) > 0
	}},
}

// arePointers reports whether a reply has exactly the targets of a reverse name. The
// comparer checks that even if the replies agree: kubernetes returns every owner, so
// headless could lose its preference unnoticed.
func (c *diffComparer) arePointers(name string, r *diffReply) bool {
	want := make(map[string]bool)
	if strings.HasSuffix(name, ".arpa.") {
		want = c.pointers(name)
	}
	return len(r.answer) == len(want) && !slices.ContainsFunc(r.answer, func(rr diffRR) bool { return !want[rr.data] })
}

// isSet reports whether headless's reply to ANY equals its reply to one of the types of
// the name.
func (c *diffComparer) isSet(q *diffQuestion) bool {
	rrtype := q.ours.answer[0].rrtype
	set, err := c.askOurs(q.name, rrtype)
	return err == nil && q.ours.equal(set)
}

// isGlue reports whether the additional section has exactly the addresses of the targets
// that kubernetes returns for them.
func (c *diffComparer) isGlue(r *diffReply) bool {
	targets := make(map[string]bool)
	for _, rr := range r.answer {
		targets[rr.data] = true
	}
	var want []diffRR
	for target := range targets {
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			set, err := c.ask(c.theirs, target, rrtype)
			if err != nil {
				return false
			}
			want = append(want, set.answer...)
		}
	}
	slices.SortFunc(want, diffRR.compare)
	return slices.Equal(r.extra, want)
}

// at returns the endpoints at or below the name of a service, host or port, once for each
// of their ports: those with a number or, if number is false, those without. For
// kubernetes an endpoint without ports has one unnamed port without a number.
func (c *diffComparer) at(name string, number bool) []diffFact {
	if z, ok := c.zonalOf(name); ok {
		return c.zonalAt(z, number)
	}
	labels := c.below(name)
	if len(labels) > 3 {
		return nil
	}
	var out []diffFact
	for _, e := range c.endpoints {
		if e.service != labels[len(labels)-1] || len(labels) == 2 && e.host != labels[0] {
			continue
		}
		for _, p := range e.ports {
			protocol := strings.ToLower(string(*p.Protocol))
			if len(labels) == 3 && (labels[0] != "_"+*p.Name || labels[1] != "_"+protocol) {
				continue
			}
			if (p.Port != nil) == number {
				out = append(out, e)
			}
		}
		if len(e.ports) == 0 && len(labels) < 3 && !number {
			out = append(out, e)
		}
	}
	return out
}

// port returns the endpoints with a port of this name.
func (c *diffComparer) port(name string) []diffFact { return c.at(name, true) }

// nonTerminal reports whether port names exist below a name.
func (c *diffComparer) nonTerminal(name string) bool {
	return slices.ContainsFunc(slices.Concat(diffPortNames, diffWideNames), func(port string) bool { return len(c.port("_"+port+"."+name)) > 0 })
}

func (counts diffCounts) add(more diffCounts) {
	for k, n := range more {
		counts[k] += n
	}
}

// addAs adds queries of every outcome to the count of one name. They are also counted by
// outcome.
func (counts diffCounts) addAs(name string, more diffCounts) { counts[name] += more.total() }

// total returns the number of queries. It excludes counts "over" a network and "with" an
// option, whose queries are also counted by outcome.
func (counts diffCounts) total() int {
	total := 0
	for k, n := range counts {
		if !strings.HasPrefix(k, "over ") && !strings.HasPrefix(k, "with ") {
			total += n
		}
	}
	return total
}

// diffWanted are counts that must not be zero, besides those of deviations: otherwise the test
// does not test what an option does.
var diffWanted = []string{
	diffLongLists, diffTransferred,
	diffEarly, diffEarlyNoData, diffEarlyPTR, diffHidden, diffEmpty, diffBeside,
	diffBare + diffHost + diffNotReady, diffBare + diffHost + diffNoAddress, diffBare + diffHost + diffTerminating,
	diffBare + diffHost + diffNoPod, diffBare + diffService, diffBare + diffPort, diffBare + diffInZone, diffBareUnknown, diffBareNoData,
}

// missing returns what did not occur. Headless may have lost a deviation.
func (counts diffCounts) missing() []string {
	wanted := slices.Concat(diffWanted, diffZonalWanted())
	for _, d := range diffDeviations {
		wanted = append(wanted, "deviation: "+d.name)
	}
	return slices.DeleteFunc(wanted, func(name string) bool { return counts[name] > 0 })
}

// String lists the counts.
func (counts diffCounts) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "\n%10d %s", counts[k], k)
	}
	return fmt.Sprintf("%d questions:%s", counts.total(), b.String())
}
