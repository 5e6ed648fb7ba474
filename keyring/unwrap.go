package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
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
	rec, _, err := r.read(ctx, objectName(kid))
	if err != nil {
		return key.ContentKey{}, r.fail(ctx, e, err)
	}
	if err := checkUse(rec.State, use, e.Rotation); err != nil {
		e.Action = audit.KeyRefuse
		return key.ContentKey{}, r.refuse(ctx, e, err)
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

// WrapKey wraps a 16-byte secret that is no content key, such as a rotation's
// MAC key, for the caller to keep. kid names the secret and must be derived
// from what it belongs to (key.KIDFromURI); the KID of a key record is
// ErrForbidden. On the audit log first.
func (r *Ring) WrapKey(ctx context.Context, kid key.KID, k key.ContentKey, reason string) ([]byte, error) {
	e := audit.Record{Action: audit.KeyWrap, KID: kid.String(), Reason: reason}
	err := r.aside(ctx, e, kid)
	if err != nil {
		return nil, fmt.Errorf("wrap secret %s: %w", kid, err)
	}
	wrapped, err := r.wrapper.Wrap(ctx, kid, k)
	if err != nil {
		return nil, fmt.Errorf("wrap secret %s: %w", kid, r.fail(ctx, e, err))
	}
	return wrapped, nil
}

// UnwrapKey opens what WrapKey made for the same kid. On the audit log first.
func (r *Ring) UnwrapKey(ctx context.Context, kid key.KID, wrapped []byte, reason string) (key.ContentKey, error) {
	e := audit.Record{Action: audit.KeyUnwrap, KID: kid.String(), Reason: reason}
	err := r.aside(ctx, e, kid)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap secret %s: %w", kid, err)
	}
	k, err := r.wrapper.Unwrap(ctx, kid, wrapped)
	if err != nil {
		return key.ContentKey{}, fmt.Errorf("unwrap secret %s: %w", kid, r.fail(ctx, e, err))
	}
	return k, nil
}

// aside allows e only where no key record stands: this way past the table of
// states must not open a content key.
func (r *Ring) aside(ctx context.Context, e audit.Record, kid key.KID) error {
	if kid.IsZero() {
		return r.refuse(ctx, e, fmt.Errorf("%w: a KID of zeros names no secret", ErrSyntax))
	}
	_, err := r.store.Stat(ctx, objectName(kid))
	switch {
	case err == nil:
		return r.refuse(ctx, e, fmt.Errorf("%w: the KID is a content key's", ErrForbidden))
	case !errors.Is(err, store.ErrNotFound):
		return r.fail(ctx, e, err)
	}
	return r.allow(ctx, e)
}
