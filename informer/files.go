package informer

import "context"

// manifests is the source that reads files.
type manifests struct {
	*manifestSource
	selected *selected
}

func newManifests(c *Config, s *selected) (*manifests, error) {
	m, err := newManifestSource(manifestConfig{
		paths: c.Manifests, selected: s, log: c.Log, rejected: c.Hooks.Rejected, bad: c.Hooks.BadManifests,
	})
	return &manifests{m, s}, err
}

func (m *manifests) origins() []origin { return m.selected.origins() }

func (m *manifests) run(ctx context.Context, q *queue) {
	m.manifestSource.run(ctx, func(lists map[origin][]object) {
		var events []event
		for _, o := range m.origins() {
			events = append(events, event{origin: o, list: true, objects: lists[o]})
		}
		q.push(events...)
	})
}
