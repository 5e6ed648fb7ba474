package keyring

import (
	"context"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// SetState moves a key to another state and puts who and why in its history. A
// key that is in that state already stays as it is, and that is no error. A way
// that does not lead there is ErrTransition.
//
// Of two calls at once the second decides again on what the first has left. The
// number of times is bounded (ErrContended). If the store failed in between,
// whether the state has changed is uncertain: call again.
func (r *Ring) SetState(ctx context.Context, kid key.KID, to State, reason string) error {
	e := audit.Record{Action: audit.KeyState, KID: kid.String(), Reason: "to " + string(to)}
	if reason != "" {
		e.Reason += ": " + reason
	}
	if err := r.setState(ctx, e, kid, to, reason); err != nil {
		return fmt.Errorf("set state of key %s: %w", kid, err)
	}
	return nil
}

func (r *Ring) setState(ctx context.Context, e audit.Record, kid key.KID, to State, reason string) error {
	for try := 0; ; try++ {
		rec, etag, err := r.read(ctx, objectName(kid))
		if err != nil {
			return r.fail(ctx, e, err)
		}
		if rec.State == to {
			return r.note(ctx, e, audit.Unchanged)
		}
		if err := checkTransition(rec.State, to); err != nil {
			return r.refuse(ctx, e, err)
		}
		if err := r.allow(ctx, e); err != nil {
			return err
		}
		rec.State = to
		rec.History = append(rec.History, r.event(to, reason, ""))
		if err = r.replace(ctx, rec, etag); err == nil {
			return nil
		}
		if err = r.fail(ctx, e, err); !lost(err) {
			return err
		}
		if try == maxTries {
			return fmt.Errorf("%w: %w", ErrContended, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}
