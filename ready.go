package headless

// Ready implements the ready.Readiness interface. It reports true from the first
// sync on, until the informer ends.
func (h *Headless) Ready() bool { return h.source.synced() && !h.source.ended.Load() }
