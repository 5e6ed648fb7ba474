package rotation

import (
	"context"
	"encoding/json"
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
	OlderThan keyring.Age `yaml:"older_than"`
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

// tickRecord says who has a tick and what came of it.
type tickRecord struct {
	Owner string    `json:"owner"`
	Taken time.Time `json:"taken"`
	// Outcome is the rotation that was started, or why none was; empty while
	// the owner is at it.
	Outcome string `json:"outcome,omitempty"`
}

func tickKey(policy string, nominal time.Time) string {
	return "ticks/" + policy + "/" + nominal.UTC().Format(time.RFC3339)
}

// TakeTick decides which scheduler runs a tick: the one that creates its
// record, which may take it again until it has finished it. ErrTaken for every
// other.
func (e *Engine) TakeTick(ctx context.Context, policy string, nominal time.Time) error {
	k := tickKey(policy, nominal)
	err := e.putTick(ctx, k, tickRecord{Owner: e.Owner, Taken: e.Clock().UTC()}, store.PutOptions{CreateOnly: true})
	if errors.Is(err, store.ErrPrecondition) {
		var r tickRecord
		if r, _, err = e.readTick(ctx, k); err == nil && (r.Owner != e.Owner || r.Outcome != "") {
			err = ErrTaken
		}
	}
	if err != nil {
		return fmt.Errorf("take tick %s: %w", k, err)
	}
	return nil
}

// FinishTick records what came of a tick that this engine took.
func (e *Engine) FinishTick(ctx context.Context, policy string, nominal time.Time, outcome string) error {
	k := tickKey(policy, nominal)
	r, etag, err := e.readTick(ctx, k)
	if err != nil {
		return err
	}
	r.Outcome = outcome
	return e.putTick(ctx, k, r, store.PutOptions{IfMatch: etag})
}

func (e *Engine) readTick(ctx context.Context, k string) (tickRecord, string, error) {
	var r tickRecord
	b, info, err := store.ReadAll(ctx, e.Control, k, "", 1<<16, nil)
	if err != nil {
		return r, "", err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, "", fmt.Errorf("read %s: %w: %w", k, journal.ErrCorrupt, err)
	}
	return r, info.ETag, nil
}

func (e *Engine) putTick(ctx context.Context, k string, r tickRecord, o store.PutOptions) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", k, err)
	}
	_, err = e.Control.Put(ctx, k, b, o)
	return err
}

// OlderThan lists the active keys created before now minus age, and those that
// have expired, that assets depend on.
func (e *Engine) OlderThan(ctx context.Context, age time.Duration) ([]key.KID, error) {
	if _, err := e.Index().Scanned(ctx); err != nil {
		return nil, err
	}
	now := e.Clock()
	before := now.Add(-age)
	var kids []key.KID
	for rec, err := range e.Ring.List(ctx) {
		if err != nil {
			return nil, err
		}
		// An expired key goes along in every planned run while anything is under it.
		old := rec.State == keyring.Active && !rec.Created.After(before)
		if !old && !(rec.Expired(now) && (rec.State == keyring.Active || rec.State == keyring.Deactivated)) {
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

// StartPlanned plans a scheduled run over every key older than age, with the
// request's reason and options; ErrNothing where there is none.
func (e *Engine) StartPlanned(ctx context.Context, age time.Duration, r Request) (Planned, error) {
	kids, err := e.OlderThan(ctx, age)
	if err != nil {
		return Planned{}, err
	}
	if len(kids) == 0 {
		return Planned{}, fmt.Errorf("plan run over keys older than %s: %w", age, ErrNothing)
	}
	r.Kind, r.KIDs = journal.Scheduled, kids
	return e.Start(ctx, r)
}
