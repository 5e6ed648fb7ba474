package keyring

import (
	"context"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// SetState moves a key to another state and puts who and why in its history. A
// key that is in that state already stays as it is, and that is no error. A way
// that does not lead there is ErrTransition; so is Destroyed, which has a call of
// its own.
//
// Of two calls at once the second decides again on what the first has left. The
// number of times is bounded (ErrContended). If the store failed in between,
// whether the state has changed is uncertain: call again.
func (r *Ring) SetState(ctx context.Context, kid key.KID, to State, reason string) error {
	e := audit.Record{Action: audit.KeyState, KID: kid.String(), Reason: "to " + string(to)}
	if reason != "" {
		e.Reason += ": " + reason
	}
	err := r.change(ctx, e, kid, func(rec Record, _ *audit.Record) (Event, error) {
		from := rec.StateAt(r.now())
		switch {
		case rec.State == to && from == to:
			return Event{}, errSettled
		case to == Destroyed:
			return Event{}, fmt.Errorf("%w: a key is destroyed by Destroy", ErrTransition)
		case to == Active && rec.Expired(r.now()):
			return Event{}, fmt.Errorf("%w: the key has expired, and does not become active again", ErrTransition)
		case from == to: // what counts already, and was not written down
			return r.event(to, reason, ""), nil
		}
		return r.event(to, reason, ""), checkTransition(from, to)
	})
	if err != nil {
		return fmt.Errorf("set state of key %s: %w", kid, err)
	}
	return nil
}

// Destroy takes the wrapped key out of its record, for good; the record, its
// history and the fingerprint of its value stay. A key that may still protect or
// open media for someone is ErrTransition: deactivate it first. Copies of the
// record in versions that the store keeps, and in backups, are not touched.
func (r *Ring) Destroy(ctx context.Context, kid key.KID, reason string) error {
	e := audit.Record{Action: audit.KeyDestroy, KID: kid.String(), Reason: reason}
	// One whose time is up counts as deactivated; that goes into its history first.
	if rec, _, err := r.read(ctx, kid); err == nil && rec.State == Active && rec.Expired(r.now()) {
		if err := r.Expire(ctx, kid); err != nil {
			return fmt.Errorf("destroy key %s: %w", kid, err)
		}
	}
	err := r.change(ctx, e, kid, func(rec Record, _ *audit.Record) (Event, error) {
		if rec.State == Destroyed {
			return Event{}, errSettled
		}
		return r.event(Destroyed, reason, ""), checkTransition(rec.State, Destroyed)
	})
	if err != nil {
		return fmt.Errorf("destroy key %s: %w", kid, err)
	}
	return nil
}

// reasonExpired marks the event of a key that nobody deactivated.
const reasonExpired = "expired"

// Expire writes down that a key's time is up, which has counted since it was: an
// active key becomes deactivated. Any other is left as it is.
func (r *Ring) Expire(ctx context.Context, kid key.KID) error {
	e := audit.Record{Action: audit.KeyState, KID: kid.String(), Reason: "to " + string(Deactivated) + ": " + reasonExpired}
	err := r.change(ctx, e, kid, func(rec Record, _ *audit.Record) (Event, error) {
		if rec.State != Active || !rec.Expired(r.now()) {
			return Event{}, errSettled
		}
		return r.event(Deactivated, reasonExpired, ""), nil
	})
	if err != nil {
		return fmt.Errorf("expire key %s: %w", kid, err)
	}
	return nil
}
