package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/kms"
)

// Create makes a key called name in the mount and waits until it works. The names
// of destroyed KEKs are taken. Two calls at the same time are told apart by the
// server's warning that the key was there, which old servers do not give.
func (p *Provider) Create(ctx context.Context, name string) (string, error) {
	if err := kms.CheckName(name); err != nil {
		return "", fmt.Errorf("create KEK: %w", err)
	}
	t := transitKey{p.o.Mount, name}
	if !keyName.MatchString(name) {
		return "", fmt.Errorf("create KEK: %w: transit takes no name that begins or ends with '-': %q", kms.ErrDenied, name)
	}
	if err := p.create(ctx, t); err != nil {
		return "", fmt.Errorf("create KEK %s: %w", t.kek(), err)
	}
	return t.kek(), nil
}

func (p *Provider) create(ctx context.Context, t transitKey) error {
	switch _, err := p.look(ctx, t); {
	case err == nil:
		return kms.ErrExists
	case errors.Is(err, errOtherKey):
		return fmt.Errorf("%w: %s", kms.ErrExists, err.Error())
	case !errors.Is(err, kms.ErrNotFound):
		return err
	}
	r, err := p.call(ctx, http.MethodPost, t.path(), map[string]any{"type": keyType})
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		if strings.Contains(w, "already existed") {
			return kms.ErrExists
		}
	}
	info, _, err := p.get(ctx, t)
	if err != nil {
		return err
	}
	if info.Exportable || info.PlainBackup {
		return fmt.Errorf("%w: the server made a key that can leave it", kms.ErrDenied)
	}
	return p.proveOn(ctx, t)
}

// Describe says how the KEK stands, and destroys it if it is time. Name is the
// key's.
func (p *Provider) Describe(ctx context.Context, kek string) (kms.Description, error) {
	t, err := parseKEK(p.o.Mount, kek)
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK: %w", err)
	}
	now, err := p.look(ctx, t)
	if err != nil {
		return kms.Description{}, fmt.Errorf("describe KEK %s: %w", kek, err)
	}
	return kms.Description{KEK: kek, Name: t.name, State: now.state, Created: now.created, Destroys: now.due}, nil
}

// Disable switches the KEK off and waits until that is seen; see the package
// comment. One that is to be destroyed stays so. One that is destroyed is
// kms.ErrDisabled.
func (p *Provider) Disable(ctx context.Context, kek string) error {
	t, err := parseKEK(p.o.Mount, kek)
	if err != nil {
		return fmt.Errorf("disable KEK: %w", err)
	}
	now, err := p.alive(ctx, t)
	if err == nil {
		err = p.disable(ctx, t, now)
	}
	if err == nil {
		err = p.proveOff(ctx, t, true)
	}
	if err != nil {
		return fmt.Errorf("disable KEK %s: %w", kek, err)
	}
	return nil
}

// disable raises the floor above version 1. A marker of a KEK that is on was left
// by a race of ScheduleDestruction and Enable: it must not give its date to what
// comes.
func (p *Provider) disable(ctx context.Context, t transitKey, now standing) error {
	if now.info.MinDecryption > 1 {
		return nil
	}
	if _, _, ok, err := p.mark(ctx, t); err != nil {
		return err
	} else if ok {
		if err := p.remove(ctx, t.marker()); err != nil {
			return err
		}
	}
	if !now.info.rotated() {
		if _, err := p.call(ctx, http.MethodPost, t.path()+"/rotate", struct{}{}); err != nil {
			return err
		}
	}
	return p.configure(ctx, t, map[string]any{"min_decryption_version": 2, "min_encryption_version": 2})
}

// Enable switches the KEK on, calling back its destruction first, and waits until
// a use works. One that is destroyed, or whose date has passed, is
// kms.ErrDisabled.
func (p *Provider) Enable(ctx context.Context, kek string) error {
	t, err := parseKEK(p.o.Mount, kek)
	if err != nil {
		return fmt.Errorf("enable KEK: %w", err)
	}
	if err := p.enable(ctx, t); err != nil {
		return fmt.Errorf("enable KEK %s: %w", kek, err)
	}
	return nil
}

func (p *Provider) enable(ctx context.Context, t transitKey) error {
	now, err := p.alive(ctx, t)
	if err != nil {
		return err
	}
	if now.info.SoftDeleted {
		return fmt.Errorf("%w: it was soft-deleted by hand, and is to be restored by hand", kms.ErrDisabled)
	}
	if now.state == kms.KEKPending { // first: an error leaves it off
		if err := p.remove(ctx, t.marker()); err != nil {
			return err
		}
	}
	if now.state != kms.KEKEnabled {
		if err := p.configure(ctx, t, map[string]any{"min_decryption_version": 1, "min_encryption_version": 0}); err != nil {
			return err
		}
	}
	return p.proveOn(ctx, t)
}

// ScheduleDestruction switches the KEK off and marks it to be destroyed after
// Options.DestroyAfter; one that is to be destroyed already keeps its date. A
// caller who may mark but not switch can do so once it is off.
func (p *Provider) ScheduleDestruction(ctx context.Context, kek string) (time.Time, error) {
	t, err := parseKEK(p.o.Mount, kek)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK: %w", err)
	}
	due, err := p.schedule(ctx, t)
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule destruction of KEK %s: %w", kek, err)
	}
	return due, nil
}

func (p *Provider) schedule(ctx context.Context, t transitKey) (time.Time, error) {
	now, err := p.alive(ctx, t)
	if err != nil {
		return time.Time{}, err
	}
	on := now.info.MinDecryption <= 1 // or soft-deleted alone
	if err := p.disable(ctx, t, now); err != nil {
		return time.Time{}, err
	}
	if err := p.proveOff(ctx, t, on); err != nil { // whoever switched it off before has proved decrypting
		return time.Time{}, err
	}
	if now.state != kms.KEKPending {
		if _, err := p.call(ctx, http.MethodPost, t.marker().path(), map[string]any{
			"type":               keyType,
			"auto_rotate_period": fmt.Sprintf("%ds", int64(p.o.DestroyAfter/time.Second)),
		}); err != nil {
			return time.Time{}, err
		}
	}
	due, _, ok, err := p.mark(ctx, t)
	if err != nil {
		return time.Time{}, err
	}
	if !ok || due.IsZero() {
		return time.Time{}, fmt.Errorf("%w: it is off, but the key %s gives no date", kms.ErrUnavailable, t.marker().name)
	}
	return due, nil
}

// alive is look, but for KEKs that cannot be switched: those that are gone, or
// should be.
func (p *Provider) alive(ctx context.Context, t transitKey) (standing, error) {
	now, err := p.look(ctx, t)
	switch {
	case err != nil:
		return now, err
	case now.state == kms.KEKDestroyed:
		return now, fmt.Errorf("%w: it is destroyed", kms.ErrDisabled)
	case now.late:
		return now, fmt.Errorf("%w: it was to be destroyed at %s", kms.ErrDisabled, now.due.Format(time.RFC3339))
	}
	return now, nil
}
