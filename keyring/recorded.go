package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
)

// allow puts e on record as about to be done. If that fails nothing may be
// done.
func (r *Ring) allow(ctx context.Context, e audit.Record) error {
	e.Outcome = audit.Allowed
	return r.append(ctx, e)
}

// note puts e on record as needing nothing done.
func (r *Ring) note(ctx context.Context, e audit.Record, outcome string) error {
	e.Outcome = outcome
	return r.append(ctx, e)
}

// refuse puts on record that e was not done because of err, and returns err.
func (r *Ring) refuse(ctx context.Context, e audit.Record, err error) error {
	return r.settle(ctx, e, audit.Refused, err)
}

// fail puts on record that e went wrong because of err, and returns err.
func (r *Ring) fail(ctx context.Context, e audit.Record, err error) error {
	return r.settle(ctx, e, audit.Failed, err)
}

const (
	maxReason  = 2 << 10 // bytes of a cause on record
	settleTime = 10 * time.Second
)

// settle writes even when ctx has ended: what went wrong is on record because
// of that, too.
func (r *Ring) settle(ctx context.Context, e audit.Record, outcome string, err error) error {
	cause := err.Error()
	if len(cause) > maxReason {
		cause = cause[:maxReason]
	}
	if e.Reason != "" {
		e.Reason += ": "
	}
	e.Reason += cause
	e.Outcome = outcome
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if unrecorded := r.append(ctx, e); unrecorded != nil {
		return fmt.Errorf("%w (and this is not on record: %w)", err, unrecorded)
	}
	return err
}
