package rotation_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
)

// TestCancelAtEveryRecord: wherever a cancel comes, each asset is whole, under its
// old keys or under its new ones, and the status says which. A clean leaves nothing
// of the former, and all of the latter; another rotation takes up what is left.
func TestCancelAtEveryRecord(t *testing.T) {
	t.Parallel()
	first := stockedLab(t)
	total := first.writes()
	seen := map[journal.AssetState]int{}
	shared := 0
	for at := 1; at <= total; at++ {
		what := fmt.Sprintf("cancelled before record %d of %d", at, total)
		l := first.again(t)
		before := l.objects(l.media, "")
		id := l.start(l.engine(), journal.Scheduled)
		e := l.engineOver(l.media, l.watched(func(n int, k string) {
			if n == at {
				what += " (" + k + ")"
				l.must(l.engine().Cancel(t.Context(), id, "test"))
			}
		}))
		if _, err := e.Drive(t.Context(), id); !errors.Is(err, rotation.ErrCancelled) {
			t.Fatalf("%s: the drive ends with %v", what, err)
		}
		l.isGivenUp(what, id, seen)
		l.plays(what)
		l.clean(what, id)
		if l.isClean(what, id, before) {
			shared++
		}
		if next := l.rekeyed(what); next == id {
			t.Errorf("%s: no new rotation", what)
		}
	}
	if shared == 0 {
		t.Error("no cancel came between two assets that share a key object")
	}
	if seen[journal.AssetCancelled] < total/2 || seen[journal.AssetVerified] < total/2 || len(seen) != 2 {
		t.Errorf("of all assets: %v", seen)
	}
}

// isGivenUp wants a cancelled rotation to change nothing, whoever tries, and each
// asset to stand as its status says.
func (l *lab) isGivenUp(what, id string, seen map[journal.AssetState]int) {
	l.t.Helper()
	ctx, e := l.t.Context(), l.engine()
	was, record := l.objects(l.media, ""), l.objects(l.control, "rotations/")
	if _, err := e.Drive(ctx, id); !errors.Is(err, rotation.ErrCancelled) {
		l.t.Errorf("%s: driven: %v", what, err)
	}
	if err := e.Resume(ctx, id); !errors.Is(err, rotation.ErrCancelled) {
		l.t.Errorf("%s: resumed: %v", what, err)
	}
	for p, err := range e.Journal().Plans(ctx, id) {
		l.must(err)
		for _, part := range p.Parts {
			l.must(e.Queue.Enqueue(ctx, queue.Urgent, queue.Part{Rotation: id, Asset: p.Asset, Part: part.N}))
		}
	}
	if !maps.Equal(was, l.objects(l.media, "")) || !maps.Equal(record, l.objects(l.control, "rotations/")) {
		l.t.Errorf("%s: something was done", what)
	}
	s := l.status(id)
	if s.State != journal.Cancelled || s.Halt == nil || s.Halt.Reason != "test" {
		l.t.Errorf("%s: %s, %+v", what, s.State, s.Halt)
	}
	for _, a := range s.Assets {
		seen[a.State]++
		if flipped := l.flipped(id, a.Asset); flipped != (a.State == journal.AssetVerified) {
			l.t.Errorf("%s: %s is %s, and its manifests flipped: %v", what, a.Asset, a.State, flipped)
		}
	}
}

// flipped reports whether the entry manifests of an asset lead to what a rotation
// wrote; all of them must say the same.
func (l *lab) flipped(id, asset string) bool {
	l.t.Helper()
	p, err := l.engine().Journal().Plan(l.t.Context(), id, asset)
	l.must(err)
	n := 0
	for _, m := range p.Flips() {
		if strings.Contains(l.read(m.From), id) {
			n++
		}
	}
	if len(p.Flips()) == 0 || n != 0 && n != len(p.Flips()) {
		l.t.Errorf("%d of %d manifests of %s are flipped", n, len(p.Flips()), asset)
	}
	return n > 0
}
