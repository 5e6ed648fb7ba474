package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/keyring/backup"
)

// NewBackup is a backup that is asked for.
type NewBackup struct {
	Threshold int         `json:"threshold"`
	Holders   []NewHolder `json:"holders"`
	Comment   string      `json:"comment,omitempty"`
	// SkipUnreadable leaves out what cannot be read. Zero: there is no backup then.
	SkipUnreadable bool `json:"skip_unreadable,omitempty"`
}

// NewHolder is one of a backup to be.
type NewHolder struct {
	Name string `json:"name"`
	Key  string `json:"key"` // the public one, in PEM
}

// MadeBackup is a backup that was made: the file, and the secret of its second
// factor, which are kept nowhere here.
type MadeBackup struct {
	Backup    string   `json:"backup"` // the fingerprint
	Entries   uint64   `json:"entries"`
	Skipped   []string `json:"skipped,omitempty"` // objects that could not be read
	File      []byte   `json:"file"`
	Enrolment string   `json:"enrolment"` // an otpauth URL
}

// options reads who is to hold a backup's shares.
func (b NewBackup) options() (backup.Options, error) {
	o := backup.Options{Threshold: b.Threshold, Tool: "rekey", Comment: b.Comment}
	for _, h := range b.Holders {
		k, err := backup.ParsePublicKey([]byte(h.Key))
		if err != nil {
			return o, fmt.Errorf("%w: holder %q: %w", access.ErrInvalid, h.Name, err)
		}
		o.Holders = append(o.Holders, backup.Holder{Name: h.Name, Key: k})
	}
	if err := o.Check(); err != nil {
		return o, fmt.Errorf("%w: %w", access.ErrInvalid, err)
	}
	return o, nil
}

// newBackup reads a request's body, and leaves it to be read again.
func newBackup(r *http.Request) (NewBackup, backup.Options, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(text))
	var b NewBackup
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		err = d.Decode(&b)
	}
	if err != nil {
		return b, backup.Options{}, fmt.Errorf("%w: read request: %w", access.ErrInvalid, err)
	}
	o, err := b.options()
	return b, o, err
}

// backupSubject binds an approval to who can open the backup, in words that the
// approver reads.
func (a *API) backupSubject(r *http.Request) (access.Subject, error) {
	_, o, err := newBackup(r)
	if err != nil {
		return access.Subject{}, err
	}
	terms := o.Terms()
	return access.Subject{Object: terms, Digest: backup.TermsDigest(terms)}, nil
}

// backupable refuses a backup that could not be made of what stands, before that
// costs the approval.
func (a *API) backupable(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
	b, _, err := newBackup(r)
	if err == nil && !b.SkipUnreadable {
		for _, lerr := range a.Engine.Ring.List(r.Context()) {
			if lerr != nil {
				err = fmt.Errorf("back up keys: %w", lerr)
				break
			}
		}
	}
	return a.allowed(w, r, audit.Record{Action: audit.KeyBackup}, err)
}

// backup makes one of all keys.
func (a *API) backup(w http.ResponseWriter, r *http.Request) {
	approval, _ := access.ApprovalFrom(r.Context())
	why := approved(approval)
	b, o, err := newBackup(r)
	e := audit.Record{Action: audit.KeyBackup, Request: approval.Request.ID, Object: approval.Request.Subject.Object, Outcome: audit.Allowed, Reason: why}
	if err == nil {
		err = a.record(r, e)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	o.Created = a.Engine.Clock().UTC()
	var file bytes.Buffer
	var skipped []string
	made, err := backup.Write(&file, entries(r.Context(), a.ring(r.Context()), why, b.SkipUnreadable, &skipped), o)
	if err != nil {
		e.Outcome = audit.Failed
		a.fail(w, r, a.because(r, e, err))
		return
	}
	e.Object, e.Outcome = made.Header.Fingerprint(), "done"
	if n := len(skipped); n > 0 {
		e.Reason = fmt.Sprintf("%d left out, since they cannot be read: %s", n, why)
	}
	if err := a.record(r, e); err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, MadeBackup{made.Header.Fingerprint(), made.Summary.Entries, skipped, file.Bytes(), made.Enrolment.RevealURL()})
}

// entries are a ring's copies as a backup takes them.
func entries(ctx context.Context, ring *keyring.Ring, reason string, skip bool, skipped *[]string) iter.Seq2[backup.Entry, error] {
	var leave func(string, error)
	if skip {
		leave = func(object string, _ error) { *skipped = append(*skipped, object) }
	}
	return func(yield func(backup.Entry, error) bool) {
		for c, err := range ring.CopiesBut(ctx, reason, leave) {
			if !yield(backup.Entry(c), err) || err != nil {
				return
			}
		}
	}
}
