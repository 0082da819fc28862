package headless

import "slices"

// Ready implements the ready.Readiness interface. It reports true from the first sync on.
//
// The ready plugin also asks the plugins of an instance that failed to start. They answer for
// the live plugins, those of the instance that serves: true unless one of these is not serving.
func (h *Headless) Ready() bool {
	return h.serving() || h.source.stopped.Load() && !slices.ContainsFunc(livePlugins(), func(h *Headless) bool { return !h.serving() })
}

// serving reports whether the plugin has something to serve and a source that keeps it up to
// date.
func (h *Headless) serving() bool { return h.source.synced() && !h.source.stopped.Load() }
