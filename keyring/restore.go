package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

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

const noRecord = "null"

// Copies yields every key with its record, and every secret, for a backup,
// whatever a key's state: a backup that left compromised keys out could not open
// the media that is still under them. Each is on the audit log before it is
// opened. The first error ends the walk: half a backup is none. The secret of the
// fingerprints is left out: each store has its own, and they are made again.
func (r *Ring) Copies(ctx context.Context, reason string) iter.Seq2[Copy, error] {
	return r.CopiesBut(ctx, reason, nil)
}

// CopiesBut is Copies past what cannot be read and will not be: a record or secret
// that does not decode, a wrapped key that was damaged, or whose KEK is gone. Each
// is on the audit log, and skipped is told the object and why. A nil skipped skips
// nothing.
func (r *Ring) CopiesBut(ctx context.Context, reason string, skipped func(object string, err error)) iter.Seq2[Copy, error] {
	skip := func(name string, err error) error {
		if err == nil || skipped == nil || !unreadable(err) {
			return err
		}
		name = objectOf(err, name)
		e := audit.Record{Action: audit.KeyBackup, Object: name, Reason: "left out of a backup: " + err.Error()}
		if err := r.note(ctx, e, audit.Failed); err != nil {
			return err
		}
		skipped(name, err)
		return errLeft
	}
	return func(yield func(Copy, error) bool) {
		for rec, err := range r.List(ctx) {
			var c Copy
			if err == nil {
				c, err = r.copyOut(ctx, rec, reason)
			}
			if err = skip(objectName(rec.KID), err); errors.Is(err, errLeft) {
				continue
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
			if err == nil && info.Key == secretName(valuesKID()) {
				continue
			}
			var c Copy
			if err == nil {
				c, err = r.copySecret(ctx, info.Key, reason)
			}
			if err = skip(info.Key, err); errors.Is(err, errLeft) {
				continue
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
	k, err := r.openSecret(ctx, s)
	if err != nil {
		return Copy{}, r.fail(ctx, e, err)
	}
	return Copy{KID: s.KID, Key: k, Record: json.RawMessage(noRecord)}, nil
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
// is ErrExists. Events that stand beside the audit log and the copy has not are
// taken in: a restored key is in no older state than it was. Those that only the
// copy has are anchored.
func (r *Ring) Restore(ctx context.Context, c Copy, reason string) (created bool, err error) {
	e := audit.Record{Action: audit.KeyRestore, KID: c.KID.String(), Reason: reason}
	if string(c.Record) == noRecord {
		created, err = r.restoreSecret(ctx, e, c)
	} else {
		created, err = r.restore(ctx, e, c)
	}
	if err != nil {
		return false, fmt.Errorf("restore key %s: %w", c.KID, err)
	}
	return created, nil
}

func (r *Ring) restore(ctx context.Context, e audit.Record, c Copy) (bool, error) {
	rec, err := c.record()
	if err != nil {
		return false, r.refuse(ctx, e, err)
	}
	_, _, err = r.read(ctx, c.KID)
	if errors.Is(err, ErrNotFound) {
		if err := r.allow(ctx, e); err != nil {
			return false, err
		}
		err = r.mergeEvents(ctx, e, &rec)
		if err == nil {
			err = r.write(ctx, c.Key, &rec)
		}
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, store.ErrPrecondition) {
			return false, r.fail(ctx, e, err)
		}
		err = nil // someone else made it in between
	}
	if err != nil {
		return false, r.fail(ctx, e, err)
	}
	return false, r.restoreOver(ctx, e, c)
}

// restoreOver settles a restore where a record stands.
func (r *Ring) restoreOver(ctx context.Context, e audit.Record, c Copy) error {
	stands, _, err := r.read(ctx, c.KID)
	gone := stands.State == Destroyed && stands.Fingerprint == ""
	same := gone || c.Key.IsZero() // there is nothing to compare
	if err == nil && !same {
		same, err = r.same(ctx, stands, c.Key)
	}
	switch {
	case err != nil:
		return r.fail(ctx, e, err)
	case !same:
		return r.refuse(ctx, e, ErrExists)
	}
	return r.note(ctx, e, audit.Exists)
}

// record reads the record of a copy. Its errors are *Error of class ErrCorrupt.
func (c Copy) record() (Record, error) {
	var rec Record
	if err := strictjson.Decode(c.Record, &rec); err != nil {
		return Record{}, corrupt("backup", -1, err.Error())
	}
	rec.Wrapped, rec.Fingerprint = []byte{0}, "" // for the check of all else
	if rec.State == Destroyed {
		rec.Wrapped = nil
	}
	reason := rec.fault()
	if reason == "" && (rec.KID != c.KID || rec.KID.IsZero() || c.Key.IsZero() != (rec.State == Destroyed)) {
		reason = "it is of another key"
	}
	if reason != "" {
		return Record{}, corrupt("backup", -1, "is no copy of the key's record: "+reason)
	}
	return rec, nil
}

// mergeEvents makes the history of a copy one with the events that stand: those
// of them that the copy lacks are taken in, those that only the copy has are
// anchored. Where the two tell different stories the standing one counts, and the
// copy's end is put behind it if a key does not come back from there.
func (r *Ring) mergeEvents(ctx context.Context, e audit.Record, rec *Record) error {
	told := rec.History
	rec.History, rec.State = []Event{told[0]}, told[0].State
	if _, err := r.catchUp(ctx, rec); err != nil {
		return err
	}
	n := len(rec.History)
	common := min(n, len(told))
	end := told[len(told)-1]
	var more []Event
	switch {
	case slices.EqualFunc(rec.History[:common], told[:common], Event.same):
		more = told[common:]
	case slices.Contains(transitions[rec.State], end.State) && end.State != Active && end.State != Suspended:
		more = []Event{end}
	case end.State == Destroyed && (rec.State == Active || rec.State == Suspended):
		more = []Event{r.event(Deactivated, "restored as destroyed", ""), end}
	}
	for _, ev := range more {
		n := len(rec.History) + 1
		e.StateVersion, e.State = n, string(ev.State)
		if err := r.allow(ctx, e); err != nil {
			return err
		}
		body, err := encodeEvent(ev)
		if err == nil {
			_, err = store.PutOnce(ctx, r.o.Store, anchorName(rec.KID, n), body, recordAttributes())
		}
		if err != nil {
			return r.fail(ctx, e, fmt.Errorf("anchor event: %w", err))
		}
		rec.apply(ev)
	}
	return nil
}

func (r *Ring) restoreSecret(ctx context.Context, e audit.Record, c Copy) (bool, error) {
	if c.KID.IsZero() || c.Key.IsZero() {
		return false, r.refuse(ctx, e, corrupt("backup", -1, "is no copy of a secret"))
	}
	if c.KID == valuesKID() {
		return false, r.note(ctx, e, audit.Unchanged)
	}
	s, _, err := r.readSecret(ctx, secretName(c.KID))
	if errors.Is(err, store.ErrNotFound) {
		if err := r.allow(ctx, e); err != nil {
			return false, err
		}
		err = r.createSecret(ctx, c.KID, c.Key, e.Reason)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, store.ErrPrecondition) {
			return false, r.fail(ctx, e, err)
		}
		s, _, err = r.readSecret(ctx, secretName(c.KID)) // someone else made it in between
	}
	var stands key.ContentKey
	if err == nil {
		stands, err = r.openSecret(ctx, s)
	}
	switch {
	case err != nil:
		return false, r.fail(ctx, e, err)
	case !stands.Equal(c.Key):
		return false, r.refuse(ctx, e, ErrExists)
	}
	return false, r.note(ctx, e, audit.Exists)
}
