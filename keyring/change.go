package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// errSettled: there is nothing to change.
var errSettled = errors.New("key record is so already")

// decision looks at a record and says what happens to it, or errSettled, or why
// it may not happen. It may add to the audit record. It is asked again where
// another change came first.
type decision func(rec Record, e *audit.Record) (Event, error)

// change is the one way in which a record that stands gets an event: read,
// decide, on the audit log, anchored, written. Of two at once the second decides again on what
// the first has left, a bounded number of times (ErrContended).
func (r *Ring) change(ctx context.Context, e audit.Record, kid key.KID, decide decision) error {
	for try := 0; ; try++ {
		rec, at, err := r.read(ctx, kid)
		if err != nil {
			return r.fail(ctx, e, err)
		}
		err = r.changeOnce(ctx, e, rec, at, decide)
		if err == nil || !lost(err) {
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

func (r *Ring) changeOnce(ctx context.Context, e audit.Record, rec Record, at stand, decide decision) error {
	ev, err := decide(rec, &e)
	switch {
	case errors.Is(err, errSettled):
		// The event may stand without the record: someone died in between.
		if at.behind > 0 {
			if err := r.replace(ctx, rec, at.etag); err != nil {
				return r.fail(ctx, e, err)
			}
		}
		if e.Outcome == "" {
			e.Outcome = audit.Unchanged
		}
		return r.note(ctx, e, e.Outcome)
	case err != nil:
		return r.refuse(ctx, e, err)
	}
	return r.enter(ctx, e, rec, at, ev)
}

// enter makes ev the next event of a record. What a record cannot hold is not
// anchored: the event would count, and could never be written down.
func (r *Ring) enter(ctx context.Context, e audit.Record, rec Record, at stand, ev Event) error {
	rec.apply(ev)
	if _, err := encodeLiving(rec); err != nil {
		return r.refuse(ctx, e, err)
	}
	e.StateVersion, e.State = len(rec.History), string(ev.State)
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	err := r.nameURI(ctx, rec.KID, ev.URI)
	if err == nil {
		err = r.anchor(ctx, rec.KID, len(rec.History), ev)
	}
	if err == nil {
		// The event counts from here on, whatever comes of the record: no failure
		// may name it on the log.
		e.StateVersion, e.State = 0, ""
		err = r.replace(ctx, rec, at.etag)
	}
	if err != nil {
		return r.fail(ctx, e, err)
	}
	return nil
}
