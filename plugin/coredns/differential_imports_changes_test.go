package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/internal/apiserver"
)

// The kinds of changes, which must all occur.
const (
	diffImportComes    = "an import appears"
	diffImportGoes     = "an import goes"
	diffImportToIP     = "an import gets an address of its own"
	diffImportFromIP   = "an import becomes headless"
	diffClusterChanges = "a slice changes its cluster"
	diffOwnerChanges   = "a slice changes its import"
	diffOwnerLost      = "a slice becomes one of a service"
	diffOwnerFound     = "a slice becomes one of an import"
)

var diffChanges = []string{
	diffImportComes, diffImportGoes, diffImportToIP, diffImportFromIP, diffClusterChanges, diffOwnerChanges, diffOwnerLost, diffOwnerFound,
}

// change changes c and returns the events of the change in random order.
func (c *diffClusterset) change() []apiserver.Change {
	before := c.objects()
	c.imports = diffChangeEach(c.diffCluster, c.imports, func(old *mcsv1beta1.ServiceImport) *mcsv1beta1.ServiceImport { return c.newImport(old.Name) })
	if c.chance(50) || len(c.imports) == 0 {
		c.addImport()
	}
	c.services = diffChangeEach(c.diffCluster, c.services, func(old *corev1.Service) *corev1.Service { return c.newBeside(old.Name) })
	if c.chance(30) {
		c.addBeside()
	}
	c.manual = diffChangeEach(c.diffCluster, c.manual, c.changedSlice)
	for i := range c.rand.IntN(3) {
		added := c.newImported(fmt.Sprint("new-", i))
		if !slices.ContainsFunc(c.manual, func(s *discoveryv1.EndpointSlice) bool { return s.Name == added.Name }) {
			c.manual = append(c.manual, added)
		}
	}
	c.countChanges(before)
	return c.events(before, c.objects())
}

// changedSlice changes the labels or the content of a slice.
func (c *diffClusterset) changedSlice(old *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	out := old.DeepCopy()
	if c.chance(50) {
		out.Labels = make(map[string]string)
		c.giveOwner(out)
		return out
	}
	for i := range out.Endpoints {
		if c.chance(50) {
			out.Endpoints[i] = c.newEndpoint(old.AddressType == discoveryv1.AddressTypeIPv4)
		}
	}
	if c.chance(30) {
		out.Ports = nil
		c.givePorts(out)
	}
	return out
}

// countChanges counts the kinds of changes since a state.
func (c *diffClusterset) countChanges(before []apiserver.Object) {
	imports := make(map[string]*mcsv1beta1.ServiceImport)
	old := make(map[string]*discoveryv1.EndpointSlice)
	for _, o := range before {
		switch o := o.(type) {
		case *mcsv1beta1.ServiceImport:
			imports[o.Name] = o
		case *discoveryv1.EndpointSlice:
			old[o.Name] = o
		}
	}
	for _, i := range c.imports {
		switch was := imports[i.Name]; {
		case was == nil:
			c.changed[diffImportComes]++
		case was.Spec.Type == mcsv1beta1.Headless && i.Spec.Type != mcsv1beta1.Headless:
			c.changed[diffImportToIP]++
		case was.Spec.Type != mcsv1beta1.Headless && i.Spec.Type == mcsv1beta1.Headless:
			c.changed[diffImportFromIP]++
		}
		delete(imports, i.Name)
	}
	c.changed[diffImportGoes] += len(imports)
	for _, s := range c.manual {
		was := old[s.Name]
		if was == nil {
			continue
		}
		name, imported := s.Labels[diffImportLabel]
		oldName, wasImported := was.Labels[diffImportLabel]
		switch {
		case imported && !wasImported:
			c.changed[diffOwnerFound]++
		case !imported && wasImported:
			c.changed[diffOwnerLost]++
		case name != oldName:
			c.changed[diffOwnerChanges]++
		case imported && s.Labels[diffClusterLabel] != was.Labels[diffClusterLabel]:
			c.changed[diffClusterChanges]++
		}
	}
}
