package rotation_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/seed-6133abe0/rekey/audit"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// objects is every object of a store, with a checksum.
func (l *lab) objects(s store.Store, prefix string) map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for info, err := range s.List(l.t.Context(), prefix) {
		l.must(err)
		b, _, err := store.ReadAll(l.t.Context(), s, info.Key, "", 1<<20, nil)
		l.must(err)
		all[info.Key] = store.CRC64NVME(b)
	}
	return all
}

// TestPauseAtEveryRecord: wherever a pause comes, the drive ends with it, nothing is
// worked or published until the resume, and the rotation then ends as if there had
// been none.
func TestPauseAtEveryRecord(t *testing.T) {
	t.Parallel()
	first := stockedLab(t)
	total := first.writes()
	paused := 0
	for at := 1; at <= total; at++ {
		what := fmt.Sprintf("paused before record %d of %d", at, total)
		l := first.again(t)
		id := l.start(l.engine(), journal.Scheduled)
		e := l.engineOver(l.media, l.watched(func(n int, k string) {
			if n == at {
				what += " (" + k + ")"
				l.must(l.engine().Pause(t.Context(), id, "test"))
			}
		}))
		_, err := e.Drive(t.Context(), id)
		if !errors.Is(err, rotation.ErrPaused) {
			t.Fatalf("%s: the drive ends with %v", what, err)
		}
		paused++
		l.still(what, id)
		l.must(l.engine().Resume(t.Context(), id))
		if _, err := l.engine().Drive(t.Context(), id); err != nil {
			t.Fatalf("%s: resumed: %v", what, err)
		}
		l.done(what, id)
	}
	if paused != total {
		t.Errorf("%d pauses", paused)
	}
}

// still wants a paused rotation to change nothing, whoever tries.
func (l *lab) still(what, id string) {
	l.t.Helper()
	ctx, e := l.t.Context(), l.engine()
	was, record := l.objects(l.media, ""), l.objects(l.control, "rotations/")
	for s, err := range e.Open(ctx) {
		l.t.Errorf("%s: somebody would drive %s, %v", what, s.Rotation, err)
	}
	if _, err := e.Drive(ctx, id); !errors.Is(err, rotation.ErrPaused) {
		l.t.Errorf("%s: driven: %v", what, err)
	}
	if n, err := e.Requeue(ctx, id); n != 0 || err != nil {
		l.t.Errorf("%s: %d parts queued, %v", what, n, err)
	}
	parts := 0
	for p, err := range e.Journal().Plans(ctx, id) {
		l.must(err)
		for _, part := range p.Parts {
			parts++
			l.must(e.Queue.Enqueue(ctx, queue.Urgent, queue.Part{Rotation: id, Asset: p.Asset, Part: part.N}))
		}
	}
	if parts == 0 || !maps.Equal(was, l.objects(l.media, "")) || !maps.Equal(record, l.objects(l.control, "rotations/")) {
		l.t.Errorf("%s: something was done, of %d parts", what, parts)
	}
	if s := l.status(id); s.State != journal.Paused || s.Halt == nil || s.Halt.Actor != "test" || s.Halt.Reason != "test" {
		l.t.Errorf("%s: %s, %+v", what, s.State, s.Halt)
	}
}

// TestHaltIsOnRecordBefore: no record, no deed.
func TestHaltIsOnRecordBefore(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	id := l.start(l.engine(), journal.Compromise)
	away := errors.New("the log is away")
	for _, c := range []struct {
		action string
		do     func(*rotation.Engine) error
		want   journal.Phase
	}{
		{"rotation.pause", func(e *rotation.Engine) error { return e.Pause(t.Context(), id, "look at it") }, journal.Paused},
		{"rotation.resume", func(e *rotation.Engine) error { return e.Resume(t.Context(), id) }, journal.Working},
		{"rotation.cancel", func(e *rotation.Engine) error { return e.Cancel(t.Context(), id, "look at it") }, journal.Cancelled},
	} {
		was := l.status(id).State
		if err := c.do(l.withoutLog(away)); !errors.Is(err, away) {
			t.Errorf("%s without a log: %v", c.action, err)
		}
		if now := l.status(id).State; now != was {
			t.Errorf("%s without a log: %s", c.action, now)
		}
		tail := audit.NewTail(l.control, l.clock.read)
		_, err := tail.Last(t.Context(), 1)
		l.must(err)
		l.must(c.do(l.engine()))
		if now := l.status(id).State; now != c.want {
			t.Errorf("%s: %s, want %s", c.action, now, c.want)
		}
		entries, err := tail.Next(t.Context())
		l.must(err)
		if len(entries) != 1 || entries[0].Action != c.action || entries[0].Rotation != id || entries[0].Actor != "test" {
			t.Errorf("%s: on record: %+v", c.action, entries)
		}
	}
}

// TestPhasesThatCannotBeHalted names the class of each error.
func TestPhasesThatCannotBeHalted(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	e, ctx := l.engine(), t.Context()
	if err := e.Pause(ctx, "r0", ""); !errors.Is(err, journal.ErrNoRotation) {
		t.Errorf("pause of nothing: %v", err)
	}
	for _, c := range []struct {
		phase                 journal.Phase
		pause, resume, cancel error
	}{
		{journal.Planning, rotation.ErrPlanning, rotation.ErrPlanning, nil},
		{journal.Working, nil, nil, nil}, {journal.Paused, nil, nil, nil},
		{journal.Done, rotation.ErrPhase, nil, rotation.ErrPhase}, {journal.Partial, rotation.ErrPhase, nil, rotation.ErrPhase},
		{journal.Failed, rotation.ErrPhase, nil, rotation.ErrPhase},
		{journal.Cancelled, rotation.ErrPhase, rotation.ErrCancelled, nil},
	} {
		set := func(id string) string {
			s := journal.State{Rotation: id + string(c.phase), Phase: c.phase, Halt: &journal.Halt{Actor: "a"}}
			l.must(e.Journal().SetState(ctx, s, ""))
			return s.Rotation
		}
		if err := e.Pause(ctx, set("p"), ""); !errors.Is(err, c.pause) {
			t.Errorf("pause of one that is %s: %v, want %v", c.phase, err, c.pause)
		}
		if err := e.Cancel(ctx, set("c"), ""); !errors.Is(err, c.cancel) {
			t.Errorf("cancel of one that is %s: %v, want %v", c.phase, err, c.cancel)
		}
		if err := e.Resume(ctx, set("q")); !errors.Is(err, c.resume) {
			t.Errorf("resume of one that is %s: %v, want %v", c.phase, err, c.resume)
		}
	}
}
