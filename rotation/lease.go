package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/store"
)

// hold takes the rotation's lease and renews it until release is called. The
// context ends, with ErrLeased as its cause, where the lease is lost.
func (e *Engine) hold(ctx context.Context, id string) (context.Context, func(), error) {
	etag, err := e.take(ctx, id)
	if err != nil {
		return ctx, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	until := e.Clock().Add(e.lease())
	go func() {
		defer close(stopped)
		t := time.NewTicker(e.lease() / 3)
		defer t.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-t.C:
				next, err := e.renew(held, id, etag)
				if passing(err) && e.Clock().Before(until) {
					e.Log.Warn("lease is not renewed yet", "rotation", id, "error", err)
					continue
				}
				if err != nil {
					cancel(fmt.Errorf("%w: %w", ErrLeased, err))
					return
				}
				etag, until = next, e.Clock().Add(e.lease())
			}
		}
	}()
	return held, func() {
		cancel(nil)
		<-stopped
		e.drop(context.WithoutCancel(ctx), id, etag)
	}, nil
}

func (e *Engine) take(ctx context.Context, id string) (string, error) {
	l, etag, err := e.Journal().Lease(ctx, id)
	if err != nil {
		return "", err
	}
	if l.Owner != "" && l.Owner != e.Owner && e.Clock().Before(l.Until) {
		return "", fmt.Errorf("take lease of %s: %w: %s until %s", id, ErrLeased, l.Owner, l.Until.Format(time.RFC3339))
	}
	next, err := e.renew(ctx, id, etag)
	if errors.Is(err, store.ErrPrecondition) {
		return "", fmt.Errorf("take lease of %s: %w", id, ErrLeased)
	}
	return next, err
}

func (e *Engine) renew(ctx context.Context, id, etag string) (string, error) {
	l := journal.Lease{Owner: e.Owner, Until: e.Clock().UTC().Add(e.lease())}
	if err := e.Journal().SetLease(ctx, id, l, etag); err != nil {
		return "", err
	}
	got, next, err := e.Journal().Lease(ctx, id)
	if err == nil && got.Owner != e.Owner {
		err = ErrLeased
	}
	return next, err
}

// drop gives the lease back. Failing is harmless: it runs out.
func (e *Engine) drop(ctx context.Context, id, etag string) {
	l := journal.Lease{Until: e.Clock().UTC()}
	if err := e.Journal().SetLease(ctx, id, l, etag); err != nil {
		e.Log.Warn("lease was not given back; it runs out by itself", "rotation", id, "error", err)
	}
}
