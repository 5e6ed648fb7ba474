package rotation

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
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
	lines, n, err := e.handOverLines(ctx, state.Rotation)
	if err != nil {
		return err
	}
	if n > 0 && e.Receiver == nil {
		clear(lines)
		return fmt.Errorf("hand over new keys of %s, which was started with a receiver: %w", state.Rotation, ErrNoHandover)
	}
	if n > 0 {
		if err := e.Audit.Append(ctx, audit.Record{Action: "key.handover", Rotation: state.Rotation, Outcome: "begin", Reason: fmt.Sprintf("%d keys", n)}); err != nil {
			return err
		}
		err := e.Receiver.Receive(ctx, lines)
		clear(lines)
		if err != nil {
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

func (e *Engine) handOverLines(ctx context.Context, rotation string) ([]byte, int, error) {
	var lines bytes.Buffer
	n := 0
	seen := map[string]bool{}
	for p, err := range e.Journal().Plans(ctx, rotation) {
		if err != nil {
			return nil, 0, err
		}
		for _, c := range p.Keys {
			if p.Refusal != nil || c.Published() || seen[c.NewKID.String()] {
				continue
			}
			seen[c.NewKID.String()] = true
			k, err := e.Ring.Unwrap(ctx, c.NewKID, keyring.Deliver, rotation)
			if err != nil {
				return nil, 0, fmt.Errorf("unwrap new key %s: %w", c.NewKID, err)
			}
			raw := k.RevealSecretBytes()
			lines.WriteString(c.NewKID.String() + ":" + hex.EncodeToString(raw[:]) + "\n")
			clear(raw[:])
			n++
		}
	}
	return lines.Bytes(), n, nil
}
