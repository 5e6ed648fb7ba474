package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// handOver gives the receiver every new CENC key of the rotation, once, and
// waits for its acknowledgement. Keys that the library publishes as objects are
// not among them.
func (e *Engine) handOver(ctx context.Context, state *journal.State) error {
	if !state.HandedOver.IsZero() || state.HandoverNone {
		return nil
	}
	keys, err := e.handedOver(ctx, state.Rotation)
	if err != nil {
		return err
	}
	defer clear(keys)
	n := len(keys)
	if n > 0 && e.Receiver == nil {
		return fmt.Errorf("hand over new keys of %s, which was started with a receiver: %w", state.Rotation, ErrNoHandover)
	}
	if n > 0 {
		if err := e.Audit.Append(ctx, audit.Record{Action: "key.handover", Rotation: state.Rotation, Outcome: "begin", Reason: fmt.Sprintf("%d keys", n)}); err != nil {
			return err
		}
		if err := e.Receiver.Receive(ctx, keys); err != nil {
			return fmt.Errorf("hand over new keys: %w", err)
		}
	}
	now, etag, err := e.Journal().State(ctx, state.Rotation)
	if err != nil {
		return err
	}
	now.HandedOver = e.Clock().UTC()
	err = e.Journal().SetState(ctx, now, etag)
	if errors.Is(err, store.ErrPrecondition) {
		// Somebody resumed the rotation at this moment; handing over twice is
		// harmless.
		return nil
	}
	if err == nil {
		state.HandedOver = now.HandedOver
	}
	return err
}

// handedOver are the new keys that somebody has to be handed.
func (e *Engine) handedOver(ctx context.Context, rotation string) ([]Handed, error) {
	var keys []Handed
	seen := map[key.KID]bool{}
	for p, err := range e.Journal().Plans(ctx, rotation) {
		if err != nil {
			return nil, err
		}
		for _, c := range p.Keys {
			if p.Refusal != nil || c.Known() || seen[c.NewKID] {
				continue
			}
			seen[c.NewKID] = true
			k, err := e.Ring.Unwrap(ctx, c.NewKID, keyring.Deliver, rotation)
			if err != nil {
				return nil, fmt.Errorf("unwrap new key %s: %w", c.NewKID, err)
			}
			keys = append(keys, Handed{KID: c.NewKID, Key: k, Asset: p.Asset, Scheme: p.Scheme(c.OldKID)})
		}
	}
	return keys, nil
}
