package rotation

import (
	"context"
	"fmt"
	"iter"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
)

// Resume takes up a rotation that was paused, and makes work whose jobs the queue
// may have lost or may still hold under their old names be queued again.
func (e *Engine) Resume(ctx context.Context, id string) error {
	err := e.turn(ctx, id, audit.Record{Action: actionResume}, func(s *journal.State) error {
		switch {
		case s.Phase == journal.Cancelled:
			return fmt.Errorf("%w by %s: %s", ErrCancelled, s.Halt.Actor, s.Halt.Reason)
		case s.Phase.Final():
			return errSettled
		case s.Phase == journal.Planning:
			return fmt.Errorf("%w: nothing was touched; start it again", ErrPlanning)
		case s.Phase == journal.Paused:
			s.Phase, s.Halt, s.Resumed = journal.Working, nil, e.Clock().UTC()
		}
		s.Generation++
		return nil
	})
	return during("resume", id, err)
}

// Requeue queues every part that has no record, up to the window, and says how
// many. A driver that is alive queues the rest.
func (e *Engine) Requeue(ctx context.Context, id string) (int, error) {
	state, _, err := e.Journal().State(ctx, id)
	if err != nil || state.Phase.Stopped() {
		return 0, err
	}
	n := 0
	for p, err := range e.Journal().Plans(ctx, id) {
		if err != nil {
			return n, err
		}
		o, _, err := e.Journal().Outcome(ctx, id, p.Asset)
		if err != nil {
			return n, err
		}
		if o.State != journal.AssetPending {
			continue
		}
		done, err := e.Journal().PartNumbers(ctx, id, p.Asset)
		if err != nil {
			return n, err
		}
		for _, part := range p.Parts {
			if done[part.N] || n >= e.window() {
				continue
			}
			err := e.Queue.Enqueue(ctx, queueName(state.Kind), queue.Part{
				Rotation: id, Asset: p.Asset, Part: part.N, Generation: state.Generation,
			})
			if err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// Open yields the rotations that are being worked.
func (e *Engine) Open(ctx context.Context) iter.Seq2[journal.State, error] {
	return func(yield func(journal.State, error) bool) {
		for id, err := range e.Journal().Rotations(ctx) {
			if err != nil {
				yield(journal.State{}, err)
				return
			}
			s, _, err := e.Journal().State(ctx, id)
			if err != nil {
				e.Log.Warn("rotation cannot be read", "rotation", id, "error", err)
				continue
			}
			if s.Phase == journal.Working && !yield(s, nil) {
				return
			}
		}
	}
}
