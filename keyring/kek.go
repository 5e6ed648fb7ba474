package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/audit/strictjson"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// kekName says which KEK new wraps are under, for all who share the store.
const kekName = "kek.json"

// Choice is one entry of the history of the KEK in use.
type Choice struct {
	KEK    string    `json:"kek"`
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason,omitempty"`
}

// choices is the object kek.json: the KEKs that were in use, oldest first.
type choices struct {
	KEKs []Choice `json:"keks"`
}

// KEK is the id of the KEK that new wraps are under. The first ring of a control
// store puts the one of its options there.
func (r *Ring) KEK(ctx context.Context) (string, error) {
	c, _, err := r.choices(ctx)
	if err != nil {
		return "", err
	}
	return c.current(), nil
}

// KEKs is the history of the KEK in use, oldest first.
func (r *Ring) KEKs(ctx context.Context) ([]Choice, error) {
	c, _, err := r.choices(ctx)
	return c.KEKs, err
}

func (c choices) current() string { return c.KEKs[len(c.KEKs)-1].KEK }

func (r *Ring) choices(ctx context.Context) (choices, string, error) {
	body, info, err := store.ReadAll(ctx, r.o.Store, kekName, "", maxRecord, nil)
	if errors.Is(err, store.ErrNotFound) {
		if err := r.firstKEK(ctx); err != nil {
			return choices{}, "", fmt.Errorf("read %s: %w", kekName, err)
		}
		body, info, err = store.ReadAll(ctx, r.o.Store, kekName, "", maxRecord, nil)
	}
	if err != nil {
		return choices{}, "", fmt.Errorf("read %s: %w", kekName, err)
	}
	c, err := decodeChoices(body)
	return c, info.ETag, err
}

// decodeChoices reads kek.json. Its errors are *Error of class ErrCorrupt.
func decodeChoices(b []byte) (choices, error) {
	var c choices
	if err := strictjson.Decode(b, &c); err != nil {
		return choices{}, corrupt(kekName, -1, err.Error())
	}
	if len(c.KEKs) == 0 || slices.ContainsFunc(c.KEKs, func(c Choice) bool { return c.KEK == "" }) {
		return choices{}, corrupt(kekName, -1, "names no KEK")
	}
	return c, nil
}

func (r *Ring) firstKEK(ctx context.Context) error {
	kek, err := r.o.KEK, error(nil)
	if kek == "" && r.o.FirstKEK != nil {
		if kek, err = r.o.FirstKEK(ctx); err != nil {
			return err
		}
	}
	if kek == "" {
		return fmt.Errorf("%w: the control store names no KEK, and none is configured", ErrNotFound)
	}
	e := audit.Record{Action: audit.KEKCreate, Object: kek, Reason: "first KEK of this store"}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	body, err := r.encodeChoices(choices{}, kek, "first")
	if err != nil {
		return err
	}
	_, err = store.PutOnce(ctx, r.o.Store, kekName, body, recordAttributes())
	if errors.Is(err, store.ErrPrecondition) { // another came first, and its choice counts
		return nil
	}
	return err
}

func (r *Ring) encodeChoices(c choices, kek, reason string) ([]byte, error) {
	c.KEKs = append(c.KEKs, Choice{KEK: kek, Since: r.now(), Actor: r.actor(), Reason: reason})
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kekName, err)
	}
	if len(b) >= maxRecord {
		return nil, fmt.Errorf("encode %s: %w: %d bytes, at most %d", kekName, ErrSyntax, len(b)+1, maxRecord)
	}
	return append(b, '\n'), nil
}

// UseKEK puts new wraps under another KEK, after it was tried. Records stay
// under theirs until RewrapAll. The KEK in use again is no error, also where
// another chose it at the same time. Of two who choose otherwise at once one gets
// store.ErrPrecondition.
func (r *Ring) UseKEK(ctx context.Context, kek, reason string) error {
	e := audit.Record{Action: audit.KEKRotate, Object: kek, Reason: reason}
	if len(reason) > maxReason { // the history is kept for ever, in one object
		return r.refuse(ctx, audit.Record{Action: e.Action, Object: kek}, fmt.Errorf("use KEK %s: %w: a reason longer than %d bytes", kek, ErrSyntax, maxReason))
	}
	if err := r.tryKEK(ctx, kek); err != nil {
		return r.fail(ctx, e, fmt.Errorf("use KEK %s: %w", kek, err))
	}
	c, etag, err := r.choices(ctx)
	if err != nil {
		return r.fail(ctx, e, err)
	}
	if c.current() == kek {
		return r.note(ctx, e, audit.Unchanged)
	}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	body, err := r.encodeChoices(c, kek, reason)
	if err == nil {
		_, err = r.o.Store.Put(ctx, kekName, body, store.PutOptions{IfMatch: etag, Attributes: recordAttributes()})
	}
	if errors.Is(err, store.ErrPrecondition) {
		if now, readErr := r.KEK(ctx); readErr == nil && now == kek {
			return r.note(ctx, e, audit.Unchanged)
		}
	}
	if err != nil {
		return r.fail(ctx, e, fmt.Errorf("use KEK %s: %w", kek, err))
	}
	return nil
}

// wrapInUse wraps under the KEK in use. One that was changed and switched off
// between the two calls is not the KEK in use any more.
func (r *Ring) wrapInUse(ctx context.Context, kid key.KID, k key.ContentKey) (kek string, wrapped []byte, err error) {
	if kek, err = r.KEK(ctx); err != nil {
		return "", nil, err
	}
	wrapped, err = r.o.KMS.Wrap(ctx, kek, kid, k)
	if err != nil && r.replaced(ctx, kek) {
		if kek, err = r.KEK(ctx); err == nil {
			wrapped, err = r.o.KMS.Wrap(ctx, kek, kid, k)
		}
	}
	return kek, wrapped, err
}

// replaced reports whether another KEK is known to be in use.
func (r *Ring) replaced(ctx context.Context, kek string) bool {
	now, err := r.KEK(ctx)
	return err == nil && now != kek
}

// tryKEK wraps a key that is thrown away.
func (r *Ring) tryKEK(ctx context.Context, kek string) error {
	kid, k := key.NewKID(), key.NewContentKey()
	_, err := r.wrapChecked(ctx, kek, kid, k)
	return err
}

// wrapChecked wraps k and opens it again: nothing is kept that does not open.
func (r *Ring) wrapChecked(ctx context.Context, kek string, kid key.KID, k key.ContentKey) ([]byte, error) {
	wrapped, err := r.o.KMS.Wrap(ctx, kek, kid, k)
	if err != nil {
		return nil, err
	}
	back, err := r.o.KMS.Unwrap(ctx, kek, kid, wrapped)
	if err != nil {
		return nil, fmt.Errorf("open what was just wrapped: %w", err)
	}
	if !back.Equal(k) {
		return nil, fmt.Errorf("open what was just wrapped: %w", errOtherKey)
	}
	return wrapped, nil
}
