package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// corpusDir holds the answers of CoreDNS's kubernetes plugin; see its README.
const corpusDir = "../../testdata/corpus"

// corpusSize is the number of recorded cases.
const corpusSize = 370

// corpusWant is the expected summary of the outcomes. The README has it, too.
const corpusWant = "370 cases: 328 ran, of which 255 agree with the kubernetes plugin and 73 deviate by a rule; " +
	"42 are not ours: ClusterIP 24, ClusterSetIP 2, ExternalName 4, IPv6 of the machine 1, noendpoints 2, pod 2, " +
	"refused by an API server 3, transfer 4"

// corpusFast is how many of the queries the fast path answers. The others are for names that
// headless passes on, for other types, or before the first sync.
const corpusFast = 220

// corpusGroup has the cases of one stanza.
type corpusGroup struct {
	Zones         []string     `json:"zones"`
	Options       []string     `json:"options"`       // lines of the stanza
	Authoritative bool         `json:"authoritative"` // with the option authoritative; without it headless passes the queries on
	Unsynced      bool         `json:"unsynced"`      // queried before the first sync
	Cases         []corpusCase `json:"cases"`
}

// corpusCase is a question with the recorded reply of the kubernetes plugin.
type corpusCase struct {
	Ask        string       `json:"ask"` // name and type
	UDP        uint16       `json:"udp"` // query over UDP alone, with this buffer size
	TCP        bool         `json:"tcp"` // query over TCP alone
	NotOurs    string       `json:"notOurs"`
	Kubernetes *corpusReply `json:"kubernetes"`
	Headless   *corpusReply `json:"headless"` // the wanted reply, where it must differ
	Rule       string       `json:"rule"`     // the rule that headless follows
	Defect     string       `json:"defect"`   // the defect of kubernetes
	Kept       string       `json:"kept"`     // why headless keeps that defect
}

// corpusOutcomes counts the cases by outcome.
type corpusOutcomes struct {
	ran, agree, deviate int
	notOurs             map[string]int // by reason
	overUDP             int            // queries to servers with the fast path
}

func (o *corpusOutcomes) String() string {
	sum := 0
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(o.notOurs)) {
		sum += o.notOurs[reason]
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, o.notOurs[reason]))
	}
	return fmt.Sprintf("%d cases: %d ran, of which %d agree with the kubernetes plugin and %d deviate by a rule; %d are not ours: %s",
		o.ran+sum, o.ran, o.agree, o.deviate, sum, strings.Join(reasons, ", "))
}

// TestCorpus queries a server with headless for every case and compares the replies with
// the recorded ones. It sends each query over UDP to a server with the fast path, too.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(corpusDir + "/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before := fastAnswers(t)
	got := corpusOutcomes{notOurs: make(map[string]int)}
	for _, file := range files {
		set, topic := filepath.Split(file)
		for i, g := range readCorpus(t, file) {
			t.Run(fmt.Sprintf("%s/%s/%d", filepath.Base(set), topic, i), func(t *testing.T) {
				g.run(t, filepath.Join(set, "objects"), &got)
			})
		}
	}
	fast := fastAnswers(t) - before
	t.Logf("%v; the fast path answered %d of %d queries", &got, fast, got.overUDP)
	if fast != corpusFast {
		t.Errorf("the fast path answered %d of %d queries, want %d", fast, got.overUDP, corpusFast)
	}
	sum := got.agree + got.deviate
	for _, n := range got.notOurs {
		sum += n
	}
	if sum != corpusSize {
		t.Errorf("%d cases agree, deviate or are not ours, want %d", sum, corpusSize)
	}
	if got.String() != corpusWant {
		t.Errorf("the outcome changed:\ngot  %s\nwant %s", &got, corpusWant)
	}
	readme, err := os.ReadFile(corpusDir + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), corpusWant) {
		t.Errorf("the README lacks the summary: %s", corpusWant)
	}
}

func readCorpus(t *testing.T, path string) []corpusGroup {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		data, err = yaml.ToJSON(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	var groups []corpusGroup
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&groups); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return groups
}

// run queries the cases of a group and counts their outcomes.
func (g *corpusGroup) run(t *testing.T, objects string, out *corpusOutcomes) {
	// Each server starts with its first query. Some cases that are not ours have options
	// that a stanza can't have.
	var servers, overlays *corpusServers
	for _, c := range g.Cases {
		if err := c.check(); err != nil {
			t.Errorf("%s: %v", c.Ask, err)
			continue
		}
		if g.Authoritative || handedOver[c.NotOurs] {
			if overlays == nil {
				overlays = g.serve(t, objects, false)
			}
			out.overUDP++
			if err := c.comparePassed(overlays); err != nil {
				t.Errorf("%s: %v", c.Ask, err)
			}
		}
		if c.NotOurs != "" {
			out.notOurs[c.NotOurs]++
			continue
		}
		if servers == nil {
			servers = g.serve(t, objects, g.Authoritative)
		}
		out.ran++
		if !c.TCP {
			out.overUDP++
		}
		want, n := c.Kubernetes, &out.agree
		if c.Headless != nil {
			want, n = c.Headless, &out.deviate
		}
		if err := c.compare(servers, want); err != nil {
			t.Errorf("%s: %v", c.Ask, err)
			continue
		}
		*n++
	}
}

// handedOver are the reasons of those cases whose queries headless must pass on, as for
// every name without a headless service.
var handedOver = map[string]bool{"ClusterIP": true, "ClusterSetIP": true, "ExternalName": true, "pod": true, "IPv6 of the machine": true}

// check validates a case. A deviation from the kubernetes plugin needs a rule. A case
// that follows a defect of it needs a reason.
func (c *corpusCase) check() error {
	name, qtype, _ := strings.Cut(c.Ask, " ")
	switch {
	case !dns.IsFqdn(name) || dns.StringToType[qtype] == 0:
		return errors.New("ask must be an absolute name and a type")
	case c.Kubernetes == nil:
		return errors.New("kubernetes must be set")
	case c.NotOurs != "" && c.Headless != nil:
		return errors.New("headless must not be set for a case that is not ours")
	case (c.Headless != nil) != (c.Rule != ""):
		return errors.New("headless and rule must be set together")
	case c.Headless != nil && c.Headless.equal(c.Kubernetes):
		return errors.New("headless must differ from kubernetes")
	case c.NotOurs == "" && c.Defect != "" && (c.Headless != nil) == (c.Kept != ""):
		return errors.New("a defect needs either headless or kept")
	}
	return nil
}
