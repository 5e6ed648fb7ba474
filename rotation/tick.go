package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/store"
)

// Policy is a planned run: at its cron times, rotate every active key that is
// older than OlderThan.
type Policy struct {
	// Name is part of the tick record's key: letters, digits, - and _.
	Name string `yaml:"name"`
	// Cron is a five-field cron expression, or @daily and the like, in UTC.
	Cron string `yaml:"cron"`
	// OlderThan is a Go duration, or days as in 90d.
	OlderThan Age `yaml:"older_than"`
}

// ErrTaken: another scheduler has that tick.
var ErrTaken = errors.New("tick is taken")

// Nominal is the policy's newest tick at or before now.
func (p Policy) Nominal(now time.Time) (time.Time, error) {
	s, err := cron.ParseStandard(p.Cron)
	if err != nil {
		return time.Time{}, fmt.Errorf("read cron of policy %s: %w", p.Name, err)
	}
	now = now.UTC()
	// The newest tick lies within the longest gap of a cron expression, which
	// is under nine years (29 February); doubling windows finds it in few steps.
	for span := time.Minute; span < 10*366*24*time.Hour; span *= 2 {
		t := s.Next(now.Add(-span))
		if t.IsZero() || t.After(now) {
			continue
		}
		for next := s.Next(t); !next.After(now) && !next.IsZero(); next = s.Next(next) {
			t = next
		}
		return t.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("read cron of policy %s: it has no tick before now", p.Name)
}

// TakeTick decides which scheduler runs a tick: the one that creates its
// record. ErrTaken for every other.
func (e *Engine) TakeTick(ctx context.Context, policy string, nominal time.Time) error {
	k := "ticks/" + policy + "/" + nominal.UTC().Format(time.RFC3339)
	body := fmt.Sprintf("{\"owner\":%q,\"taken\":%q}\n", e.Owner, e.Clock().UTC().Format(time.RFC3339Nano))
	_, err := e.Control.Put(ctx, k, []byte(body), store.PutOptions{CreateOnly: true})
	if errors.Is(err, store.ErrPrecondition) || errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("take tick %s: %w", k, ErrTaken)
	}
	if err != nil {
		return fmt.Errorf("take tick %s: %w", k, err)
	}
	return nil
}

// OlderThan lists the active keys created before now minus age that assets
// depend on.
func (e *Engine) OlderThan(ctx context.Context, age time.Duration) ([]key.KID, error) {
	before := e.Clock().Add(-age)
	var kids []key.KID
	for rec, err := range e.Ring.List(ctx) {
		if err != nil {
			return nil, err
		}
		if rec.State != keyring.Active || rec.Created.After(before) {
			continue
		}
		for _, err := range e.Index().Scope(ctx, rec.KID) {
			if err != nil {
				return nil, err
			}
			kids = append(kids, rec.KID)
			break
		}
	}
	return kids, nil
}

// StartPlanned plans a scheduled run over every key older than age; ErrNothing
// where there is none.
func (e *Engine) StartPlanned(ctx context.Context, age time.Duration, reason string, dryRun bool) (Planned, error) {
	kids, err := e.OlderThan(ctx, age)
	if err != nil {
		return Planned{}, err
	}
	if len(kids) == 0 {
		return Planned{}, fmt.Errorf("plan run over keys older than %s: %w", age, ErrNothing)
	}
	return e.Start(ctx, Request{Kind: journal.Scheduled, KIDs: kids, Reason: reason, DryRun: dryRun})
}
