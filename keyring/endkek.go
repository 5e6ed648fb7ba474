package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

// Ender ends KEKs. The providers of package kms do.
type Ender interface {
	// ScheduleDestruction switches a KEK off, to be destroyed at due.
	ScheduleDestruction(ctx context.Context, kek string) (due time.Time, err error)
}

// DestroyKEK schedules the end of a KEK that nothing is under any more; else, and
// for the one in use, it is ErrKEKInUse. So it is if something came in meanwhile:
// then the end is scheduled, and has to be called back.
func (r *Ring) DestroyKEK(ctx context.Context, s Ender, kek, reason string) (time.Time, error) {
	e := audit.Record{Action: audit.KEKDestroy, Object: kek, Reason: reason}
	if err := r.unused(ctx, kek); err != nil {
		return time.Time{}, r.refuse(ctx, e, fmt.Errorf("destroy KEK: %w", err))
	}
	if err := r.allow(ctx, e); err != nil {
		return time.Time{}, err
	}
	due, err := s.ScheduleDestruction(ctx, kek)
	if err != nil {
		return time.Time{}, r.fail(ctx, e, fmt.Errorf("destroy KEK: %w", err))
	}
	if err := r.unused(ctx, kek); err != nil {
		return due, r.fail(ctx, e, fmt.Errorf("destroy KEK: it ends at %s unless it is enabled again: %w", due.UTC().Format(time.RFC3339), err))
	}
	return due, nil
}
