package rotation

import (
	"context"
	"fmt"
	"iter"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
)

// Resume makes work whose jobs the queue may have lost or may still hold under
// their old names be queued again.
func (e *Engine) Resume(ctx context.Context, id string) error {
	state, etag, err := e.Journal().State(ctx, id)
	if err != nil || state.Phase.Final() {
		return err
	}
	if state.Phase == journal.Planning {
		return fmt.Errorf("resume rotation %s: %w: nothing was touched; start it again", id, ErrPlanning)
	}
	state.Generation++
	return e.Journal().SetState(ctx, state, etag)
}

// Requeue queues every part that has no record, up to the window, and says how
// many. A driver that is alive queues the rest.
func (e *Engine) Requeue(ctx context.Context, id string) (int, error) {
	state, _, err := e.Journal().State(ctx, id)
	if err != nil || state.Phase.Final() {
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
