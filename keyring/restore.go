package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// Copy is a key and its record, on the way to a backup or back. It holds the raw
// key.
type Copy struct {
	KID key.KID
	Key key.ContentKey // zero where the key is destroyed
	// Record is the record in JSON, without its wrapped key. Of a secret that is
	// no content key it is null.
	Record json.RawMessage
}

var noRecord = json.RawMessage("null")

// Copies yields every key with its record, and every secret, for a backup,
// whatever a key's state: a
// backup that left compromised keys out could not open the media that is still
// under them. Each is on the audit log before it is opened. The first error ends
// the walk: half a backup is none.
func (r *Ring) Copies(ctx context.Context, reason string) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		for rec, err := range r.List(ctx) {
			var c Copy
			if err == nil {
				c, err = r.copyOut(ctx, rec, reason)
			}
			if err != nil {
				yield(Copy{}, fmt.Errorf("copy keys: %w", err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
		for info, err := range r.o.Store.List(ctx, secretPrefix) {
			var c Copy
			if err == nil {
				c, err = r.copySecret(ctx, info.Key, reason)
			}
			if err != nil {
				yield(Copy{}, fmt.Errorf("copy secrets: %w", err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (r *Ring) copySecret(ctx context.Context, name, reason string) (Copy, error) {
	s, _, err := r.readSecret(ctx, name)
	if err != nil {
		return Copy{}, err
	}
	e := audit.Record{Action: audit.KeyBackup, KID: s.KID.String(), Reason: reason}
	if err := r.allow(ctx, e); err != nil {
		return Copy{}, err
	}
	k, err := r.o.KMS.Unwrap(ctx, s.KEK, bound(s.KID), s.Wrapped)
	if err != nil {
		return Copy{}, r.fail(ctx, e, err)
	}
	return Copy{KID: s.KID, Key: k, Record: noRecord}, nil
}

func (r *Ring) copyOut(ctx context.Context, rec Record, reason string) (Copy, error) {
	c := Copy{KID: rec.KID}
	e := audit.Record{Action: audit.KeyBackup, KID: rec.KID.String(), Reason: reason}
	if err := r.allow(ctx, e); err != nil {
		return Copy{}, err
	}
	var err error
	if rec.State != Destroyed {
		if c.Key, err = r.open(ctx, rec); err != nil {
			return Copy{}, r.fail(ctx, e, err)
		}
	}
	rec.Wrapped, rec.Fingerprint = nil, ""
	c.Record, err = json.Marshal(rec)
	return c, err
}

// Restore puts a copy back, wrapped under the KEK in use; created is false where
// the same key stands already, which is left as it is. Another key under its KID
// is ErrExists. Events that the audit log has of the key and the copy has not are
// taken in: a restored key is in no older state than it was.
func (r *Ring) Restore(ctx context.Context, c Copy, reason string) (created bool, err error) {
	e := audit.Record{Action: audit.KeyRestore, KID: c.KID.String(), Reason: reason}
	created, err = r.restore(ctx, e, c)
	if err != nil {
		return false, fmt.Errorf("restore key %s: %w", c.KID, err)
	}
	return created, nil
}

func (r *Ring) restore(ctx context.Context, e audit.Record, c Copy) (bool, error) {
	if string(c.Record) == string(noRecord) {
		return r.restoreSecret(ctx, e, c)
	}
	var rec Record
	if err := strictjson.Decode(c.Record, &rec); err != nil {
		return false, r.refuse(ctx, e, corrupt("backup", -1, err.Error()))
	}
	rec.Wrapped = []byte{0} // for the check of all else
	if rec.State == Destroyed {
		rec.Wrapped = nil
	}
	reason := rec.fault()
	if rec.KID != c.KID || reason != "" || c.Key.IsZero() != (rec.State == Destroyed) {
		return false, r.refuse(ctx, e, corrupt("backup", -1, "is no copy of the key's record: "+reason))
	}
	stands, _, err := r.read(ctx, c.KID)
	switch {
	case err == nil && rec.State == Destroyed:
		return false, r.note(ctx, e, audit.Exists)
	case err == nil:
		same, err := r.same(ctx, stands, c.Key)
		if err == nil && !same {
			return false, r.refuse(ctx, e, ErrExists)
		}
		if err != nil {
			return false, r.fail(ctx, e, err)
		}
		return false, r.note(ctx, e, audit.Exists)
	case !errors.Is(err, ErrNotFound):
		return false, r.fail(ctx, e, err)
	}
	if err := r.allow(ctx, e); err != nil {
		return false, err
	}
	if rec.State == Destroyed {
		err = r.writeDestroyed(ctx, rec)
	} else {
		err = r.write(ctx, c.Key, &rec)
	}
	if err != nil {
		return false, r.fail(ctx, e, err)
	}
	return true, nil
}

func (r *Ring) restoreSecret(ctx context.Context, e audit.Record, c Copy) (bool, error) {
	if c.KID.IsZero() || c.Key.IsZero() {
		return false, r.refuse(ctx, e, corrupt("backup", -1, "is no copy of a secret"))
	}
	s, _, err := r.readSecret(ctx, secretName(c.KID))
	if errors.Is(err, store.ErrNotFound) {
		if err := r.allow(ctx, e); err != nil {
			return false, err
		}
		if err := r.createSecret(ctx, c.KID, c.Key, e.Reason); err != nil {
			return false, r.fail(ctx, e, err)
		}
		return true, nil
	}
	var stands key.ContentKey
	if err == nil {
		stands, err = r.o.KMS.Unwrap(ctx, s.KEK, bound(c.KID), s.Wrapped)
	}
	switch {
	case err != nil:
		return false, r.fail(ctx, e, err)
	case !stands.Equal(c.Key):
		return false, r.refuse(ctx, e, ErrExists)
	}
	return false, r.note(ctx, e, audit.Exists)
}

// writeDestroyed puts the record of a destroyed key there, which has no key to
// wrap.
func (r *Ring) writeDestroyed(ctx context.Context, rec Record) error {
	if err := r.nameURI(ctx, rec.KID, rec.URI); err != nil {
		return err
	}
	body, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	_, err = store.PutOnce(ctx, r.o.Store, objectName(rec.KID), body, recordAttributes())
	return err
}
