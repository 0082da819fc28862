package informer

import (
	"context"

	"github.com/headless-dns/headless/informer/internal/manifest"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
)

// manifests is the source that reads files. It pushes one list for each origin.
type manifests struct {
	*manifest.Source
	selected *selection.Selection
}

func newManifests(c *Config, s *selection.Selection) (*manifests, error) {
	m, err := manifest.New(manifest.Config{
		Paths: c.Manifests, Selected: s, Log: c.Log, Rejected: c.Hooks.Rejected, Bad: c.Hooks.BadManifests,
	})
	if err != nil {
		return nil, err
	}
	return &manifests{m, s}, nil
}

func (m *manifests) origins() []object.Origin { return m.selected.Origins() }

func (m *manifests) run(ctx context.Context, q *queue) {
	m.Source.Run(ctx, func(lists map[object.Origin][]object.Object) {
		var events []event
		for _, o := range m.origins() {
			events = append(events, event{Origin: o, list: true, objects: lists[o]})
		}
		q.push(events...)
	})
}
