package watch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/store"
)

const (
	// checkpointName is the newest signed checkpoint (package audit).
	checkpointName = "audit/log/checkpoint"
	maxCheckpoint  = 64 << 10

	// slack is how far the clocks of writers and of the store may be apart: a
	// record that is so little younger than a checkpoint counts as under it. The
	// last records before a sequencer stopped may so go unnoticed until the next.
	slack = time.Minute

	lateAgain = time.Hour // how often a late checkpoint is told of
)

// checkpoints are what is known of signed checkpoints, and of the records that
// wait for one. It is safe for concurrent use.
type checkpoints struct {
	mu     sync.Mutex
	size   int64
	signed time.Time
	etag   string // of the published one

	oldest, newest time.Time // of the records that wait; zero: none
	n              int       // of them, at most
}

// wait takes in a record.
func (c *checkpoints) wait(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !at.After(c.signed.Add(slack)) {
		return
	}
	if c.oldest.IsZero() || at.Before(c.oldest) {
		c.oldest = at
	}
	if at.After(c.newest) {
		c.newest = at
	}
	c.n++
}

// sign takes in a checkpoint.
func (c *checkpoints) sign(size int64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size < c.size || at.Before(c.signed) {
		return
	}
	c.size, c.signed = size, at
	switch covered := at.Add(slack); {
	case !c.newest.After(covered):
		c.oldest, c.newest, c.n = time.Time{}, time.Time{}, 0
	case c.oldest.Before(covered):
		c.oldest = covered
	}
}

// CheckpointSigned takes in that this process has signed a checkpoint. Without
// it, the published one is seen in the next round.
func (w *Watcher) CheckpointSigned(size int64, at time.Time) {
	w.checkpoint.sign(size, at.UTC())
	w.showCheckpoint()
}

func (w *Watcher) showCheckpoint() {
	c := &w.checkpoint
	c.mu.Lock()
	defer c.mu.Unlock()
	w.m.checkpointSize.Set(float64(c.size))
	w.m.checkpointAt.Set(seconds(c.signed))
	w.m.unsequencedSince.Set(seconds(c.oldest))
	w.m.unsequencedMost.Set(float64(c.n))
}

// readCheckpoint looks at the published checkpoint. None is no error.
func (w *Watcher) readCheckpoint(ctx context.Context) error {
	b, info, err := store.ReadAll(ctx, w.o.Control, checkpointName, "", maxCheckpoint, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	if info.ETag == w.checkpoint.etag {
		return nil
	}
	size, err := w.checkpointSize(b)
	if err != nil {
		return err
	}
	w.checkpoint.etag = info.ETag
	w.checkpoint.sign(size, info.Modified.UTC())
	return nil
}

func (w *Watcher) checkpointSize(b []byte) (int64, error) {
	if w.o.Verifier != nil {
		c, err := audit.OpenCheckpoint(b, w.o.Verifier)
		if err != nil {
			return 0, fmt.Errorf("read checkpoint: %w", err)
		}
		return c.Size, nil
	}
	return sizeOf(b)
}

// sizeOf reads the second line of a checkpoint (c2sp.org/tlog-checkpoint).
func sizeOf(b []byte) (int64, error) {
	lines := strings.SplitN(string(b), "\n", 3)
	if len(lines) < 3 || lines[0] == "" {
		return 0, fmt.Errorf("read checkpoint: %w: no line of a size", audit.ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return 0, fmt.Errorf("read checkpoint: %w: size is no number", audit.ErrCheckpoint)
	}
	return size, nil
}

// judgeCheckpoint tells when records wait for too long.
func (w *Watcher) judgeCheckpoint(now time.Time) {
	w.showCheckpoint()
	w.checkpoint.mu.Lock()
	since := w.checkpoint.oldest
	w.checkpoint.mu.Unlock()
	late := 0
	if !since.IsZero() && now.Sub(since) > w.o.CheckpointWithin {
		late = 1
	}
	since = since.UTC()
	w.tell(late, lateAgain, Event{
		Event: CheckpointLate, Severity: Critical, Summary: "Audit records wait for a signed checkpoint.", Details: Details{Since: &since},
	})
}
