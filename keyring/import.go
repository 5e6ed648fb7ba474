package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// ImportOptions says more of a key that is imported.
type ImportOptions struct {
	// URI is the HLS key URI the key is known by, absolute or relative to the
	// media root. Zero: none.
	URI string
	// AllowWeak takes known-weak values too: old media may carry such a key,
	// and rekeying it is the cure. Zero: they are ErrWeak.
	AllowWeak bool
}

// Import puts k under kid. If the same key stands there already, created is
// false and err nil, and its state is what it was; a URI is added if it had
// none. Another key, or another URI, is ErrExists. A zero KID or key is
// ErrSyntax, a known-weak one ErrWeak.
func (r *Ring) Import(ctx context.Context, kid key.KID, k key.ContentKey, o ImportOptions) (created bool, err error) {
	e := audit.Record{Action: audit.KeyImport, KID: kid.String()}
	if o.AllowWeak && weak(kid, k) {
		e.Reason = "known-weak value taken on demand"
	}
	created, err = r.importKey(ctx, e, kid, k, o)
	if err != nil {
		return false, fmt.Errorf("import key %s: %w", kid, err)
	}
	return created, nil
}

func (r *Ring) importKey(ctx context.Context, e audit.Record, kid key.KID, k key.ContentKey, o ImportOptions) (bool, error) {
	if err := checkImport(kid, k, o); err != nil {
		return false, r.refuse(ctx, e, err)
	}
	rec, etag, err := r.read(ctx, objectName(kid))
	if errors.Is(err, ErrNotFound) {
		_, err = r.add(ctx, e, k, Record{KID: kid, URI: o.URI, History: []Event{r.event(Active, "imported", "")}})
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, store.ErrPrecondition) {
			return false, err
		}
		// Someone else made it in between.
		rec, etag, err = r.read(ctx, objectName(kid))
	}
	for try := 0; err == nil; try++ {
		var again bool
		if again, err = r.importOver(ctx, e, rec, etag, k, o); !again {
			return false, err
		}
		if try == maxTries {
			return false, fmt.Errorf("%w: %w", ErrContended, err)
		}
		if err = pause(ctx, try); err == nil {
			rec, etag, err = r.read(ctx, objectName(kid))
		}
	}
	return false, r.fail(ctx, e, err)
}

// importOver settles an import where a record stands. again: the record was
// changed meanwhile; read it and come back.
func (r *Ring) importOver(ctx context.Context, e audit.Record, rec Record, etag string, k key.ContentKey, o ImportOptions) (again bool, err error) {
	stands, err := r.open(ctx, rec)
	if err != nil {
		return false, r.fail(ctx, e, err)
	}
	if !stands.Equal(k) {
		return false, r.refuse(ctx, e, ErrExists)
	}
	if o.URI == "" || o.URI == rec.URI {
		return false, r.note(ctx, e, audit.Exists)
	}
	if rec.URI != "" {
		return false, r.refuse(ctx, e, fmt.Errorf("%w: the same key, but with another key URI", ErrExists))
	}
	const reason = "key URI added"
	e.Reason = reason
	if err := r.note(ctx, e, audit.Exists); err != nil {
		return false, err
	}
	if err := r.nameURI(ctx, rec.KID, o.URI); err != nil {
		return false, r.fail(ctx, e, err)
	}
	rec.URI = o.URI
	rec.History = append(rec.History, r.event(rec.State, reason, ""))
	if err := r.replace(ctx, rec, etag); err != nil {
		return lost(err), r.fail(ctx, e, err)
	}
	return false, nil
}

// add wraps k and makes its record, which must not stand yet: else the error is
// store.ErrPrecondition.
func (r *Ring) add(ctx context.Context, e audit.Record, k key.ContentKey, rec Record) (Record, error) {
	if err := r.allow(ctx, e); err != nil {
		return Record{}, err
	}
	wrapped, err := r.wrapper.Wrap(ctx, rec.KID, k)
	if err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	if err := r.nameURI(ctx, rec.KID, rec.URI); err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	rec.State, rec.Created = Active, rec.History[0].Time
	rec.KEK, rec.Wrapped = r.wrapper.ID(), wrapped
	body, err := encodeRecord(rec)
	if err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	if _, err := store.PutOnce(ctx, r.store, objectName(rec.KID), body, recordAttributes()); err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	return rec, nil
}

// open unwraps a record's key.
func (r *Ring) open(ctx context.Context, rec Record) (key.ContentKey, error) {
	if have := r.wrapper.ID(); rec.KEK != have {
		return key.ContentKey{}, fmt.Errorf("%w: under %s, the ring has %s", ErrOtherKEK, rec.KEK, have)
	}
	return r.wrapper.Unwrap(ctx, rec.KID, rec.Wrapped)
}

func checkImport(kid key.KID, k key.ContentKey, o ImportOptions) error {
	switch {
	case kid.IsZero():
		return fmt.Errorf("%w: a KID of zeros names no key", ErrSyntax)
	case k.IsZero():
		return fmt.Errorf("%w: no key given", ErrSyntax)
	case weak(kid, k) && !o.AllowWeak:
		return ErrWeak
	}
	return checkURI(o.URI)
}

// weak reports a value that crypto/rand gives with probability 2^-119: a
// placeholder, a test key, or the KID in the wrong column.
func weak(kid key.KID, k key.ContentKey) bool {
	raw := k.RevealSecretBytes()
	defer clear(raw[:])
	if raw == kid {
		return true
	}
	for _, b := range raw {
		if b != raw[0] {
			return false
		}
	}
	return true
}
