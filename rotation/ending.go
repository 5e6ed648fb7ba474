package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// fail records why an asset stops. It holds back only itself.
func (e *Engine) fail(ctx context.Context, p *journal.Plan, object, reason string) error {
	return e.outcome(ctx, p, journal.Outcome{State: journal.AssetFailed, Object: object, Reason: reason})
}

func (e *Engine) outcome(ctx context.Context, p *journal.Plan, o journal.Outcome) error {
	was, etag, err := e.Journal().Outcome(ctx, p.Rotation, p.Asset)
	if err == nil && was.State == journal.AssetCancelled {
		err = fmt.Errorf("record outcome %s of %s: %w", o.State, p.Asset, ErrFenced)
	}
	if err != nil {
		return err
	}
	o.Asset, o.Time = p.Asset, e.Clock().UTC()
	if err := e.Journal().SetOutcome(ctx, p.Rotation, o, etag); err != nil {
		return err
	}
	e.Log.Info("asset", "rotation", p.Rotation, "asset", p.Asset, "state", o.State, "object", o.Object, "reason", o.Reason)
	return nil
}

// finish sets the rotation's last phase from what became of its assets.
func (e *Engine) finish(ctx context.Context, id string) (journal.State, error) {
	verified, bad := 0, 0
	for p, err := range e.Journal().Plans(ctx, id) {
		if err != nil {
			return journal.State{}, err
		}
		o, _, err := e.Journal().Outcome(ctx, id, p.Asset)
		if err != nil {
			return journal.State{}, err
		}
		if o.State == journal.AssetVerified {
			verified++
		} else {
			bad++
		}
	}
	state, etag, err := e.Journal().State(ctx, id)
	if err == nil {
		err = during("drive", id, halted(state))
	}
	if err != nil {
		return state, err
	}
	state.Phase = journal.Done
	if bad > 0 {
		state.Phase = journal.Partial
	}
	if verified == 0 {
		state.Phase = journal.Failed
	}
	if err := e.retire(ctx, state); err != nil {
		return state, err
	}
	err = e.Journal().SetState(ctx, state, etag)
	if errors.Is(err, store.ErrPrecondition) {
		// Somebody resumed it at this moment.
		return e.finish(ctx, id)
	}
	return state, err
}

// retire deactivates the old keys of a planned run that nothing depends on any
// more. A compromised key stays compromised.
func (e *Engine) retire(ctx context.Context, s journal.State) error {
	if s.Kind != journal.Scheduled {
		return nil
	}
	for _, kid := range s.KIDs {
		used := false
		for _, err := range e.Index().Scope(ctx, kid) {
			if err != nil {
				return err
			}
			used = true
			break
		}
		rec, err := e.Ring.Get(ctx, kid)
		if errors.Is(err, keyring.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if used || rec.State != keyring.Active {
			continue
		}
		if err := e.Ring.SetState(ctx, kid, keyring.Deactivated, "rotated by "+s.Rotation); err != nil {
			return err
		}
	}
	return nil
}
