package headless

// Ready implements the ready.Readiness interface: it is true from the first sync
// on.
func (h *Headless) Ready() bool { return h.source.synced() }
