package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Rewrapped counts what RewrapAll came to.
type Rewrapped struct {
	KEK     string `json:"kek"`     // the one in use
	Keys    int    `json:"keys"`    // records that are under it now
	Moved   int    `json:"moved"`   // of them, those that this run wrapped
	Secrets int    `json:"secrets"` // other secrets, such as MAC keys of rotations
}

// RewrapAll wraps every record and secret that is under another KEK under the one
// in use, each opened again and compared before it is written (SP 800-57 part 1
// §8.2.1.2: keys stay available). What is under it already is left alone, so a
// run that was broken off goes on where it was. It ends with a listing that
// found nothing left; ErrContended if others kept wrapping under another KEK.
//
// seen, if not nil, hears of each record or secret that is settled.
func (r *Ring) RewrapAll(ctx context.Context, reason string, seen func()) (Rewrapped, error) {
	if seen == nil {
		seen = func() {}
	}
	kek, err := r.KEK(ctx)
	if err != nil {
		return Rewrapped{}, fmt.Errorf("rewrap keys: %w", err)
	}
	var total Rewrapped
	for range maxTries {
		pass := Rewrapped{KEK: kek}
		if err := r.rewrapPass(ctx, kek, reason, &pass, seen); err != nil {
			total.Moved += pass.Moved
			return total, fmt.Errorf("rewrap keys: %w", err)
		}
		moved := pass.Moved
		pass.Moved += total.Moved
		total = pass
		if moved == 0 {
			return total, nil
		}
	}
	return total, fmt.Errorf("rewrap keys: %w", ErrContended)
}

func (r *Ring) rewrapPass(ctx context.Context, kek, reason string, n *Rewrapped, seen func()) error {
	for rec, err := range r.List(ctx) {
		if err != nil {
			return err
		}
		moved, err := r.rewrapKey(ctx, rec.KID, kek, reason)
		if err != nil {
			return fmt.Errorf("key %s: %w", rec.KID, err)
		}
		n.Keys++
		n.Moved += moved
		seen()
	}
	for info, err := range r.o.Store.List(ctx, secretPrefix) {
		if err != nil {
			return fmt.Errorf("list secrets: %w", err)
		}
		moved, err := r.rewrapSecret(ctx, info.Key, kek, reason)
		if err != nil {
			return fmt.Errorf("secret %s: %w", info.Key, err)
		}
		n.Secrets++
		n.Moved += moved
		seen()
	}
	return nil
}

// rewrapKey moves one record under kek; 1 if it was not there yet. A destroyed
// key has nothing to move.
func (r *Ring) rewrapKey(ctx context.Context, kid key.KID, kek, reason string) (int, error) {
	e := audit.Record{Action: audit.KeyRewrap, KID: kid.String(), Object: kek, Reason: reason}
	for try := 0; ; try++ {
		rec, at, err := r.read(ctx, kid)
		if err != nil {
			return 0, r.fail(ctx, e, err)
		}
		if rec.KEK == kek || rec.State == Destroyed {
			return 0, nil
		}
		if err := r.allow(ctx, e); err != nil {
			return 0, err
		}
		if rec.Wrapped, err = r.move(ctx, rec.KEK, kek, kid, rec.Wrapped); err != nil {
			return 0, r.fail(ctx, e, err)
		}
		if !slices.Contains(rec.KEKs, rec.KEK) {
			rec.KEKs = append(rec.KEKs, rec.KEK)
		}
		rec.KEK = kek
		if err = r.replace(ctx, rec, at.etag); err == nil {
			return 1, nil
		}
		if err = r.fail(ctx, e, err); !lost(err) {
			return 0, err
		}
		if try == maxTries {
			return 0, fmt.Errorf("%w: %w", ErrContended, err)
		}
		if err := pause(ctx, try); err != nil {
			return 0, err
		}
	}
}

// move opens wrapped bytes under one KEK and wraps them under another.
func (r *Ring) move(ctx context.Context, from, to string, kid key.KID, wrapped []byte) ([]byte, error) {
	k, err := r.o.KMS.Unwrap(ctx, from, kid, wrapped)
	if err != nil {
		return nil, fmt.Errorf("open under %s: %w", from, err)
	}
	out, err := r.wrapChecked(ctx, to, kid, k)
	if err != nil {
		return nil, fmt.Errorf("wrap under %s: %w", to, err)
	}
	return out, nil
}

// UnderKEK counts the records and secrets that are under a KEK, those that
// cannot be read among them: they may be.
func (r *Ring) UnderKEK(ctx context.Context, kek string) (n int, err error) {
	for rec, err := range r.List(ctx) {
		switch {
		case errors.Is(err, ErrCorrupt) || err == nil && rec.KEK == kek && rec.State != Destroyed:
			n++
		case err != nil:
			return n, err
		}
	}
	for info, err := range r.o.Store.List(ctx, secretPrefix) {
		if err != nil {
			return n, fmt.Errorf("list secrets: %w", err)
		}
		s, _, err := r.readSecret(ctx, info.Key)
		switch {
		case errors.Is(err, ErrCorrupt) || err == nil && s.KEK == kek:
			n++
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return n, err
		}
	}
	return n, nil
}

// Switch turns KEKs off and on. The providers of package kms do.
type Switch interface {
	// Disable returns nil once no use of the KEK works.
	Disable(ctx context.Context, kek string) error
	// Enable returns nil once a use works.
	Enable(ctx context.Context, kek string) error
}

// DisableKEK switches off a KEK that nothing is under any more; else, and for the
// one in use, it is ErrKEKInUse: what is under a disabled KEK can be read by
// nobody, and media under it is lost for good when it is destroyed. After it is
// off the store is looked through again; if something came in meanwhile the KEK
// is switched on again, and the error says so.
func (r *Ring) DisableKEK(ctx context.Context, s Switch, kek, reason string) error {
	e := audit.Record{Action: audit.KEKDisable, Object: kek, Reason: reason}
	if err := r.unused(ctx, kek); err != nil {
		return r.refuse(ctx, e, fmt.Errorf("disable KEK: %w", err))
	}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	if err := s.Disable(ctx, kek); err != nil {
		return r.fail(ctx, e, fmt.Errorf("disable KEK: %w", err))
	}
	err := r.unused(ctx, kek)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("disable KEK: %w", err)
	if back := s.Enable(ctx, kek); back != nil {
		err = fmt.Errorf("%w; and it could not be enabled again: %w", err, back)
	} else {
		err = fmt.Errorf("%w; it is enabled again: run kek rotate again", err)
	}
	return r.fail(ctx, e, err)
}

func (r *Ring) unused(ctx context.Context, kek string) error {
	now, err := r.KEK(ctx)
	if err != nil {
		return err
	}
	if now == kek {
		return fmt.Errorf("%w: %s is the one that new keys are wrapped under", ErrKEKInUse, kek)
	}
	n, err := r.UnderKEK(ctx, kek)
	if err == nil && n > 0 {
		err = fmt.Errorf("%w: %d keys and secrets are under %s, or cannot be read", ErrKEKInUse, n, kek)
	}
	return err
}

// secretOfName is the name's KID.
func secretOfName(name string) (key.KID, error) {
	kid, err := key.ParseKID(strings.TrimSuffix(strings.TrimPrefix(name, secretPrefix), suffix))
	if err != nil || secretName(kid) != name {
		return key.KID{}, corrupt(name, -1, "is not named as a secret")
	}
	return kid, nil
}
