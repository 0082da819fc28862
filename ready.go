package headless

import "slices"

// Ready implements the ready.Readiness interface. It reports true from the first
// sync on. The ready plugin also asks plugins of an instance that has failed to start;
// these answer for the instances that run.
func (h *Headless) Ready() bool {
	return h.serving() || h.source.ended.Load() && !slices.ContainsFunc(livingPlugins(), func(h *Headless) bool { return !h.serving() })
}

// serving reports whether the plugin has something to serve that is kept up to date.
func (h *Headless) serving() bool { return h.source.synced() && !h.source.ended.Load() }
