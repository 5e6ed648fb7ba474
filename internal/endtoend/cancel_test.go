package endtoend

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/rotation"
)

// longSegments make an asset that a worker is at for a while.
const longSegments = 300

// longRun plans a rotation that is cut into many parts: clip is soon done, long is
// not, and movie comes last.
func (l *lab) longRun(t *testing.T, ctx context.Context) string {
	t.Helper()
	l.longClip(t, ctx, longSegments)
	l.scan(t, ctx)
	e := l.engine(t)
	e.PartObjects = 2
	kids := []key.KID{kid(t, clipKey), kid(t, "long/key.bin"), kid(t, movieVideo)}
	p, err := e.Start(ctx, rotation.Request{Kind: journal.Scheduled, KIDs: kids, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Plans) != 3 {
		t.Fatalf("%d assets are planned", len(p.Plans))
	}
	return p.Rotation
}

// amid waits until clip is verified and long is being worked.
func amid(t *testing.T, ctx context.Context, e *rotation.Engine, id string) {
	t.Helper()
	eventually(t, ctx, "clip is verified, and long is worked", func() bool {
		o, _, err := e.Journal().Outcome(ctx, id, "clip")
		if err != nil {
			t.Fatal(err)
		}
		return o.State == journal.AssetVerified && parts(t, ctx, e, id, "long") > 2
	})
}

func parts(t *testing.T, ctx context.Context, e *rotation.Engine, id, asset string) int {
	t.Helper()
	done, err := e.Journal().PartNumbers(ctx, id, asset)
	if err != nil {
		t.Fatal(err)
	}
	return len(done)
}

// TestPauseInTheMiddle: while a rotation is paused no part is done, though a worker
// is there and the queue full; resumed, it comes to its end.
func TestPauseInTheMiddle(t *testing.T) {
	t.Parallel()
	ctx := boundedBy(t, 5*time.Minute)
	l := stocked(t, ctx)
	id := l.longRun(t, ctx)
	e := l.engine(t)
	p := l.player(e)
	entries := append([]string{"long/stream.m3u8"}, entryManifests...)
	want := truth(t, ctx, p, entries...)
	worker := l.start(t, ctx, "worker", "--concurrency", "1")
	driver := l.start(t, ctx, "resume", id, "--wait")
	amid(t, ctx, e, id)
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "pause", id, "--reason", "test"))
	if code := driver.wait(t, ctx); code != 1 || !strings.Contains(driver.out.String(), "the rotation is paused") || !strings.Contains(driver.out.String(), "paused by") {
		t.Errorf("the driver ends with exit %d\n%s", code, driver.out)
	}
	was := parts(t, ctx, e, id, "long")
	still, began := 0, time.Now()
	for still < 30 {
		time.Sleep(100 * time.Millisecond) // what is in hand may still end
		if now := parts(t, ctx, e, id, "long"); now != was {
			still, was = -1, now
		}
		if still++; time.Since(began) > 30*time.Second {
			t.Fatalf("parts go on being done: %d", was)
		}
	}
	if was >= longSegments/2 {
		t.Fatalf("the pause came too late: %d parts", was)
	}
	if s := l.status(t, ctx, id); s.State != journal.Paused || asset(t, s, "long").State != journal.AssetPending || asset(t, s, "clip").State != journal.AssetVerified {
		t.Errorf("status: %+v", s)
	}
	for _, entry := range entries {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Errorf("paused: %v", err)
		}
	}
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "resume", id, "--wait"))
	worker.stop(t, ctx)
	l.whole(t, ctx, id)
	for _, entry := range entries {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
	}
}

// TestCancelInTheMiddle: what is finished stays, the rest leaves no trace once it is
// cleaned, though a worker was at it; another rotation takes it up.
func TestCancelInTheMiddle(t *testing.T) {
	t.Parallel()
	ctx := boundedBy(t, 5*time.Minute)
	l := stocked(t, ctx)
	id := l.longRun(t, ctx)
	before := tree(t, ctx, l.media, "")
	e := l.engine(t)
	p := l.player(e)
	entries := append([]string{"long/stream.m3u8"}, entryManifests...)
	want := truth(t, ctx, p, entries...)
	worker := l.start(t, ctx, "worker", "--concurrency", "2")
	driver := l.start(t, ctx, "resume", id, "--wait")
	amid(t, ctx, e, id)
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "cancel", id, "--reason", "test"))
	out := l.succeed(t, ctx, l.rekey(t, ctx, nil, "clean", id))
	if code := driver.wait(t, ctx); code != 1 || !strings.Contains(driver.out.String(), "the rotation is cancelled") {
		t.Errorf("the driver ends with exit %d\n%s", code, driver.out)
	}
	worker.stop(t, ctx) // what it had in hand, it takes back itself
	if !strings.Contains(out, "cancelled") {
		t.Errorf("clean says %q", out)
	}
	s := l.status(t, ctx, id)
	for name, state := range map[string]journal.AssetState{"clip": journal.AssetVerified, "long": journal.AssetCancelled, "movie": journal.AssetCancelled} {
		if a := asset(t, s, name); a.State != state {
			t.Errorf("%s is %s, want %s", name, a.State, state)
		}
	}
	l.asBefore(t, ctx, e, id, before)
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "verify", "clip", "long", "movie", "short", "other"))
	for _, entry := range entries {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Errorf("cancelled: %v", err)
		}
	}
	worker = l.start(t, ctx, "worker")
	next := l.begin(t, ctx, "--kid", movieVideo, "--key-uri", "long/key.bin")
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "resume", next, "--wait"))
	worker.stop(t, ctx)
	l.whole(t, ctx, next)
	for _, entry := range entries {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
	}
}

// asBefore wants all but clip, which the rotation published, as it was.
func (l *lab) asBefore(t *testing.T, ctx context.Context, e *rotation.Engine, id string, before map[string]string) {
	t.Helper()
	now := tree(t, ctx, l.media, "")
	clip, err := e.Journal().Plan(ctx, id, "clip")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range clip.Moves() {
		if now[to] == "" {
			t.Errorf("%s of clip is gone", to)
		}
		if from != to {
			delete(now, to)
		} else {
			now[to] = before[to]
		}
	}
	sameTree(t, "cleaned", now, before)
}
