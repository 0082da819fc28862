package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	strictjson "sigs.k8s.io/json"

	"github.com/headless-dns/headless/informer/internal/object"
)

// readFields are the fields that DNS uses, by resource.
var readFields = map[string][]string{
	object.Services.String(): {"metadata", "spec", "clusterIP", "type", "selector", "ports", "protocol", "port", "targetPort", "publishNotReadyAddresses", "ipFamilies"},
	object.Pods.String(): {"metadata", "spec", "status", "hostname", "subdomain", "containers", "initContainers", "ports", "containerPort", "protocol",
		"restartPolicy", "podIP", "podIPs", "phase", "conditions", "nodeName"},
	object.EndpointSlices.String(): {"metadata", "addressType", "endpoints", "ports", "addresses", "conditions", "ready", "terminating", "hostname", "zone", "targetRef", "protocol", "port"},
	endpointsResource:              {"metadata", "subsets", "addresses", "notReadyAddresses", "ports", "hostname", "targetRef", "protocol", "port"},
	object.Namespaces.String():     {"metadata"},
	object.Nodes.String():          {"metadata"},
	object.ServiceImports.String(): {"metadata", "spec", "type"},
}

// metadataFields are the fields of metadata that DNS uses, of every resource.
var metadataFields = []string{"name", "namespace", "labels", "annotations", "deletionTimestamp"}

// maxStrict is the most unknown and duplicate fields that the JSON library reports.
const maxStrict = 100

// checkFields checks the unknown and duplicate fields of an object. Other versions of
// Kubernetes have other fields, so unknown ones are recorded and ignored. But a misspelt
// field would silently remove names, so a name that is close to that of a field that DNS
// uses is an error.
func (p *parser) checkFields(resource string, strict []error) error {
	for _, err := range strict {
		var e strictjson.FieldError
		switch {
		case !errors.As(err, &e):
			return err
		case !strings.HasPrefix(err.Error(), "unknown"):
			return fmt.Errorf("field %q is given twice", e.FieldPath())
		}
		path := e.FieldPath()
		parent, name := "", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			parent, name = path[:i], path[i+1:]
		}
		read := readFields[resource]
		if parent == "metadata" {
			read = metadataFields
		}
		for _, known := range read {
			if isClose(name, known) {
				return fmt.Errorf("unknown field %q, did you mean %q?", path, known)
			}
		}
		p.noteUnknown(path)
	}
	if len(strict) >= maxStrict {
		return fmt.Errorf("there are %d unknown fields or more", maxStrict)
	}
	return nil
}

// noteUnknown records an unknown field, without the indices in its path.
func (p *parser) noteUnknown(path string) {
	if len(p.unknown) > maxNamed {
		return
	}
	var b strings.Builder
	inside := false
	for _, r := range path {
		switch r {
		case '[':
			inside = true
			b.WriteString("[")
		case ']':
			inside = false
		}
		if !inside {
			b.WriteRune(r)
		}
	}
	p.unknown[b.String()] = true
}

// unknownFields lists the unknown fields of a file.
func (m *contents) unknownFields() string {
	names := slices.Sorted(maps.Keys(m.unknown))
	if len(names) > maxNamed {
		names = append(names[:maxNamed], "and others")
	}
	return strings.Join(names, ", ")
}

// isClose reports whether a name differs from a known one only in case, or in at most two
// letters, or one if the known name is short.
func isClose(name, known string) bool {
	limit := 2
	switch {
	case len(known) < 4:
		limit = 0
	case len(known) < 7:
		limit = 1
	}
	if d := len(name) - len(known); d > limit || -d > limit {
		return false
	}
	return distance(strings.ToLower(name), strings.ToLower(known)) <= limit
}

// distance returns how many letters must be inserted, deleted, replaced or swapped with
// their neighbour to turn one name into the other.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for k := range rows[i] {
			if i == 0 || k == 0 {
				rows[i][k] = i + k
				continue
			}
			d := rows[i-1][k-1]
			if a[i-1] != b[k-1] {
				d++
			}
			d = min(d, rows[i-1][k]+1, rows[i][k-1]+1)
			if i > 1 && k > 1 && a[i-1] == b[k-2] && a[i-2] == b[k-1] {
				d = min(d, rows[i-2][k-2]+1)
			}
			rows[i][k] = d
		}
	}
	return rows[len(a)][len(b)]
}
