package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// secretPrefix holds 16-byte secrets that are no content keys, such as the MAC
// keys of rotations, wrapped as keys are: secrets/<kid>.json.
const secretPrefix = "secrets/"

// secret is how one stands in the store.
type secret struct {
	KID     key.KID `json:"kid"`
	KEK     string  `json:"kek"`
	Wrapped []byte  `json:"wrapped"`
}

// bound is the KID that a secret is wrapped for: another than its name, so that
// the wrapped bytes of a content key, put in a secret's place, do not open.
func bound(kid key.KID) key.KID { return key.KIDFromURI("rekey:secret:" + kid.String()) }

func secretName(kid key.KID) string { return secretPrefix + kid.String() + suffix }

// CreateSecret makes a random secret under a name, or leaves the one that stands
// there. kid must be derived from what the secret belongs to (key.KIDFromURI). On
// the audit log first.
func (r *Ring) CreateSecret(ctx context.Context, kid key.KID, reason string) error {
	e := audit.Record{Action: audit.KeyWrap, KID: kid.String(), Reason: reason}
	if kid.IsZero() {
		return r.refuse(ctx, e, fmt.Errorf("create secret: %w: a KID of zeros names no secret", ErrSyntax))
	}
	_, err := r.o.Store.Stat(ctx, secretName(kid))
	if err == nil {
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return r.fail(ctx, e, fmt.Errorf("create secret %s: %w", kid, err))
	}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	err = r.createSecret(ctx, kid, key.NewContentKey(), reason)
	if err != nil && !errors.Is(err, store.ErrPrecondition) { // then another made it first
		return r.fail(ctx, e, fmt.Errorf("create secret %s: %w", kid, err))
	}
	return nil
}

// createSecret is store.ErrPrecondition where one stands already.
func (r *Ring) createSecret(ctx context.Context, kid key.KID, k key.ContentKey, reason string) error {
	kek, wrapped, err := r.wrapInUse(ctx, bound(kid), k)
	if err != nil {
		return err
	}
	body, err := json.Marshal(secret{kid, kek, wrapped})
	if err != nil {
		return err
	}
	if _, err = store.PutOnce(ctx, r.o.Store, secretName(kid), append(body, '\n'), recordAttributes()); err != nil {
		return err
	}
	now, err := r.KEK(ctx)
	if err != nil || now == kek {
		return err
	}
	// The KEK in use changed while this was written: follow it, as followKEK does.
	_, err = r.rewrapSecret(ctx, secretName(kid), reason, k)
	return err
}

// OpenSecret opens what CreateSecret made: ErrNotFound where there is none. On
// the audit log first.
func (r *Ring) OpenSecret(ctx context.Context, kid key.KID, reason string) (key.ContentKey, error) {
	e := audit.Record{Action: audit.KeyUnwrap, KID: kid.String(), Reason: reason}
	if err := r.allow(ctx, e); err != nil {
		return key.ContentKey{}, err
	}
	s, _, err := r.readSecret(ctx, secretName(kid))
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	var k key.ContentKey
	if err == nil {
		k, err = r.openSecret(ctx, s)
	}
	if err != nil {
		return key.ContentKey{}, r.fail(ctx, e, fmt.Errorf("open secret %s: %w", kid, err))
	}
	return k, nil
}

func (r *Ring) readSecret(ctx context.Context, name string) (secret, string, error) {
	kid, err := secretOfName(name)
	if err != nil {
		return secret{}, "", err
	}
	body, info, err := store.ReadAll(ctx, r.o.Store, name, "", maxRecord, nil)
	if err != nil {
		return secret{}, "", err
	}
	s, err := decodeSecret(name, body)
	if err == nil && s.KID != kid {
		err = corrupt(name, -1, "is not the secret of this name")
	}
	return s, info.ETag, err
}

// decodeSecret reads the secret that stands under name. Its errors are *Error of
// class ErrCorrupt.
func decodeSecret(name string, b []byte) (secret, error) {
	var s secret
	if err := strictjson.Decode(b, &s); err != nil {
		return secret{}, corrupt(name, -1, err.Error())
	}
	if s.KEK == "" || len(s.Wrapped) == 0 {
		return secret{}, corrupt(name, -1, "is no secret")
	}
	return s, nil
}

// openSecret unwraps a secret; as open does, it looks again where that fails.
func (r *Ring) openSecret(ctx context.Context, s secret) (key.ContentKey, error) {
	k, err := r.o.KMS.Unwrap(ctx, s.KEK, bound(s.KID), s.Wrapped)
	if err == nil {
		return k, nil
	}
	now, _, readErr := r.readSecret(ctx, secretName(s.KID))
	if readErr != nil || now.KEK == s.KEK {
		return key.ContentKey{}, err
	}
	return r.o.KMS.Unwrap(ctx, now.KEK, bound(now.KID), now.Wrapped)
}

// rewrapSecret puts one secret under the KEK in use; moved is 1 if it was not
// there yet. Where the caller has it at hand it need not be opened.
func (r *Ring) rewrapSecret(ctx context.Context, name, reason string, k key.ContentKey) (moved int, err error) {
	return follow(ctx, func() (bool, error) {
		kek, err := r.KEK(ctx)
		if err != nil {
			return false, err
		}
		s, etag, err := r.readSecret(ctx, name)
		if err != nil || s.KEK == kek {
			return err == nil, err
		}
		e := audit.Record{Action: audit.KeyRewrap, KID: s.KID.String(), Object: kek, Reason: reason}
		if err := r.allow(ctx, e); err != nil {
			return false, err
		}
		if k.IsZero() {
			if k, err = r.openSecret(ctx, s); err != nil {
				return false, r.fail(ctx, e, fmt.Errorf("open under %s: %w", s.KEK, err))
			}
		}
		s.Wrapped, err = r.wrapChecked(ctx, kek, bound(s.KID), k)
		if err != nil && r.replaced(ctx, kek) {
			return false, errOtherKEK
		}
		if err != nil {
			return false, r.fail(ctx, e, fmt.Errorf("wrap under %s: %w", kek, err))
		}
		s.KEK = kek
		body, err := json.Marshal(s)
		if err == nil {
			_, err = r.o.Store.Put(ctx, name, append(body, '\n'), store.PutOptions{IfMatch: etag, Attributes: recordAttributes()})
		}
		if err != nil {
			return false, r.fail(ctx, e, err)
		}
		return false, nil
	})
}

// secretOfName is the name's KID.
func secretOfName(name string) (key.KID, error) {
	kid, err := key.ParseKID(strings.TrimSuffix(strings.TrimPrefix(name, secretPrefix), suffix))
	if err != nil || secretName(kid) != name {
		return key.KID{}, corrupt(name, -1, "is not named as a secret")
	}
	return kid, nil
}
