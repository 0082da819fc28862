package informer

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/headless-dns/headless/informer/internal/selection"
	"github.com/headless-dns/headless/informer/internal/snapshot"
)

// CheckNamespace returns an error if a name can't be that of a namespace.
func CheckNamespace(name string) error {
	if reasons := validation.IsDNS1123Label(name); len(reasons) > 0 {
		return fmt.Errorf("%q: %s", name, strings.Join(reasons, "; "))
	}
	return nil
}

// CheckSnapshot returns an error if a snapshot can't be written to a file: its folder does
// not exist, or the path is something other than a snapshot, which would be overwritten.
// An empty file may be overwritten.
func CheckSnapshot(path string) error { return snapshot.Check(path) }

// ParseSelector parses a label selector as kubectl's --selector does.
func ParseSelector(expression string) (labels.Selector, error) {
	return selection.ParseSelector(expression)
}
