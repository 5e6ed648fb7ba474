package endtoend

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/queue"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// written remembers what a worker meant to write, and makes it wait for the
// other at the first object of each part.
type written struct {
	store.Store
	meet func()
	puts map[string][]byte
}

func (w *written) Get(ctx context.Context, k string, o store.GetOptions) (store.Info, io.ReadCloser, error) {
	w.meet()
	return w.Store.Get(ctx, k, o)
}

func (w *written) Put(ctx context.Context, k string, b []byte, o store.PutOptions) (store.Info, error) {
	w.puts[k] = bytes.Clone(b)
	return w.Store.Put(ctx, k, b, o)
}

// partsOf lists every part of a plan.
func partsOf(p rotation.Planned) []queue.Part {
	var out []queue.Part
	for _, pl := range p.Plans {
		for _, part := range pl.Parts {
			out = append(out, queue.Part{Rotation: p.Rotation, Asset: pl.Asset, Part: part.N, Generation: 1})
		}
	}
	return out
}

func TestInvariant4TwoWorkersOnePart(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	p := plan(t, ctx, e, kid(t, movieVideo), kid(t, sharedAudio), kid(t, clipKey))
	parts := partsOf(p)
	if len(parts) < 7 {
		t.Fatalf("%d parts", len(parts))
	}
	fresh := l.clone(t, ctx)

	// Both have looked for the part's record before either can write one.
	meetings := make([]sync.WaitGroup, len(parts))
	for n := range meetings {
		meetings[n].Add(2)
	}
	var each [2]*written
	var both sync.WaitGroup
	for i := range each {
		each[i] = &written{Store: l.media, puts: map[string][]byte{}}
		both.Go(func() {
			w := workerOf(e)
			w.Media = each[i]
			for n, part := range parts {
				each[i].meet = sync.OnceFunc(func() { meetings[n].Done(); meetings[n].Wait() })
				if err := w.Work(ctx, part, true); err != nil {
					t.Errorf("worker %d, part %d of %s: %v", i, part.Part, part.Asset, err)
				}
				each[i].meet()
			}
		})
	}
	both.Wait()

	if len(each[0].puts) == 0 || len(each[0].puts) != len(each[1].puts) {
		t.Errorf("the workers wrote %d and %d objects", len(each[0].puts), len(each[1].puts))
	}
	for k, b := range each[0].puts {
		if !bytes.Equal(b, each[1].puts[k]) || !bytes.Equal(b, l.get(t, ctx, k)) {
			t.Errorf("%s: the two workers wrote different bytes", k)
		}
	}
	for _, pl := range p.Plans {
		var numbers []int
		for r, err := range e.Journal().Parts(ctx, p.Rotation, pl.Asset) {
			if err != nil {
				t.Fatal(err)
			}
			numbers = append(numbers, r.Part)
		}
		slices.Sort(numbers)
		if len(slices.Compact(slices.Clone(numbers))) != len(pl.Parts) || len(numbers) != len(pl.Parts) {
			t.Errorf("asset %s has the part records %v of %d parts", pl.Asset, numbers, len(pl.Parts))
		}
	}

	again := workerOf(fresh.engine(t))
	for _, part := range parts {
		if err := again.Work(ctx, part, true); err != nil {
			t.Fatal(err)
		}
	}
	sameTree(t, "the plan run again from a copy of the control prefix", tree(t, ctx, fresh.media, ""), tree(t, ctx, l.media, ""))
}

func TestInvariant4StaleSourceStops(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	for name, tc := range map[string]struct {
		object         string
		edit           func([]byte) []byte
		failed, whole  string
		failedEntries  []string
		reasonContains string
	}{
		"segment": {
			object: "movie/audio/003.m4s", edit: func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			failed: "movie", whole: "short", failedEntries: []string{"movie/stream.mpd", "movie/master.m3u8"},
			reasonContains: "replaced",
		},
		"init section": {
			object: "short/audio/init.mp4", edit: func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			failed: "short", whole: "movie", failedEntries: []string{"short/stream.mpd"}, reasonContains: "replaced",
		},
		"entry manifest": {
			object: "short/stream.mpd", edit: func(b []byte) []byte { return append(b, "<!-- newer -->\n"...) },
			failed: "short", whole: "movie", failedEntries: []string{"short/stream.mpd"}, reasonContains: "replaced",
		},
		"child playlist": {
			object: "movie/audio.m3u8", edit: func(b []byte) []byte { return append(b, "## newer\n"...) },
			failed: "movie", whole: "short", failedEntries: []string{"movie/stream.mpd", "movie/master.m3u8"}, reasonContains: "replaced",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := bounded(t)
			l := labOn(t, minio).stock(t, ctx)
			e := l.engine(t)
			l.work(t, ctx, e)
			p := plan(t, ctx, e, kid(t, sharedAudio))
			l.change(t, ctx, tc.object, tc.edit)
			before := tree(t, ctx, l.media, tc.failed+"/")
			s := drive(t, ctx, e, p.Rotation, journal.Partial)
			a := asset(t, s, tc.failed)
			if a.State != journal.AssetFailed || !strings.Contains(a.Reason, tc.reasonContains) || a.Object != tc.object {
				t.Errorf("%s is %s at %s: %q", tc.failed, a.State, a.Object, a.Reason)
			}
			if a := asset(t, s, tc.whole); a.State != journal.AssetVerified {
				t.Errorf("%s is %s: %s: %s", tc.whole, a.State, a.Object, a.Reason)
			}
			after := tree(t, ctx, l.media, tc.failed+"/")
			for k, sum := range before {
				if after[k] != sum {
					t.Errorf("%s changed, although its asset failed", k)
				}
			}
		})
	}
}
