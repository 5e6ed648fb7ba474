package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

// Switch turns KEKs off and on. The providers of package kms do.
type Switch interface {
	// Disable returns nil once no use of the KEK works, and ErrKEKInUse where it is
	// known that other control stores use it.
	Disable(ctx context.Context, kek string) error
	// Enable returns nil once a use works.
	Enable(ctx context.Context, kek string) error
}

// enableTime bounds how long a KEK is tried to be switched on again.
const enableTime = 5 * time.Minute

// DisableKEK switches off a KEK that nothing is under any more; else, and for the
// one in use, it is ErrKEKInUse: what is under a disabled KEK can be read by
// nobody, and media under it is lost for good when it is destroyed. After it is
// off the store is looked through again; if something came in meanwhile, or that
// cannot be told, the KEK is switched on again, and the error says so. Only this
// control store is looked through; of others the key service knows, or nobody.
func (r *Ring) DisableKEK(ctx context.Context, s Switch, kek, reason string) error {
	e := audit.Record{Action: audit.KEKDisable, Object: kek, Reason: reason}
	left, err := r.unused(ctx, kek, nil)
	if err != nil {
		return r.refuse(ctx, e, fmt.Errorf("disable KEK: %w", err))
	}
	if err := r.noteLeft(ctx, e, left); err != nil {
		return err
	}
	if err := r.allow(ctx, e); err != nil {
		return err
	}
	off := s.Disable(ctx, kek)
	if off != nil && !errors.Is(off, ErrKEKInUse) {
		return r.fail(ctx, e, fmt.Errorf("disable KEK: %w", off))
	}
	_, err = r.unused(ctx, kek, left)
	if err == nil && off == nil {
		return nil
	}
	if err == nil { // but others use it
		return r.fail(ctx, e, fmt.Errorf("disable KEK: %w", off))
	}
	err = fmt.Errorf("disable KEK: %w", err)
	// Also when ctx has ended: it must not stay off with keys under it.
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), enableTime)
	defer cancel()
	if back := s.Enable(again, kek); back != nil {
		err = fmt.Errorf("%w; and it could not be enabled again: %w", err, back)
	} else {
		err = fmt.Errorf("%w; it is enabled again: run kek rotate again", err)
	}
	return r.fail(ctx, e, err)
}

// Ender ends KEKs. The providers of package kms do.
type Ender interface {
	// ScheduleDestruction switches a KEK off, to be destroyed at due; ErrKEKInUse
	// where it is known that other control stores use it.
	ScheduleDestruction(ctx context.Context, kek string) (due time.Time, err error)
}

// DestroyKEK schedules the end of a KEK that nothing is under any more; else, and
// for the one in use, it is ErrKEKInUse. So it is if something came in meanwhile:
// then the end is scheduled, and has to be called back.
func (r *Ring) DestroyKEK(ctx context.Context, s Ender, kek, reason string) (time.Time, error) {
	e := audit.Record{Action: audit.KEKDestroy, Object: kek, Reason: reason}
	left, err := r.unused(ctx, kek, nil)
	if err != nil {
		return time.Time{}, r.refuse(ctx, e, fmt.Errorf("destroy KEK: %w", err))
	}
	if err := r.noteLeft(ctx, e, left); err != nil {
		return time.Time{}, err
	}
	if err := r.allow(ctx, e); err != nil {
		return time.Time{}, err
	}
	due, err := s.ScheduleDestruction(ctx, kek)
	if err != nil {
		return time.Time{}, r.fail(ctx, e, fmt.Errorf("destroy KEK: %w", err))
	}
	if _, err := r.unused(ctx, kek, left); err != nil {
		return due, r.fail(ctx, e, fmt.Errorf("destroy KEK: it ends at %s unless it is enabled again: %w", due.UTC().Format(time.RFC3339), err))
	}
	return due, nil
}
