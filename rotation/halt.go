package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/store"
)

// What halting a rotation is called on the audit log.
const (
	actionPause  = "rotation.pause"
	actionResume = "rotation.resume"
	actionCancel = "rotation.cancel"
)

// turns is how often a state that others change at the same time is read again.
const turns = 10

// errSettled: the state is already what was asked for.
var errSettled = errors.New("nothing to do")

// Pause holds a rotation where it stands: drivers and workers let go of it when
// they next look, within seconds; what a worker has in hand is done again after
// Resume. One that is paused already stays so, and that is no error. ErrPlanning;
// ErrPhase where it is over.
func (e *Engine) Pause(ctx context.Context, id, reason string) error {
	err := e.turn(ctx, id, audit.Record{Action: actionPause, Reason: reason}, func(s *journal.State) error {
		switch {
		case s.Phase == journal.Paused:
			return errSettled
		case s.Phase == journal.Planning:
			return fmt.Errorf("%w: nothing was touched", ErrPlanning)
		case s.Phase != journal.Working:
			return fmt.Errorf("%w: it is %s", ErrPhase, s.Phase)
		}
		s.Phase, s.Halt = journal.Paused, e.halt(reason)
		return nil
	})
	return during("pause", id, err)
}

// Cancel gives a rotation up for good. What is published stays so; of the rest
// nothing more is worked or flipped, but for an asset whose flips had begun. What was
// written of it stays until it is cleaned. One that is cancelled already stays so,
// and that is no error. ErrPhase where it is over.
func (e *Engine) Cancel(ctx context.Context, id, reason string) error {
	err := e.turn(ctx, id, audit.Record{Action: actionCancel, Reason: reason}, func(s *journal.State) error {
		switch {
		case s.Phase == journal.Cancelled:
			return errSettled
		case s.Phase.Final():
			return fmt.Errorf("%w: it is %s", ErrPhase, s.Phase)
		}
		s.Phase, s.Halt = journal.Cancelled, e.halt(reason)
		return nil
	})
	return during("cancel", id, err)
}

// begun reports whether an asset's flips are all on record. They are made then, by
// whoever is at it: what was decided before the cancel is not called back.
func (e *Engine) begun(ctx context.Context, p *journal.Plan) (bool, error) {
	flips := p.Flips()
	for _, m := range flips {
		f, err := e.Journal().Flip(ctx, p.Rotation, p.Asset, m.From)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case f.Fence():
			return false, nil
		}
	}
	return len(flips) > 0, nil
}

func (e *Engine) halt(reason string) *journal.Halt {
	return &journal.Halt{Actor: e.Actor, Reason: reason, Time: e.Clock().UTC()}
}

// turn changes a rotation's state on the condition that it is what was decided on,
// and has that on record before.
func (e *Engine) turn(ctx context.Context, id string, r audit.Record, decide func(*journal.State) error) error {
	r.Rotation, r.Outcome = id, audit.Allowed
	for n := 1; ; n++ {
		state, etag, err := e.Journal().State(ctx, id)
		if err != nil {
			return err
		}
		err = decide(&state)
		if errors.Is(err, errSettled) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := e.Audit.Append(ctx, r); err != nil {
			return err
		}
		err = e.Journal().SetState(ctx, state, etag)
		if !errors.Is(err, store.ErrPrecondition) || n == turns {
			return err
		}
	}
}

func during(what, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s rotation %s: %w", what, id, err)
}

// goesOn reads the state again: ErrPaused or ErrCancelled where nothing more may
// be worked or published.
func (e *Engine) goesOn(ctx context.Context, id string) (journal.State, error) {
	state, _, err := e.Journal().State(ctx, id)
	if err != nil {
		return state, err
	}
	return state, halted(state)
}

func halted(s journal.State) error {
	switch s.Phase {
	case journal.Paused:
		return ErrPaused
	case journal.Cancelled:
		return ErrCancelled
	default:
		return nil
	}
}
