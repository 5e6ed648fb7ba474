package dashboard

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed-6133abe0/rekey/access"
	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/kms"
	"github.com/seed-6133abe0/rekey/store"
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
			a.fail(w, r, err)
			return
		}
		lines = append(lines, KeyLine{rec.KID, rec.StateAt(a.Engine.Clock()), rec.URI, rec.Created, rec.Expires, rec.Tags, rec.KEK})
	}
	answer(w, lines)
}

// key shows a record without the wrapped key: it is no secret, and nobody's
// business either.
func (a *API) key(w http.ResponseWriter, r *http.Request) {
	k, ok := a.kid(w, r)
	if !ok {
		return
	}
	rec, err := a.Engine.Ring.Get(r.Context(), k)
	if err != nil {
		a.fail(w, r, err)
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
	k, ok := a.kid(w, r)
	if !ok || !a.read(w, r, &body) {
		return
	}
	err := body.check()
	if err == nil {
		err = a.ring(r.Context()).SetState(r.Context(), k, body.State, body.Reason)
	}
	if err != nil {
		a.fail(w, r, err)
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

// exportable refuses what keyExport would, in the words of the ring, by which
// [audit.KeyRefuse] is judged.
func (a *API) exportable(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
	k, ok := a.kid(w, r)
	if !ok {
		return nil, false
	}
	e := audit.Record{Action: audit.KeyExport, KID: k.String()}
	rec, err := a.Engine.Ring.Get(r.Context(), k)
	if s := rec.StateAt(a.Engine.Clock()); err == nil && keyring.Allows(s, keyring.Export) != keyring.Always {
		e.Action = audit.KeyRefuse
		err = fmt.Errorf("use %s: %w: %q of a key that is %s", keyring.Export, keyring.ErrForbidden, keyring.Export, s)
	}
	return a.allowed(w, r, e, err)
}

func (a *API) keyExport(w http.ResponseWriter, r *http.Request) {
	k, ok := a.kid(w, r)
	if !ok {
		return
	}
	approval, _ := access.ApprovalFrom(r.Context())
	ring := a.ring(r.Context())
	err := a.record(r, audit.Record{Action: audit.KeyExport, KID: k.String(), Outcome: audit.Allowed, Reason: approved(approval)})
	if err != nil {
		a.fail(w, r, err)
		return
	}
	rec, err := ring.Get(r.Context(), k)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	c, err := ring.Unwrap(r.Context(), k, keyring.Export, "")
	if err != nil {
		a.fail(w, r, err)
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

// keyDestroyable refuses what keyDestroy would.
func (a *API) keyDestroyable(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
	k, ok := a.kid(w, r)
	if !ok {
		return nil, false
	}
	return a.allowed(w, r, audit.Record{Action: audit.KeyDestroy, KID: k.String()}, a.unused(r.Context(), k))
}

// allowed answers a refusal before an approval is used up, and puts it on record.
func (a *API) allowed(w http.ResponseWriter, r *http.Request, e audit.Record, err error) (context.Context, bool) {
	if err == nil {
		return r.Context(), true
	}
	e.Request, e.Outcome = r.Header.Get(access.ApprovalHeader), audit.Refused
	if errors.Is(err, store.ErrUnavailable) || kms.Passes(err) {
		e.Outcome = audit.Failed
	}
	a.fail(w, r, a.because(r, e, err))
	return nil, false
}

// keyDestroy refuses while an asset depends on the key, or may.
func (a *API) keyDestroy(w http.ResponseWriter, r *http.Request) {
	k, ok := a.kid(w, r)
	if !ok {
		return
	}
	approval, _ := access.ApprovalFrom(r.Context())
	err := a.unused(r.Context(), k)
	if err == nil {
		err = a.ring(r.Context()).Destroy(r.Context(), k, approved(approval))
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]any{"kid": k, "state": keyring.Destroyed})
}

// unused is an error while the key may not be destroyed: it goes by a scan that began
// after the key left use.
func (a *API) unused(ctx context.Context, k key.KID) error {
	rec, err := a.Engine.Ring.Get(ctx, k)
	s := rec.StateAt(a.Engine.Clock())
	switch {
	case err != nil:
	case s != keyring.Destroyed && !slices.Contains(keyring.Transitions(s), keyring.Destroyed):
		err = fmt.Errorf("%w: from %s to %s", keyring.ErrTransition, s, keyring.Destroyed)
	default:
		err = a.Engine.Index().CheckUnused(ctx, k, rec.LeftUse(a.Engine.Clock()))
	}
	if err == nil {
		err = a.unplanned(ctx, k)
	}
	if err != nil {
		return fmt.Errorf("destroy key %s: %w", k, err)
	}
	return nil
}

// unplanned fails for a key that a rotation rotates or has made, and is not over.
func (a *API) unplanned(ctx context.Context, k key.KID) error {
	id, err := a.Engine.Journal().Using(ctx, k, a.Engine.Clock())
	if err == nil && id != "" {
		err = fmt.Errorf("%w: rotation %s is not over", catalog.ErrInUse, id)
	}
	return err
}

// KEKs uses KEKs, describes them and ends them. The providers of package kms do,
// with their errors.
type KEKs interface {
	kms.Wrapper
	Describe(ctx context.Context, kek string) (kms.Description, error)
	ScheduleDestruction(ctx context.Context, kek string) (time.Time, error)
}

func (a *API) keks(w http.ResponseWriter, r *http.Request) {
	choices, err := a.Engine.Ring.KEKs(r.Context())
	if err != nil {
		a.fail(w, r, err)
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

// kekDestroyable refuses what kekDestroy would.
func (a *API) kekDestroyable(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
	kek := kekOf(r)
	return a.allowed(w, r, audit.Record{Action: audit.KEKDestroy, Object: kek}, a.kekUnused(r.Context(), kek))
}

func (a *API) kekUnused(ctx context.Context, kek string) error {
	inUse, err := a.Engine.Ring.KEK(ctx)
	n := 0
	if err == nil {
		n, err = a.Engine.Ring.UnderKEK(ctx, kek)
	}
	var d kms.Description
	if err == nil {
		d, err = a.KEKs.Describe(ctx, kek)
	}
	switch {
	case err != nil:
	case d.State == kms.KEKDestroyed:
		err = fmt.Errorf("%w: it is destroyed", kms.ErrDisabled)
	case kek == inUse:
		err = fmt.Errorf("%w: new keys are wrapped under it", keyring.ErrKEKInUse)
	case n > 0:
		err = fmt.Errorf("%w: %d keys and secrets are under it, or may be", keyring.ErrKEKInUse, n)
	}
	if err != nil {
		return fmt.Errorf("destroy KEK: %w", err)
	}
	return nil
}

// kekDestroy schedules the end of a KEK that nothing is under.
func (a *API) kekDestroy(w http.ResponseWriter, r *http.Request) {
	approval, _ := access.ApprovalFrom(r.Context())
	due, err := a.ring(r.Context()).DestroyKEK(r.Context(), a.KEKs, kekOf(r), approved(approval))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer(w, map[string]any{"kek": kekOf(r), "destroys": due})
}
