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
	// AllowWeak takes known-weak values too, and values that stand under another
	// KID: old media may carry such a key, and rekeying it is the cure. Zero: they
	// are ErrWeak.
	AllowWeak bool
	// Tags pick the lifetimes that apply.
	Tags []string
	// DRM is what came along with the key.
	DRM []DRM
}

// Import puts k under kid. If the same key stands there already, created is
// false and err nil, and its state is what it was; a URI is added if it had
// none. Another key, or another URI, is ErrExists. A zero KID or key is
// ErrSyntax; a known-weak one, or one that stands under another KID, ErrWeak. A
// key whose record was lost gets back the state that its events beside the audit
// log lead to; if that is destroyed, only its record comes back, and created is
// false.
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
	_, _, err := r.read(ctx, kid)
	if errors.Is(err, ErrNotFound) {
		rec := Record{KID: kid, State: Active, URI: o.URI, Tags: o.Tags, DRM: o.DRM, History: []Event{r.event(Active, "imported", "")}}
		if err = r.checkValue(ctx, &e, kid, k, o.AllowWeak); err != nil {
			return false, err
		}
		if _, err := r.catchUp(ctx, &rec); err != nil {
			return false, r.fail(ctx, e, err)
		}
		_, err = r.add(ctx, e, k, rec)
		if err == nil {
			return rec.State != Destroyed, nil
		}
		if !errors.Is(err, store.ErrPrecondition) {
			return false, err
		}
		// Someone else made it in between.
		err = nil
	}
	if err != nil {
		return false, r.fail(ctx, e, err)
	}
	return false, r.importOver(ctx, e, kid, k, o)
}

// checkValue refuses a value that stands under another KID: with it, rotating
// the one key would leave the other's media open.
func (r *Ring) checkValue(ctx context.Context, e *audit.Record, kid key.KID, k key.ContentKey, allow bool) error {
	print, err := r.fingerprint(ctx, k)
	if err != nil {
		return r.fail(ctx, *e, err)
	}
	twins, err := r.sameValue(ctx, print, kid)
	switch {
	case err != nil:
		return r.fail(ctx, *e, err)
	case len(twins) == 0:
		return nil
	case !allow:
		return r.refuse(ctx, *e, fmt.Errorf("%w: the same value stands under KID %s", ErrWeak, twins[0]))
	}
	e.Reason = fmt.Sprintf("the value of KID %s taken again on demand", twins[0])
	return nil
}

// importOver settles an import where a record stands.
func (r *Ring) importOver(ctx context.Context, e audit.Record, kid key.KID, k key.ContentKey, o ImportOptions) error {
	return r.change(ctx, e, kid, func(rec Record, e *audit.Record) (Event, error) {
		switch same, err := r.same(ctx, rec, k); {
		case err != nil:
			return Event{}, err
		case !same:
			return Event{}, ErrExists
		case o.URI == "" || rec.hasURI(o.URI):
			e.Outcome = audit.Exists
			return Event{}, errSettled
		case rec.URI != "":
			return Event{}, fmt.Errorf("%w: the same key, but with another key URI", ErrExists)
		}
		e.Reason = reasonURI
		return r.addURI(ctx, rec, o.URI)
	})
}

// same compares a key with the one of a record, by fingerprint where that is
// all there is left of it.
func (r *Ring) same(ctx context.Context, rec Record, k key.ContentKey) (bool, error) {
	if rec.Fingerprint != "" {
		print, err := r.fingerprint(ctx, k)
		return print == rec.Fingerprint, err
	}
	stands, err := r.open(ctx, rec)
	return err == nil && stands.Equal(k), err
}

// add wraps k and makes its record, which must not stand yet: else the error is
// store.ErrPrecondition.
func (r *Ring) add(ctx context.Context, e audit.Record, k key.ContentKey, rec Record) (Record, error) {
	if err := r.allow(ctx, e); err != nil {
		return Record{}, err
	}
	if err := r.write(ctx, k, &rec); err != nil {
		return Record{}, r.fail(ctx, e, err)
	}
	return rec, nil
}

// write puts a record there for the first time. Its names go before it, since a
// key without them would be asked for under another KID, or not be found as a
// twin. Of a destroyed key k may be zero.
func (r *Ring) write(ctx context.Context, k key.ContentKey, rec *Record) (err error) {
	if rec.Created.IsZero() {
		rec.Created = rec.History[0].Time
		rec.Expires = expires(r.o.Lifetimes, rec.Tags, rec.Created)
	}
	if !k.IsZero() {
		if rec.Fingerprint, err = r.fingerprint(ctx, k); err != nil {
			return err
		}
	}
	kek, wrapped := "", []byte(nil)
	if rec.State == Destroyed {
		kek, err = r.KEK(ctx)
	} else {
		kek, wrapped, err = r.wrapInUse(ctx, rec.KID, k)
	}
	if err != nil {
		return err
	}
	rec.Wrapped = wrapped
	rec.moveTo(kek) // a copy's record names the KEK that it was under where it came from
	body, err := encodeLiving(*rec)
	if err != nil {
		return err
	}
	if err := r.nameAll(ctx, *rec); err != nil {
		return err
	}
	if _, err := store.PutOnce(ctx, r.o.Store, objectName(rec.KID), body, recordAttributes()); err != nil {
		return err
	}
	return r.followKEK(ctx, k, rec)
}

func (r *Ring) nameAll(ctx context.Context, rec Record) error {
	for _, uri := range rec.uris() {
		if err := r.nameURI(ctx, rec.KID, uri); err != nil {
			return err
		}
	}
	if rec.Fingerprint == "" {
		return nil
	}
	return r.nameValue(ctx, rec)
}

// followKEK moves a record that was written while the KEK in use changed: the
// run of RewrapAll that made the change may have passed by it. The KEK that it is
// under may be off by now, but k is at hand.
func (r *Ring) followKEK(ctx context.Context, k key.ContentKey, rec *Record) error {
	now, err := r.KEK(ctx)
	if err != nil || now == rec.KEK || rec.State == Destroyed {
		return err
	}
	if _, err := r.rewrapKey(ctx, rec.KID, "the KEK in use changed", k); err != nil {
		return err
	}
	*rec, _, err = r.read(ctx, rec.KID)
	return err
}

// open unwraps a record's key. Where another run moves it under another KEK, and
// switches the first one off, between the reading of the record and this, the
// record is read again.
func (r *Ring) open(ctx context.Context, rec Record) (key.ContentKey, error) {
	if rec.State == Destroyed {
		return key.ContentKey{}, fmt.Errorf("%w: the key is destroyed", ErrForbidden)
	}
	k, err := r.o.KMS.Unwrap(ctx, rec.KEK, rec.KID, rec.Wrapped)
	if err == nil {
		return k, nil
	}
	now, _, readErr := r.read(ctx, rec.KID)
	if readErr != nil || now.KEK == rec.KEK || now.State == Destroyed {
		return key.ContentKey{}, err
	}
	return r.o.KMS.Unwrap(ctx, now.KEK, now.KID, now.Wrapped)
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
	return errors.Join(checkURI(o.URI), checkTags(o.Tags))
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
