package dashboard

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
)

// KeyLine is one key in the list.
type KeyLine struct {
	KID     key.KID       `json:"kid"`
	State   keyring.State `json:"state"`
	URI     string        `json:"uri,omitempty"`
	Created time.Time     `json:"created"`
	Expires time.Time     `json:"expires,omitzero"`
	Tags    []string      `json:"tags,omitempty"`
	KEK     string        `json:"kek"`
}

func (a *API) keys(w http.ResponseWriter, r *http.Request) {
	lines := []KeyLine{}
	for rec, err := range a.Engine.Ring.List(r.Context()) {
		if err != nil {
			fail(w, err)
			return
		}
		lines = append(lines, KeyLine{rec.KID, rec.StateAt(a.Engine.Clock()), rec.URI, rec.Created, rec.Expires, rec.Tags, rec.KEK})
	}
	answer(w, lines)
}

// key shows a record without the wrapped key: it is no secret, and nobody's
// business either.
func (a *API) key(w http.ResponseWriter, r *http.Request) {
	k, ok := kid(w, r)
	if !ok {
		return
	}
	rec, err := a.Engine.Ring.Get(r.Context(), k)
	if err != nil {
		fail(w, err)
		return
	}
	rec.Wrapped = nil
	answer(w, rec)
}

func (a *API) keyState(w http.ResponseWriter, r *http.Request) {
	var body struct {
		State keyring.State `json:"state"`
		reason
	}
	k, ok := kid(w, r)
	if !ok || !read(w, r, &body) {
		return
	}
	err := body.check()
	if err == nil {
		err = a.ring(r.Context()).SetState(r.Context(), k, body.State, body.Reason)
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, map[string]any{"kid": k, "state": body.State})
}

// Exported is a key in the clear.
type Exported struct {
	KID    key.KID `json:"kid"`
	Key    string  `json:"key"` // 32 hex digits
	URI    string  `json:"uri,omitempty"`
	Scheme string  `json:"scheme,omitempty"`
}

func (a *API) keyExport(w http.ResponseWriter, r *http.Request) {
	k, ok := kid(w, r)
	if !ok {
		return
	}
	approval, _ := access.ApprovalFrom(r.Context())
	ring := a.ring(r.Context())
	err := a.record(r, audit.Record{Action: audit.KeyExport, KID: k.String(), Outcome: audit.Allowed, Reason: approved(approval)})
	if err != nil {
		fail(w, err)
		return
	}
	rec, err := ring.Get(r.Context(), k)
	if err != nil {
		fail(w, err)
		return
	}
	c, err := ring.Unwrap(r.Context(), k, keyring.Export, "")
	if err != nil {
		fail(w, err)
		return
	}
	raw := c.RevealSecretBytes()
	defer clear(raw[:])
	answer(w, Exported{k, hex.EncodeToString(raw[:]), rec.URI, rec.Scheme})
}

// approved is a reason that names who agreed.
func approved(a access.Approval) string {
	return fmt.Sprintf("%s (request %s, approved by %s)", a.Request.Reason, a.Request.ID, a.Approver.Person)
}

// record puts something on the log in the name of who asked.
func (a *API) record(r *http.Request, e audit.Record) error {
	c, _ := access.CallerFrom(r.Context())
	return a.Audit.Append(r.Context(), c.Record(e))
}

// keyDestroy refuses while an asset depends on the key, or may.
func (a *API) keyDestroy(w http.ResponseWriter, r *http.Request) {
	k, ok := kid(w, r)
	if !ok {
		return
	}
	approval, _ := access.ApprovalFrom(r.Context())
	err := a.unused(r.Context(), k)
	if err == nil {
		err = a.ring(r.Context()).Destroy(r.Context(), k, approved(approval))
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, map[string]any{"kid": k, "state": keyring.Destroyed})
}

// unused goes by a scan that began after the key left use.
func (a *API) unused(ctx context.Context, k key.KID) error {
	rec, err := a.Engine.Ring.Get(ctx, k)
	if err == nil {
		err = a.Engine.Index().CheckUnused(ctx, k, rec.LeftUse(a.Engine.Clock()))
	}
	if err != nil {
		return fmt.Errorf("destroy key %s: %w", k, err)
	}
	return nil
}

// KEKs describes KEKs and ends them. The providers of package kms do, with their
// errors.
type KEKs interface {
	Describe(ctx context.Context, kek string) (kms.Description, error)
	ScheduleDestruction(ctx context.Context, kek string) (time.Time, error)
}

func (a *API) keks(w http.ResponseWriter, r *http.Request) {
	choices, err := a.Engine.Ring.KEKs(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	out := []kms.Description{}
	for _, c := range choices {
		d, err := a.KEKs.Describe(r.Context(), c.KEK)
		if err != nil {
			d = kms.Description{KEK: c.KEK}
		}
		out = append(out, d)
	}
	answer(w, out)
}

// kekOf is the KEK that a request is about: ids hold slashes, so it is in the
// query.
func kekOf(r *http.Request) string { return r.URL.Query().Get("kek") }

func (a *API) kekSubject(r *http.Request) (access.Subject, error) {
	if kekOf(r) == "" {
		return access.Subject{}, fmt.Errorf("%w: no kek in the query", access.ErrInvalid)
	}
	return access.Subject{KEK: kekOf(r)}, nil
}

// kekDestroy schedules the end of a KEK that nothing is under.
func (a *API) kekDestroy(w http.ResponseWriter, r *http.Request) {
	approval, _ := access.ApprovalFrom(r.Context())
	due, err := a.ring(r.Context()).DestroyKEK(r.Context(), a.KEKs, kekOf(r), approved(approval))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, map[string]any{"kek": kekOf(r), "destroys": due})
}
