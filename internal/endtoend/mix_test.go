package endtoend

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-6133abe0/rekey/store"
)

// watcher fetches entry manifests all the time and plays each version when it
// first sees it, that is, at the earliest instant a viewer could.
type watcher struct {
	p    player
	want map[string]string

	mu       sync.Mutex
	versions map[string]map[[32]byte]frozen
	rounds   int
	faults   []error
}

func (w *watcher) run(ctx context.Context, done <-chan struct{}) {
	for {
		for _, entry := range entryManifests {
			if err := w.fetch(ctx, entry); err != nil {
				w.mu.Lock()
				w.faults = append(w.faults, err)
				w.mu.Unlock()
			}
		}
		w.mu.Lock()
		w.rounds++
		w.mu.Unlock()
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		default:
		}
	}
}

func (w *watcher) fetch(ctx context.Context, entry string) error {
	b, info, err := store.ReadAll(ctx, w.p.media, entry, "", 1<<20, nil)
	if err != nil {
		return err
	}
	f := frozen{Reader: w.p.media, key: entry, body: b, info: info}
	sum := sha256.Sum256(b)
	w.mu.Lock()
	if w.versions[entry] == nil {
		w.versions[entry] = map[[32]byte]frozen{}
	}
	_, seen := w.versions[entry][sum]
	w.versions[entry][sum] = f
	w.mu.Unlock()
	if seen {
		return nil
	}
	return player{media: f, keys: w.p.keys}.plays(ctx, entry, w.want)
}

// follow goes on playing what live manifests lead to.
func (w *watcher) follow(ctx context.Context, done <-chan struct{}) {
	for {
		for _, entry := range entryManifests {
			if err := w.p.plays(ctx, entry, w.want); err != nil {
				w.mu.Lock()
				w.faults = append(w.faults, err)
				w.mu.Unlock()
			}
		}
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestInvariant1NeverAMix(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	p := l.player(l.engine(t))
	w := &watcher{p: p, want: truth(t, ctx, p, entryManifests...), versions: map[string]map[[32]byte]frozen{}}
	for _, entry := range entryManifests {
		if err := w.fetch(ctx, entry); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { w.run(ctx, done) })
	watching.Go(func() { w.follow(ctx, done) })

	id := l.begin(t, ctx, "--kid", movieVideo, "--kid", sharedAudio, "--key-uri", clipKey)
	first, second := l.start(t, ctx, "worker"), l.start(t, ctx, "worker")
	out := l.rekey(t, ctx, nil, "resume", id, "--wait")
	close(done)
	watching.Wait()
	l.succeed(t, ctx, out)
	first.stop(t, ctx)
	second.stop(t, ctx)

	for _, err := range w.faults {
		t.Errorf("while it ran: %v", err)
	}
	if w.rounds < 10 {
		t.Errorf("the manifests were fetched %d times only", w.rounds)
	}
	for _, entry := range entryManifests {
		versions := slices.Collect(maps.Values(w.versions[entry]))
		if want := map[bool]int{false: 2, true: 1}[entry == "other/stream.mpd"]; len(versions) != want {
			t.Errorf("%s had %d versions, want %d: it is flipped once", entry, len(versions), want)
		}
		for _, f := range versions {
			if err := (player{media: f, keys: p.keys}).plays(ctx, entry, w.want); err != nil {
				t.Errorf("a viewer who holds a manifest of %s: %v", entry, err)
			}
		}
		if err := p.plays(ctx, entry, w.want); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}
