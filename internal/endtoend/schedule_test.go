package endtoend

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
)

func TestOneSchedulerTakesATick(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := newLab(t)
	nominal := time.Date(2031, 5, 6, 7, 8, 0, 0, time.UTC)
	for n := range 3 {
		const schedulers = 8
		errs := make([]error, schedulers)
		var all sync.WaitGroup
		for i := range schedulers {
			e := l.engine(t)
			all.Go(func() { errs[i] = e.TakeTick(ctx, "nightly", nominal.Add(time.Duration(n)*time.Minute)) })
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, rotation.ErrTaken):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d schedulers took the tick", won, schedulers)
		}
	}
}

func TestPlannedRunRotatesEveryKeyInUse(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	l.work(t, ctx, e)
	p := l.player(e)
	want := truth(t, ctx, p, entryManifests...)
	if _, err := e.StartPlanned(ctx, time.Hour, rotation.Request{Reason: "test"}); !errors.Is(err, rotation.ErrNothing) {
		t.Errorf("no key is an hour old: %v", err)
	}
	planned, err := e.StartPlanned(ctx, 0, rotation.Request{Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	drive(t, ctx, e, planned.Rotation, journal.Done)
	states := map[key.KID]keyring.State{}
	for r, err := range e.Ring.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		states[r.KID] = r.State
	}
	retired := map[key.KID]bool{}
	for _, pl := range planned.Plans {
		for old, fresh := range pl.KIDs() {
			retired[old] = true
			if states[old] != keyring.Deactivated || states[fresh] != keyring.Active {
				t.Errorf("%s: old key %s is %s, new key %s is %s", pl.Asset, old, states[old], fresh, states[fresh])
			}
		}
	}
	if len(retired) != 6 {
		t.Errorf("%d keys were rotated; the library uses 6", len(retired))
	}
	// The keys of the refused fixtures are on record and nothing uses them.
	for _, unused := range []string{cbcsKID, leadKID} {
		if states[kid(t, unused)] != keyring.Active {
			t.Errorf("unused key %s is %s", unused, states[kid(t, unused)])
		}
	}
	for _, entry := range entryManifests {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
	}
}
