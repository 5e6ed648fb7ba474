package restore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
)

// Options say how a backup is put back. Fields that say nothing else must be set.
type Options struct {
	Reason string
	// ReplaceCorrupt puts keys back over records that stand and do not decode. The
	// old bytes are kept under corrupt/. Zero: such a key is not restored.
	ReplaceCorrupt bool
	// Control is the store that the ring is in. Zero: it held nothing, and there is
	// nothing to replace.
	Control store.Store
	// Record puts on the audit log that a record is about to be replaced. An error
	// leaves the record as it is.
	Record func(context.Context, audit.Record) error
}

// Name is what an approver is told of a restore: the backup's fingerprint, and that
// it replaces corrupt records where it does.
func Name(fingerprint string, replaceCorrupt bool) string {
	if replaceCorrupt {
		return fingerprint + ", replacing corrupt records"
	}
	return fingerprint
}

// Counts is what a restore came to.
type Counts struct {
	Entries  int // keys and secrets of the backup that stand now
	Created  int // of these were not there, or were replaced
	Replaced int // of these stood in a record that did not decode
	Failed   []Failure
}

// Failure is a key of the backup that was not restored.
type Failure struct {
	KID    key.KID `json:"kid"`
	Reason string  `json:"reason"`
}

// All restores every entry of a backup that is whole. One that cannot be restored is
// in Failed, and the others are. Errors are those of Unlocked.Verify, before
// anything is restored, and what would befall all entries that follow: of ctx, of a
// store or a key service that is out of reach or denies, of the KEK in use, and of a
// log that cannot be written. After one of these some entries stand; All again goes on from there.
func All(ctx context.Context, ring *keyring.Ring, u *backup.Unlocked, body []byte, o Options) (Counts, error) {
	if _, err := u.Verify(bytes.NewReader(body)); err != nil {
		return Counts{}, err
	}
	var done Counts
	for e, err := range u.Entries(bytes.NewReader(body)) {
		if err != nil {
			return done, err
		}
		created, replaced, err := one(ctx, ring, keyring.Copy(e), o)
		switch {
		case err != nil && (general(ctx, err) || kms.OutOfReach(err) && o.inUse(ctx, ring, e, err)):
			return done, err
		case err != nil:
			done.Failed = append(done.Failed, Failure{e.KID, err.Error()})
			continue
		}
		done.Entries++
		if created {
			done.Created++
		}
		if replaced {
			done.Replaced++
		}
	}
	return done, nil
}

// inUse reports an error of the key service that is not of one entry: it is of the
// KEK in use, under which all that follow are wrapped, too. A key or a secret that
// stands may be under another one, which was switched off since; and what does not
// open under its KEK tells of itself alone.
func (o Options) inUse(ctx context.Context, ring *keyring.Ring, e backup.Entry, why error) bool {
	if errors.Is(why, kms.ErrMismatch) {
		return false
	}
	var stands struct {
		KEK string `json:"kek"`
	}
	if o.Control == nil {
		return true
	}
	body, _, err := store.ReadAll(ctx, o.Control, recordName(keyring.Copy(e)), "", maxAside, nil)
	if err == nil {
		err = json.Unmarshal(body, &stands)
	}
	kek := ""
	if err == nil {
		kek, err = ring.KEK(ctx)
	}
	return err != nil || stands.KEK == kek
}

// general reports an error that is not of one key.
func general(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	for _, class := range []error{store.ErrUnavailable, store.ErrDenied, kms.ErrUnavailable, kms.ErrThrottled} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

func one(ctx context.Context, ring *keyring.Ring, c keyring.Copy, o Options) (created, replaced bool, err error) {
	created, err = ring.Restore(ctx, c, o.Reason)
	at, ok := errors.AsType[*keyring.Error](err)
	if !o.ReplaceCorrupt || !ok || !errors.Is(err, keyring.ErrCorrupt) {
		return created, false, err
	}
	if name := recordName(c); at.Object == name {
		if err = o.setAside(ctx, c.KID, name); err == nil {
			created, err = ring.Restore(ctx, c, o.Reason)
		}
		return created, err == nil, err
	}
	return created, false, err
}

// recordName is where the record of a copy stands.
func recordName(c keyring.Copy) string {
	if string(c.Record) == "null" {
		return "secrets/" + c.KID.String() + ".json"
	}
	return "keys/" + c.KID.String() + ".json"
}

const (
	asidePrefix = "corrupt/"
	maxAside    = 16 << 20 // bytes of a record that is kept
)

// setAside keeps the bytes of a record that does not decode under a name that is
// none of a record's, and takes it away. A mark that does not decode either is put
// in its place first, on condition that it is still those bytes: whoever has
// written a good record in between has won.
func (o Options) setAside(ctx context.Context, kid key.KID, name string) error {
	body, info, err := store.ReadAll(ctx, o.Control, name, "", maxAside, nil)
	if err != nil {
		return fmt.Errorf("set aside corrupt record: %w", err)
	}
	sum := sha256.Sum256(body)
	aside := asidePrefix + name + "/" + hex.EncodeToString(sum[:])
	e := audit.Record{Action: audit.KeyRestore, KID: kid.String(), Object: name, Outcome: audit.Allowed, Reason: o.Reason + ": corrupt record is replaced, and kept as " + aside}
	if err := o.Record(ctx, e); err != nil {
		return fmt.Errorf("set aside corrupt record: %w", err)
	}
	_, err = store.PutOnce(ctx, o.Control, aside, body, store.Attributes{ContentType: "application/octet-stream"})
	if err == nil {
		mark := []byte("set aside by a restore " + rand.Text() + "\n")
		_, err = o.Control.Put(ctx, name, mark, store.PutOptions{IfMatch: info.ETag})
	}
	if err == nil {
		err = o.Control.Delete(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("set aside corrupt record: %w", err)
	}
	return nil
}
