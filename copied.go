package headless

import (
	"errors"
	"fmt"
)

// copiedOption is an option that only the kubernetes plugin has. A stanza that was copied from
// one of that plugin may have it.
type copiedOption struct {
	arguments
	harmless string // with this argument, the option changes no answer about a headless service
	refusal  string // otherwise: why the plugin refuses the option, and what to do
	ignored  string // if not "": why the plugin ignores the option, which changes no answer at all
}

// copiedOptions are the options of the kubernetes plugin that are not in directives.
var copiedOptions = map[string]copiedOption{
	"pods": {
		arguments: arguments{1, 1, "disabled, insecure or verified"},
		harmless:  "disabled",
		refusal:   `"kubernetes" serves the names below "pod": ` + moveOption,
	},
	// The kubernetes plugin exempts headless services: without a ready endpoint, they never
	// exist.
	"ignore": {arguments: arguments{1, 1, "empty_service"}, harmless: "empty_service", refusal: `not "empty_service"`},
	"noendpoints": {
		arguments: arguments{0, 0, "no argument"},
		refusal:   `without endpoints, no headless service has a name: leave out the option, or "headless"`,
	},
	"apiserver_qps":          {arguments: arguments{1, 1, "one number"}, ignored: noRequestLimit},
	"apiserver_burst":        {arguments: arguments{1, 1, "one number"}, ignored: noRequestLimit},
	"apiserver_max_inflight": {arguments: arguments{1, 1, "one number"}, ignored: noRequestLimit},
}

const (
	moveOption     = "move the option to its stanza in this server block"
	noRequestLimit = "the plugin does not limit its requests to the API server; it pauses between retries"
)

// setCopied accepts an option that only the kubernetes plugin has if it changes no answer about a
// headless service. Otherwise it returns an error.
func (s *stanza) setCopied(name string, option copiedOption, args []string) error {
	if err := option.check(args); err != nil {
		return err
	}
	switch {
	case option.ignored != "":
		s.warn(name, "ignored: %s", option.ignored)
		return nil
	case option.harmless != "" && args[0] == option.harmless:
		return nil
	case len(args) == 0:
		return errors.New(option.refusal)
	}
	return fmt.Errorf("%s: %s", quoteArgs(args), option.refusal)
}
