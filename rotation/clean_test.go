package rotation_test

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/keyring"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store/storetest"
)

// clean cleans up by a process of its own.
func (l *lab) clean(what, id string) rotation.Cleaned {
	l.t.Helper()
	c, err := l.engine().Clean(l.t.Context(), id)
	if err != nil {
		l.t.Fatalf("%s: clean: %v", what, err)
	}
	return c
}

// rekeyed runs a rotation of everything to its end, from the keys that assets are
// under now.
func (l *lab) rekeyed(what string) string {
	l.t.Helper()
	e := l.engine()
	kids := map[key.KID]bool{}
	for _, name := range []string{"clip", "short", "twin"} {
		s, err := e.Index().Summary(l.t.Context(), name)
		l.must(err)
		for _, k := range s.KIDs {
			kids[k] = true
		}
	}
	p, err := e.Start(l.t.Context(), rotation.Request{Kind: journal.Compromise, KIDs: slices.Collect(maps.Keys(kids)), Reason: "test"})
	l.must(err)
	_, err = e.Drive(l.t.Context(), p.Rotation)
	l.must(err)
	l.done(what+", and rotated again", p.Rotation)
	return p.Rotation
}

// isClean wants the media root to hold what it held before, and what the published
// assets of the rotation were given; and the new keys of the others to be out of use.
// It reports whether an asset was given up whose key object another one keeps.
func (l *lab) isClean(what, id string, before map[string]string) (shared bool) {
	l.t.Helper()
	e := l.engine()
	want, kept := maps.Clone(before), map[key.KID]bool{}
	var given []*journal.Plan
	for p, err := range e.Journal().Plans(l.t.Context(), id) {
		l.must(err)
		o, _, err := e.Journal().Outcome(l.t.Context(), id, p.Asset)
		l.must(err)
		switch o.State {
		case journal.AssetCancelled:
			given = append(given, p)
			if o.Time.IsZero() || o.Cleaned.Before(o.Time) || l.flipped(id, p.Asset) {
				l.t.Errorf("%s: %s is given up: %+v", what, p.Asset, o)
			}
		case journal.AssetVerified:
			for _, to := range p.Moves() {
				want[to] = ""
			}
			for _, k := range p.Keys {
				kept[k.NewKID] = true
			}
			if !l.flipped(id, p.Asset) {
				l.t.Errorf("%s: %s is verified, and its manifests are the old ones", what, p.Asset)
			}
		default:
			l.t.Errorf("%s: %s is %s: %s: %s", what, p.Asset, o.State, o.Object, o.Reason)
		}
	}
	have := l.objects(l.media, "")
	for k := range have {
		if _, ok := want[k]; !ok {
			l.t.Errorf("%s: %s is left", what, k)
		}
	}
	for k, sum := range want {
		now, ok := have[k]
		if !ok || sum != now && !catalog.IsManifest(k) && sum != "" {
			l.t.Errorf("%s: %s is gone, or another", what, k)
		}
	}
	for _, p := range given {
		for _, k := range p.Keys {
			state := keyring.Deactivated
			if kept[k.NewKID] {
				state, shared = keyring.Active, true
			}
			if rec, err := e.Ring.Get(l.t.Context(), k.NewKID); err != nil || rec.State != state {
				l.t.Errorf("%s: new key of %s is %s, want %s: %v", what, p.Asset, rec.State, state, err)
			}
		}
	}
	return shared
}

// TestDriverFrozenAtEveryWrite: a driver, or the worker in it, stops before a write;
// its rotation is cancelled and cleaned; then it goes on. Nothing of what was given
// up may be flipped, or left behind.
func TestDriverFrozenAtEveryWrite(t *testing.T) {
	t.Parallel()
	first := stockedLab(t)
	seen := map[journal.AssetState]int{}
	begun, at := 0, 0
	for more := true; more; {
		at++
		l := first.again(t)
		before := l.objects(l.media, "")
		id := l.start(l.engine(), journal.Scheduled)
		f := &freezer{at: at, frozen: make(chan string), thaw: make(chan struct{})}
		e := l.engineOver(&storetest.Faulty{Store: l.media, Before: f.before}, &storetest.Faulty{Store: l.control, Before: f.before})
		ended := make(chan error, 1)
		go func() {
			_, err := e.Drive(t.Context(), id)
			ended <- err
		}()
		select {
		case where := <-f.frozen:
			what := fmt.Sprintf("frozen before write %d (%s)", at, where)
			l.must(l.engine().Cancel(t.Context(), id, "test"))
			l.clock.skip(time.Minute) // its lease runs out
			for _, a := range l.clean(what, id).Assets {
				if a.State == journal.AssetVerified {
					begun++
				}
			}
			cleaned := l.objects(l.media, "")
			l.isClean(what, id, before)
			close(f.thaw)
			if err := <-ended; err == nil {
				t.Errorf("%s: the drive ends well", what)
			}
			what += ", and gone on"
			l.isClean(what, id, before)
			if !maps.Equal(cleaned, l.objects(l.media, "")) {
				t.Errorf("%s: the media root is another", what)
			}
			l.plays(what)
			for _, a := range l.status(id).Assets {
				seen[a.State]++
			}
		case err := <-ended:
			l.must(err)
			more = false
		}
	}
	if at < 40 || begun < 3 || seen[journal.AssetCancelled] == 0 || seen[journal.AssetVerified] == 0 || len(seen) != 2 {
		t.Errorf("%d writes, %d assets whose flips had begun, %v", at, begun, seen)
	}
	t.Logf("%d writes, %d assets whose flips had begun, %v", at, begun, seen)
}

// skip moves the clock.
func (c *clock) skip(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// freezer stops a process before one of its writes, and from then on before
// everything it does, until it thaws.
type freezer struct {
	at     int
	frozen chan string
	thaw   chan struct{}
	mu     sync.Mutex
	n      int
}

func (f *freezer) before(op, k string) error {
	counts := op == "put" && !strings.HasPrefix(k, "audit/") && !strings.HasSuffix(k, "/lease.json")
	f.mu.Lock()
	if counts {
		f.n++
	}
	now, stopped := counts && f.n == f.at, f.n >= f.at
	f.mu.Unlock()
	if now {
		f.frozen <- op + " " + k
	}
	if stopped {
		<-f.thaw
	}
	return nil
}

// TestCleanBrokenOffAtEveryDelete: done again, it comes to what one run comes to.
func TestCleanBrokenOffAtEveryDelete(t *testing.T) {
	t.Parallel()
	first := stockedLab(t)
	before := first.objects(first.media, "")
	id := first.cancelledAtFlip("twin")
	whole := first.again(t)
	c := whole.clean("in one run", id)
	whole.isClean("in one run", id, before)
	total := 0
	for _, a := range c.Assets {
		total += a.Objects
	}
	if total < 3 || c.Left() {
		t.Fatalf("%+v", c)
	}
	broken := errors.New("broken off")
	for at := 1; at <= total; at++ {
		for _, after := range []bool{false, true} {
			what := fmt.Sprintf("broken off at delete %d of %d, done already: %v", at, total, after)
			l, n := first.again(t), 0
			hook := func(op, _ string) error {
				if op == "delete" {
					n++
				}
				if op == "delete" && n >= at {
					return broken
				}
				return nil
			}
			f := &storetest.Faulty{Store: l.media, Before: hook}
			if after {
				f.Before, f.After = nil, hook
			}
			if _, err := l.engineOver(f, l.control).Clean(t.Context(), id); !errors.Is(err, broken) {
				t.Fatalf("%s: %v", what, err)
			}
			l.clean(what, id)
			l.isClean(what, id, before)
			if again := l.clean(what, id); again.Keys != 0 || again.Assets[0].Objects != 0 {
				t.Errorf("%s: a third time: %+v", what, again)
			}
			l.plays(what)
		}
	}
}

// cancelledAtFlip drives a rotation and cancels it when an asset is about to be
// flipped: all its parts are done, and its key object and playlists are written.
func (l *lab) cancelledAtFlip(asset string) string {
	l.t.Helper()
	id := l.start(l.engine(), journal.Scheduled)
	e := l.engineOver(l.media, l.watched(func(_ int, k string) {
		if strings.HasPrefix(k, "rotations/"+id+"/flips/"+asset+"/") {
			panic("the asset would be flipped")
		}
		if strings.HasPrefix(k, "rotations/"+id+"/parts/"+asset+"/") {
			l.must(l.engine().Cancel(l.t.Context(), id, "test"))
		}
	}))
	if _, err := e.Drive(l.t.Context(), id); !errors.Is(err, rotation.ErrCancelled) {
		l.t.Fatalf("the drive ends with %v", err)
	}
	return id
}

// TestCleanOfWhatFailed: of a rotation that ended, what failed is taken back, and why
// it failed stays on record.
func TestCleanOfWhatFailed(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	id := l.start(l.engine(), journal.Scheduled)
	l.write("twin/seg_001.ts", l.read("clip/vhi/seg_002.ts"))
	before := l.objects(l.media, "")
	e := l.engine()
	e.PartObjects = 1
	state, err := e.Drive(t.Context(), id)
	if err != nil || state.Phase != journal.Partial {
		t.Fatalf("%s, %v", state.Phase, err)
	}
	was, _, err := e.Journal().Outcome(t.Context(), id, "twin")
	l.must(err)
	c := l.clean("failed", id)
	if len(c.Assets) != 1 || c.Assets[0].Asset != "twin" || c.Assets[0].Objects == 0 || c.Left() || c.Keys != 0 {
		t.Errorf("%+v", c)
	}
	if !l.isClean("failed", id, before) {
		t.Error("the key object is not shared")
	}
	now, _, err := e.Journal().Outcome(t.Context(), id, "twin")
	l.must(err)
	if was.State != journal.AssetFailed || now.Reason != was.Reason || now.Object != was.Object || now.Reason == "" {
		t.Errorf("%+v became %+v", was, now)
	}
	if s := l.status(id); s.State != journal.Partial {
		t.Errorf("the rotation is %s", s.State)
	}
}

// TestCleanEndsWhatBegan: a driver dies between the record of an asset's flips and
// the flips. Nobody else would come to make them.
func TestCleanEndsWhatBegan(t *testing.T) {
	t.Parallel()
	for _, replaced := range []bool{false, true} {
		l := stockedLab(t)
		before := l.objects(l.media, "")
		id := l.start(l.engine(), journal.Scheduled)
		dead := errors.New("the process is dead")
		e := l.engineOver(&storetest.Faulty{Store: l.media, Before: func(op, k string) error {
			if op == "put" && path.Base(k) == "master.m3u8" && path.Dir(k) == "clip" {
				return dead
			}
			return nil
		}}, l.control)
		if _, err := e.Drive(t.Context(), id); !errors.Is(err, dead) {
			t.Fatal(err)
		}
		l.must(l.engine().Cancel(t.Context(), id, "test"))
		var clip rotation.AssetStatus
		for _, a := range l.status(id).Assets {
			if a.Asset == "clip" {
				clip = a
			}
		}
		if clip.State != journal.AssetPending || !strings.Contains(clip.Reason, "flips had begun") {
			t.Errorf("clip is %s: %s", clip.State, clip.Reason)
		}
		if !replaced {
			l.clean("begun", id)
			l.isClean("begun", id, before)
			l.plays("begun")
			continue
		}
		l.write("clip/master.m3u8", l.read("clip/master.m3u8")+"# somebody was here\n")
		c := l.clean("replaced", id)
		if !c.Left() || c.Assets[0].Asset != "clip" || c.Assets[0].State != journal.AssetFailed || c.Assets[0].Objects != 0 {
			t.Errorf("%+v", c)
		}
		p, err := l.engine().Journal().Plan(t.Context(), id, "clip")
		l.must(err)
		have := l.objects(l.media, "")
		for _, to := range p.Moves() {
			if have[to] == "" {
				t.Errorf("left alone, and gone: %s", to)
			}
		}
		l.plays("replaced")
	}
}

// TestCleanOfWhatIsNotOver: and of what somebody drives.
func TestCleanOfWhatIsNotOver(t *testing.T) {
	t.Parallel()
	l := stockedLab(t)
	id := l.start(l.engine(), journal.Scheduled)
	if _, err := l.engine().Clean(t.Context(), id); !errors.Is(err, rotation.ErrPhase) {
		t.Errorf("working: %v", err)
	}
	l.must(l.engine().Pause(t.Context(), id, ""))
	if _, err := l.engine().Clean(t.Context(), id); !errors.Is(err, rotation.ErrPhase) {
		t.Errorf("paused: %v", err)
	}
	if _, err := l.engine().Clean(t.Context(), "r0"); !errors.Is(err, journal.ErrNoRotation) {
		t.Errorf("nothing: %v", err)
	}
	l.must(l.engine().Cancel(t.Context(), id, "test"))
	l.must(l.engine().Journal().SetLease(t.Context(), id, journal.Lease{Owner: "somebody", Until: l.clock.read().Add(time.Hour)}, ""))
	e := l.engine()
	e.Lease = time.Millisecond
	l.clock.skip(-time.Minute)
	e.Clock = func() time.Time { l.clock.skip(time.Second); return l.clock.read() }
	if _, err := e.Clean(t.Context(), id); !errors.Is(err, rotation.ErrLeased) {
		t.Errorf("leased: %v", err)
	}
}
