package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
)

// Unwrap hands out a key for one use, if its state allows that (else
// ErrForbidden; the table is in the package's documentation). That it was
// handed out, and for which rotation, is on the audit log before the key is
// opened. A state that changes after that does not call the key back.
func (r *Ring) Unwrap(ctx context.Context, kid key.KID, use Use, rotation string) (key.ContentKey, error) {
	e := audit.Record{Action: audit.KeyUnwrap, KID: kid.String(), Rotation: rotation, Reason: "use " + string(use)}
	if use == Export {
		e.Action = audit.KeyExport
	}
	k, err := r.unwrap(ctx, e, kid, use)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap key %s: %w", kid, err)
	}
	return k, nil
}

func (r *Ring) unwrap(ctx context.Context, e audit.Record, kid key.KID, use Use) (key.ContentKey, error) {
	rec, err := r.permit(ctx, e, kid, use)
	if err != nil {
		return key.ContentKey{}, err
	}
	if err := r.allow(ctx, e); err != nil {
		return key.ContentKey{}, err
	}
	k, err := r.open(ctx, rec)
	if err != nil {
		return key.ContentKey{}, r.fail(ctx, e, err)
	}
	return k, nil
}

// permit reads a record and asks whether it may be used; what it refuses is on
// record.
func (r *Ring) permit(ctx context.Context, e audit.Record, kid key.KID, use Use) (Record, error) {
	rec, _, err := r.read(ctx, kid)
	if err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	err = r.checkUse(ctx, rec, use, e.Rotation)
	switch {
	case errors.Is(err, ErrForbidden):
		e.Action = audit.KeyRefuse
		return Record{}, r.refuse(ctx, e, err)
	case err != nil:
		return Record{}, r.fail(ctx, e, err)
	}
	return rec, nil
}

// checkUse returns nil, an error of class ErrForbidden, or what kept it from
// knowing.
func (r *Ring) checkUse(ctx context.Context, rec Record, u Use, rotation string) error {
	now := r.now()
	s := rec.StateAt(now)
	switch p := Allows(s, u); {
	case p == Always:
		return nil
	case p == InRotation:
	case u == Encrypt && rotation != "" && rec.Rotation == rotation && rec.lapsed(now):
		return r.mayFinish(ctx, s, rotation)
	default:
		return fmt.Errorf("%w: %q of a key that is %s", ErrForbidden, u, s)
	}
	refused := func(why string) error {
		return fmt.Errorf("%w: %q of a key that is %s: %s", ErrForbidden, u, s, why)
	}
	switch {
	case rotation == "":
		return refused("it needs a rotation named")
	case !r.worker:
		return refused("only a worker may")
	case r.o.Rotations == nil:
		return refused("no rotations are known here")
	}
	opened, err := r.o.Rotations.Opened(ctx, rotation, rec.KID)
	if err != nil {
		return fmt.Errorf("%q of a key that is %s, for rotation %s: %w", u, s, rotation, err)
	}
	if end := opened.Add(r.o.Window); now.After(end) {
		return refused(fmt.Sprintf("rotation %s might until %s", rotation, end.UTC().Format("2006-01-02T15:04:05Z")))
	}
	return nil
}

// mayFinish lets a rotation end what it began to encrypt: under a key that it made
// it encrypts while it is open, though the key's time ran out meanwhile. A
// cryptoperiod bounds how much is protected under a key (SP 800-57 part 1 §5.3.1),
// and what that rotation protects was decided when it began; half an asset under
// the key would be no safer, and could not be ended under any other.
func (r *Ring) mayFinish(ctx context.Context, s State, rotation string) error {
	if r.o.Rotations == nil {
		return fmt.Errorf("%w: %q of a key that is %s: no rotations are known here", ErrForbidden, Encrypt, s)
	}
	if _, err := r.o.Rotations.Opened(ctx, rotation, key.KID{}); err != nil {
		return fmt.Errorf("%q of a key that is %s, for rotation %s: %w", Encrypt, s, rotation, err)
	}
	return nil
}
