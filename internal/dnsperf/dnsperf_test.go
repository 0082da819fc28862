package dnsperf

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	text := "Statistics:\n\n  Queries sent:         7500\n  Queries completed:    7499 (99.99%)\n  Queries lost:         1 (0.01%)\n\n" +
		"  Response codes:       NOERROR 7490 (99.87%), NXDOMAIN 6 (0.08%), SERVFAIL 2 (0.03%), REFUSED 1 (0.01%)\n"
	interrupted := strings.Replace(text, "  Queries lost:", "  Queries interrupted:  3 (0.04%)\n  Queries lost:", 1)
	unanswered, _, _ := strings.Cut(text, "  Response codes:")
	for text, want := range map[string]Outcome{
		text:        {Sent: 7500, Lost: 1, NoError: 7490, Failed: 3},
		interrupted: {Sent: 7497, Lost: 1, NoError: 7490, Failed: 3},
		unanswered:  {Sent: 7500, Lost: 1},
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("parse %s\ngot %+v, %v, want %+v", text, got, err, want)
		}
	}
	if got, err := parse("Error"); err == nil {
		t.Errorf("parse %q: got %+v, want an error", "Error", got)
	}
}
