package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// StateAudit holds the events of key records against the audit log, which tells
// what they were: whoever puts an old copy of key records and their anchors back
// would otherwise bring an old state back.
type StateAudit struct {
	logged map[key.KID]map[int]loggedEvent
}

// loggedEvent is what the log says of one event: of two writers at once one lost,
// and which of them is not on the log.
type loggedEvent struct {
	states []State
	failed int // of those who tried, how many say that it went wrong
}

// NewStateAudit returns one that has seen no record.
func NewStateAudit() *StateAudit {
	return &StateAudit{logged: map[key.KID]map[int]loggedEvent{}}
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

// Check looks at the anchored events in the store. An event that is on the log,
// and not in the store, may also be one that a crash broke off: the change is then
// made again. An error is the store's.
func (a *StateAudit) Check(ctx context.Context, s store.Reader) (findings []audit.Finding, err error) {
	stands := map[key.KID]map[int]bool{}
	for info, err := range s.List(ctx, anchorPrefix) {
		if err != nil {
			return nil, fmt.Errorf("check states of keys: %w", err)
		}
		kid, n, err := anchorOfName(info.Key)
		if err != nil {
			findings = append(findings, audit.Finding{Kind: audit.Inserted, Object: info.Key, Reason: err.Error()})
			continue
		}
		if stands[kid] == nil {
			stands[kid] = map[int]bool{}
		}
		stands[kid][n] = true
		f, err := a.event(ctx, s, kid, n)
		if err != nil {
			return nil, fmt.Errorf("check states of keys: %w", err)
		}
		findings = append(findings, f...)
	}
	for kid, events := range a.logged {
		for n, e := range events {
			if !stands[kid][n] && e.failed < len(e.states) {
				findings = append(findings, audit.Finding{Kind: audit.Removed, Object: anchorName(kid, n), Reason: fmt.Sprintf(
					"the log has key %s enter %q there: the key may be back in an old state, unless a crash broke the change off", kid, e.states)})
			}
		}
	}
	slices.SortFunc(findings, func(a, b audit.Finding) int { return strings.Compare(a.Object, b.Object) })
	return findings, nil
}

// event holds one anchored event against the log.
func (a *StateAudit) event(ctx context.Context, s store.Reader, kid key.KID, n int) ([]audit.Finding, error) {
	name := anchorName(kid, n)
	body, _, err := store.ReadAll(ctx, s, name, "", maxAnchor, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // listed, and gone: the log knows it
	}
	if err != nil {
		return nil, err
	}
	ev, err := decodeEvent(name, body)
	logged, known := a.logged[kid][n]
	switch {
	case err != nil:
		return []audit.Finding{{Kind: audit.Changed, Object: name, Reason: err.Error()}}, nil
	case !known:
		return []audit.Finding{{Kind: audit.Inserted, Object: name, Reason: "the log has no such event of the key"}}, nil
	case !slices.Contains(logged.states, ev.State) && !slices.Contains(logged.states, ""):
		return []audit.Finding{{Kind: audit.Changed, Object: name, Reason: fmt.Sprintf("the key enters %q; on the log it is %q", ev.State, logged.states)}}, nil
	}
	return nil, nil
}
