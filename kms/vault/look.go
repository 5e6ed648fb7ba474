package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-6133abe0/rekey/kms"
)

// keyType is the one type of KEKs and markers.
const keyType = "aes256-gcm96"

// errOtherKey: there is a key of that name, which is no KEK.
var errOtherKey = errors.New("not a KEK")

// keyInfo is what of a key's description is read.
type keyInfo struct {
	Type        string `json:"type"`
	Derived     bool   `json:"derived"`
	Exportable  bool   `json:"exportable"`
	PlainBackup bool   `json:"allow_plaintext_backup"`
	SoftDeleted bool   `json:"soft_deleted"` // OpenBao's
	// The oldest version that decrypts, and the oldest that was not trimmed off.
	MinDecryption int `json:"min_decryption_version"`
	MinAvailable  int `json:"min_available_version"`
	// Keys are the times of creation of the versions from MinDecryption on, in
	// seconds of the Unix epoch.
	Keys map[string]int64 `json:"keys"`
	// AutoRotate is auto_rotate_period, in seconds.
	AutoRotate int64 `json:"auto_rotate_period"`
}

// created is when version 1 was made; zero if that is not told.
func (i keyInfo) created() time.Time {
	if s, ok := i.Keys["1"]; ok {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// rotated reports that there is a version beside the first.
func (i keyInfo) rotated() bool {
	for version := range i.Keys {
		if version != "1" {
			return true
		}
	}
	return false
}

// standing is how a KEK stands.
type standing struct {
	state   kms.KEKState
	info    keyInfo
	created time.Time // zero: not known
	due     time.Time // zero: not known, or not to be destroyed
	late    bool      // the date has passed, but the KEK is still there
}

// get reads a key; one that is not there is kms.ErrNotFound. now is the server's
// clock.
func (p *Provider) get(ctx context.Context, t transitKey) (info keyInfo, now time.Time, err error) {
	r, err := p.call(ctx, http.MethodGet, t.path(), nil)
	if err != nil {
		return info, now, err
	}
	if err := r.read(&info); err != nil {
		return info, now, err
	}
	if info.Type != keyType || info.Derived {
		return info, now, fmt.Errorf("%w: %w: type %.40q, derived: %t; want %s", kms.ErrDenied, errOtherKey, info.Type, info.Derived, keyType)
	}
	return info, r.now, nil
}

// mark reads the date that a key's marker gives; ok is false if there is none.
// A marker without a date, as somebody may have made by hand, has a zero due.
func (p *Provider) mark(ctx context.Context, t transitKey) (due, now time.Time, ok bool, err error) {
	info, now, err := p.get(ctx, t.marker())
	if errors.Is(err, kms.ErrNotFound) {
		return due, now, false, nil
	}
	if err != nil {
		return due, now, false, fmt.Errorf("marker %s: %w", t.marker().name, err)
	}
	if made := info.created(); !made.IsZero() && info.AutoRotate > 0 {
		due = made.Add(time.Duration(min(info.AutoRotate, 1<<32)) * time.Second)
	}
	return due, now, true, nil
}

// look says how a KEK stands, and destroys it if it is time. One that left no
// trace is kms.ErrNotFound.
func (p *Provider) look(ctx context.Context, t transitKey) (standing, error) {
	info, _, err := p.get(ctx, t)
	if errors.Is(err, kms.ErrNotFound) {
		due, _, ok, markErr := p.mark(ctx, t)
		switch {
		case markErr != nil:
			return standing{}, markErr
		case ok:
			return standing{state: kms.KEKDestroyed, due: due}, nil
		}
		return standing{}, err
	}
	if err != nil {
		return standing{}, err
	}
	now := standing{state: kms.KEKEnabled, info: info, created: info.created()}
	switch {
	case info.MinAvailable > 1:
		now.state = kms.KEKDestroyed
	case info.MinDecryption > 1:
		now.state = kms.KEKDisabled
		return p.lookPending(ctx, t, now)
	case info.SoftDeleted:
		now.state = kms.KEKDisabled
	}
	return now, nil
}

// lookPending tells what is to be destroyed from what is off.
func (p *Provider) lookPending(ctx context.Context, t transitKey, now standing) (standing, error) {
	due, clock, ok, err := p.mark(ctx, t)
	if err != nil || !ok {
		return now, err
	}
	now.state, now.due = kms.KEKPending, due
	now.late = !due.IsZero() && !clock.Before(due) // an unknown clock is before all
	if !now.late {
		return now, nil
	}
	switch err := p.remove(ctx, t); {
	case errors.Is(err, kms.ErrDenied): // another caller's business
		return now, nil
	case err != nil:
		return now, fmt.Errorf("destroy it, as was due at %s: %w", due.Format(time.RFC3339), err)
	}
	return standing{state: kms.KEKDestroyed, due: due}, nil
}

// remove deletes a key for good.
func (p *Provider) remove(ctx context.Context, t transitKey) error {
	err := p.configure(ctx, t, map[string]any{"deletion_allowed": true})
	if err == nil {
		_, err = p.call(ctx, http.MethodDelete, t.path(), nil)
	}
	if errors.Is(err, kms.ErrNotFound) { // another call was faster
		return nil
	}
	return err
}

func (p *Provider) configure(ctx context.Context, t transitKey, config map[string]any) error {
	_, err := p.call(ctx, http.MethodPost, t.path()+"/config", config)
	return err
}
