package watch

import (
	"sync"
	"time"
)

// burst notices when something happened count times within a window. It is safe
// for concurrent use, and holds count times.
type burst struct {
	count  int
	window time.Duration

	mu    sync.Mutex
	times []time.Time // in the order they came
}

// add reports whether this makes a burst. A burst is reported once: it takes as
// many again to make another.
func (b *burst) add(at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.times = append(b.times, at)
	if len(b.times) < b.count {
		return false
	}
	if d := at.Sub(b.times[0]); d > b.window {
		b.times = append(b.times[:0], b.times[1:]...)
		return false
	}
	b.times = b.times[:0]
	return true
}
