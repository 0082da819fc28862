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

// corpusDir holds what the kubernetes plugin of CoreDNS answers, as its README
// tells.
const corpusDir = "../../testdata/corpus"

// corpusSize is how many cases were measured.
const corpusSize = 211

// corpusWant is how the cases come out; a change is to be noticed. It stands in
// the README, too.
const corpusWant = "211 cases: 172 ran, of which 150 agree with the kubernetes plugin and 22 deviate by a rule; " +
	"39 are not ours: ClusterIP 16, ExternalName 2, IPv6 of the machine 1, ignore empty_service 9, noendpoints 2, " +
	"pod 2, refused by an API server 3, transfer 4"

// corpusGroup is cases of one stanza.
type corpusGroup struct {
	Zones         []string     `json:"zones"`
	Options       []string     `json:"options"`       // lines of the stanza
	Authoritative bool         `json:"authoritative"` // no headless service is at the names or above them
	Unsynced      bool         `json:"unsynced"`      // asked before the first sync
	Cases         []corpusCase `json:"cases"`
}

// corpusCase is a question with what the kubernetes plugin answers.
type corpusCase struct {
	Ask        string       `json:"ask"` // name and type
	UDP        uint16       `json:"udp"` // asked over UDP alone, with room for so many bytes
	TCP        bool         `json:"tcp"` // asked over TCP alone
	NotOurs    string       `json:"notOurs"`
	Kubernetes *corpusReply `json:"kubernetes"`
	Headless   *corpusReply `json:"headless"` // where it is to differ
	Rule       string       `json:"rule"`     // what makes headless right
	Defect     string       `json:"defect"`   // what is wrong with kubernetes
	Kept       string       `json:"kept"`     // why headless answers the same all the same
}

// corpusOutcomes are how many cases came out how.
type corpusOutcomes struct {
	ran, agree, deviate int
	notOurs             map[string]int // by reason
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

// TestCorpus asks a server with headless what the kubernetes plugin was asked,
// and compares the answers.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob(corpusDir + "/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := corpusOutcomes{notOurs: make(map[string]int)}
	for _, file := range files {
		set, topic := filepath.Split(file)
		for i, g := range readCorpus(t, file) {
			t.Run(fmt.Sprintf("%s/%s/%d", filepath.Base(set), topic, i), func(t *testing.T) {
				g.run(t, filepath.Join(set, "objects"), &got)
			})
		}
	}
	t.Log(&got)
	sum := got.agree + got.deviate
	for _, n := range got.notOurs {
		sum += n
	}
	if sum != corpusSize {
		t.Errorf("%d cases agree, deviate or are not ours, of %d", sum, corpusSize)
	}
	if got.String() != corpusWant {
		t.Errorf("the outcome changed:\ngot  %s\nwant %s", &got, corpusWant)
	}
	readme, err := os.ReadFile(corpusDir + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), corpusWant) {
		t.Errorf("the README does not say: %s", corpusWant)
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

// run asks the cases of a group and counts how they come out.
func (g *corpusGroup) run(t *testing.T, objects string, out *corpusOutcomes) {
	// Servers are started when they are asked first: some of what is not ours are
	// options that a stanza can't have.
	var server, overlay *served
	for _, c := range g.Cases {
		if err := c.check(); err != nil {
			t.Errorf("%s: %v", c.Ask, err)
			continue
		}
		if g.Authoritative || handedOver[c.NotOurs] {
			if overlay == nil {
				overlay = serve(t, g.corefile(objects, false))
			}
			if err := c.comparePassed(overlay); err != nil {
				t.Errorf("%s: %v", c.Ask, err)
			}
		}
		if c.NotOurs != "" {
			out.notOurs[c.NotOurs]++
			continue
		}
		if server == nil {
			server = serve(t, g.corefile(objects, g.Authoritative))
		}
		out.ran++
		want, n := c.Kubernetes, &out.agree
		if c.Headless != nil {
			want, n = c.Headless, &out.deviate
		}
		if err := c.compare(server, want); err != nil {
			t.Errorf("%s: %v", c.Ask, err)
			continue
		}
		*n++
	}
}

// handedOver are the reasons not to be ours for which the next plugin has to be
// asked, as it is for all names without a headless service.
var handedOver = map[string]bool{"ClusterIP": true, "ExternalName": true, "pod": true, "IPv6 of the machine": true}

// check keeps the data honest: what differs from the kubernetes plugin differs by
// a rule, and what was found wrong in it is not followed without a reason.
func (c *corpusCase) check() error {
	name, qtype, _ := strings.Cut(c.Ask, " ")
	switch {
	case !dns.IsFqdn(name) || dns.StringToType[qtype] == 0:
		return errors.New("not a name and a type")
	case c.Kubernetes == nil:
		return errors.New("what the kubernetes plugin answers is missing")
	case c.NotOurs != "" && c.Headless != nil:
		return errors.New("not ours, but there is an answer of ours")
	case (c.Headless != nil) != (c.Rule != ""):
		return errors.New("a deviation needs a rule, and a rule a deviation")
	case c.Headless != nil && c.Headless.equal(c.Kubernetes):
		return errors.New("the deviation is none")
	case c.NotOurs == "" && c.Defect != "" && (c.Headless != nil) == (c.Kept != ""):
		return errors.New("a defect is either not followed, or kept for a reason")
	}
	return nil
}
