package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// StateAudit holds the events of key records against the audit log, which tells
// what they were: whoever puts an old copy of key records and their anchors back,
// or writes a state into a record, would otherwise bring a key back. An event is
// on the log before it is anchored; so the anchors are listed before the log is
// read, and what the log has then and the list has not is looked for again.
type StateAudit struct {
	store  store.Reader
	stands map[key.KID]map[int]bool
	logged map[key.KID]map[int]loggedEvent
	found  []audit.Finding
	settle time.Duration // how long a change that is under way gets to anchor its event
}

// loggedEvent is what the log says of one event: of two writers at once one lost,
// and which of them is not on the log.
type loggedEvent struct {
	states []State
	failed int // of those who tried, how many say that it went wrong
}

// missing reports that the event should stand, for all that the log says.
func (e loggedEvent) missing() bool { return e.failed < len(e.states) }

// BeginStateAudit lists the anchors. After it the log's records are to be read and
// given to Add, then Check. Errors are the store's.
func BeginStateAudit(ctx context.Context, s store.Reader) (*StateAudit, error) {
	a := &StateAudit{store: s, stands: map[key.KID]map[int]bool{}, logged: map[key.KID]map[int]loggedEvent{}, settle: 2 * time.Second}
	for info, err := range s.List(ctx, anchorPrefix) {
		if err != nil {
			return nil, fmt.Errorf("check states of keys: %w", err)
		}
		kid, n, err := anchorOfName(info.Key)
		if err != nil {
			a.add(audit.Inserted, info.Key, err.Error())
			continue
		}
		if a.stands[kid] == nil {
			a.stands[kid] = map[int]bool{}
		}
		a.stands[kid][n] = true
	}
	return a, nil
}

func (a *StateAudit) add(kind audit.FindingKind, object, reason string) {
	a.found = append(a.found, audit.Finding{Kind: kind, Object: object, Reason: reason})
}

// Add takes a record of the log, in the order of its stream.
func (a *StateAudit) Add(r audit.Record) {
	kid, err := key.ParseKID(r.KID)
	if err != nil || r.StateVersion < 2 || r.Outcome != audit.Allowed && r.Outcome != audit.Failed {
		return
	}
	if a.logged[kid] == nil {
		a.logged[kid] = map[int]loggedEvent{}
	}
	e := a.logged[kid][r.StateVersion]
	if r.Outcome == audit.Failed {
		e.failed++
	} else {
		e.states = append(e.states, State(r.State))
	}
	a.logged[kid][r.StateVersion] = e
}

// Check looks at every anchored event and every key record. An event that is on
// the log, and not in the store, may also be one that a crash broke off: the change
// is then made again. An error is the store's, or ctx's.
func (a *StateAudit) Check(ctx context.Context) ([]audit.Finding, error) {
	for _, step := range []func(context.Context) error{a.anchors, a.missing, a.records} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("check states of keys: %w", err)
		}
	}
	slices.SortStableFunc(a.found, func(a, b audit.Finding) int { return strings.Compare(a.Object, b.Object) })
	return a.found, nil
}

// anchors holds each anchored event against the log.
func (a *StateAudit) anchors(ctx context.Context) error {
	for kid, events := range a.stands {
		for n := range events {
			name := anchorName(kid, n)
			ev, err := readEvent(ctx, a.store, name)
			logged, known := a.logged[kid][n]
			switch {
			case errors.Is(err, store.ErrNotFound): // listed, and gone: the log knows it
			case errors.Is(err, ErrCorrupt):
				a.add(audit.Changed, name, err.Error())
			case err != nil:
				return err
			case !known:
				a.add(audit.Inserted, name, "the log has no such event of the key")
			case !slices.Contains(logged.states, ev.State) && !slices.Contains(logged.states, ""):
				a.add(audit.Changed, name, fmt.Sprintf("the key enters %q; on the log it is %q", ev.State, logged.states))
			}
		}
	}
	return nil
}

// missing looks for the events that are on the log and were not listed.
func (a *StateAudit) missing(ctx context.Context) error {
	waited := false
	for kid, events := range a.logged {
		for n, e := range events {
			if a.stands[kid][n] || !e.missing() {
				continue
			}
			name := anchorName(kid, n)
			_, err := readEvent(ctx, a.store, name)
			if errors.Is(err, store.ErrNotFound) && !waited {
				waited = true
				if err := wait(ctx, a.settle); err != nil {
					return err
				}
				_, err = readEvent(ctx, a.store, name)
			}
			switch {
			case errors.Is(err, store.ErrNotFound):
				a.add(audit.Removed, name, fmt.Sprintf("the log has the key enter %q there: it may be back in an old state, unless a crash broke the change off", e.states))
			case errors.Is(err, ErrCorrupt):
				a.add(audit.Changed, name, err.Error())
			case err != nil:
				return err
			}
		}
	}
	return nil
}

// records holds the events that key records have of themselves against the
// anchors, which are what counts.
func (a *StateAudit) records(ctx context.Context) error {
	for info, err := range a.store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		body, _, err := store.ReadAll(ctx, a.store, info.Key, "", maxRecord, nil)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		rec, err := decodeRecord(info.Key, body)
		if err != nil {
			continue // no event is read out of it; listing the keys names it
		}
		for n := 2; n <= len(rec.History); n++ {
			ev, err := readEvent(ctx, a.store, anchorName(rec.KID, n))
			switch {
			case errors.Is(err, store.ErrNotFound) && !a.logged[rec.KID][n].missing():
				a.add(audit.Changed, info.Key, fmt.Sprintf("has an event %d that nobody anchored", n))
			case errors.Is(err, store.ErrNotFound), errors.Is(err, ErrCorrupt): // told of already
			case err != nil:
				return err
			case !ev.same(rec.History[n-1]):
				a.add(audit.Changed, info.Key, fmt.Sprintf("its event %d is not the one that is anchored", n))
			}
		}
	}
	return nil
}

// readEvent reads an anchored event: ErrCorrupt, or the store's errors.
func readEvent(ctx context.Context, s store.Reader, name string) (Event, error) {
	body, _, err := store.ReadAll(ctx, s, name, "", maxAnchor, nil)
	if err != nil {
		return Event{}, err
	}
	return decodeEvent(name, body)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
