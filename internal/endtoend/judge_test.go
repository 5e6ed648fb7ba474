package endtoend

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/judge"
	"github.com/seed-6133abe0/rekey/journal"
)

// clipIV is the explicit IV of clip/vhi (fixtures/make.sh).
const clipIV = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// download copies the objects under a prefix to a folder, for other programs.
func (l *lab) download(t *testing.T, ctx context.Context, prefix string) string {
	t.Helper()
	dir := t.TempDir()
	for info, err := range l.media.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(info.Key))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, l.get(t, ctx, info.Key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// export asks the command for one key in hex.
func (l *lab) export(t *testing.T, ctx context.Context, kid string) string {
	t.Helper()
	out := l.succeed(t, ctx, l.rekey(t, ctx, nil, "keys", "export", kid, "--reveal", "--reason", "judge"))
	_, k, ok := strings.Cut(strings.TrimSpace(out), ":")
	if !ok || len(k) != 32 {
		t.Fatalf("export of %s printed %d bytes", kid, len(out))
	}
	return k
}

// judgeCENC asks FFmpeg what the tracks of an asset decrypt to.
func (l *lab) judgeCENC(t *testing.T, ctx context.Context, entry string) {
	t.Helper()
	a, err := catalog.Walk(ctx, l.media, entry, []string{entry}, catalog.Options{})
	if err != nil || len(a.Refusals) > 0 || len(a.Tracks) == 0 {
		t.Fatalf("walk %s: %v %v", entry, err, a.Refusals)
	}
	dir := l.download(t, ctx, path.Dir(entry)+"/")
	for _, track := range a.Tracks {
		files := []string{filepath.Join(dir, track.Init.Key)}
		for _, s := range track.Segments {
			files = append(files, filepath.Join(dir, s.Key))
		}
		name := path.Dir(catalog.Logical(track.Init.Key))
		want := fixtures.ClearStreams()[name]
		if !catalog.InTree(track.Init.Key) || want == "" {
			t.Errorf("%s leads to %s", entry, track.Init.Key)
		}
		got := judge.Streams(t, l.export(t, ctx, track.KIDs[0].String()), files...)
		if len(got) != 1 || got[0] != want {
			t.Errorf("FFmpeg: %s decrypts to %v, want %s", track.ID, got, want)
		}
	}
}

// judgeClip asks OpenSSL for each segment, and FFmpeg for the playlists, which
// it follows to the key as a player does.
func (l *lab) judgeClip(t *testing.T, ctx context.Context) {
	t.Helper()
	a, err := catalog.Walk(ctx, l.media, "clip", []string{"clip/master.m3u8"}, catalog.Options{})
	if err != nil || len(a.Refusals) > 0 || len(a.Keys) != 1 {
		t.Fatalf("walk clip: %v %v %v", err, a.Refusals, a.Keys)
	}
	dir := l.download(t, ctx, "clip/")
	n := 0
	for _, track := range a.Tracks {
		for _, s := range track.Segments {
			n++
			k := fmt.Sprintf("%x", l.get(t, ctx, a.Keys[0].Key))
			got := judge.AES128(t, filepath.Join(dir, s.Key), k, strings.TrimPrefix(s.IV.String(), "0x"))
			if got != fixtures.ClearSHA256()[catalog.Logical(s.Key)] {
				t.Errorf("OpenSSL: %s is not its clear media", s.Key)
			}
		}
		// What FFmpeg makes of the fixtures' playlist, whose segments OpenSSL
		// knows, is what it must make of this one.
		old := filepath.Join(dir, filepath.FromSlash(catalog.Logical(track.ID)))
		got, want := judge.Playlist(t, filepath.Join(dir, track.ID)), judge.Playlist(t, old)
		if !catalog.InTree(track.ID) || strings.Join(got, " ") != strings.Join(want, " ") || len(got) != 2 {
			t.Errorf("FFmpeg: %s plays as %v, want %v", track.ID, got, want)
		}
	}
	if n != len(fixtures.ClearSHA256()) {
		t.Errorf("clip leads to %d segments", n)
	}
}

func TestOtherProgramsDecryptTheNewMedia(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	w := l.start(t, ctx, "worker", "--read-back")
	out := l.rekey(t, ctx, nil, "compromise", "--reason", "test", "--wait",
		"--kid", movieVideo, "--kid", sharedAudio, "--kid", shortVideo, "--key-uri", clipKey)
	l.succeed(t, ctx, out)
	w.stop(t, ctx)
	l.judgeCENC(t, ctx, "movie/stream.mpd")
	l.judgeCENC(t, ctx, "movie/master.m3u8")
	l.judgeCENC(t, ctx, "short/stream.mpd")
	l.judgeClip(t, ctx)
	l.succeed(t, ctx, l.rekey(t, ctx, nil, "verify", "movie", "short", "clip", "other"))
}

func TestTwoRotationsOfOneAsset(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	l.work(t, ctx, e)
	first := plan(t, ctx, e, kid(t, movieVideo), kid(t, sharedAudio), kid(t, clipKey))
	drive(t, ctx, e, first.Rotation, journal.Done)
	p := l.player(e)
	want := truth(t, ctx, p, entryManifests...)
	held := map[string]frozen{}
	w := &watcher{p: p, want: want, versions: map[string]map[[32]byte]frozen{}}
	for _, entry := range entryManifests {
		if err := w.fetch(ctx, entry); err != nil {
			t.Fatal(err)
		}
		for _, f := range w.versions[entry] {
			held[entry] = f
		}
	}
	before := tree(t, ctx, l.media, "")
	leaked := first.Plans[0].KIDs()
	for _, pl := range first.Plans {
		for old, fresh := range pl.KIDs() {
			leaked[old] = fresh
		}
	}
	movie := first.Plans[1]
	if movie.Asset != "movie" {
		t.Fatalf("the second plan is of %s", movie.Asset)
	}
	second := plan(t, ctx, e, movie.KIDs()[kid(t, movieVideo)], movie.KIDs()[kid(t, sharedAudio)], leaked[kid(t, clipKey)])
	drive(t, ctx, e, second.Rotation, journal.Done)

	for k := range tree(t, ctx, l.media, "") {
		if strings.Count(k, "/"+catalog.TreeDir+"/") > 1 {
			t.Errorf("%s lies in two trees", k)
		}
		if _, was := before[k]; !was && catalog.TreeOf(k) != second.Rotation {
			t.Errorf("%s was written outside the second tree", k)
		}
	}
	for _, entry := range entryManifests {
		if err := p.plays(ctx, entry, want); err != nil {
			t.Error(err)
		}
		if err := (player{media: held[entry], keys: p.keys}).plays(ctx, entry, want); err != nil {
			t.Errorf("a viewer of the first tree: %v", err)
		}
	}
	l.judgeCENC(t, ctx, "movie/stream.mpd")
	l.judgeClip(t, ctx)
	for _, name := range []string{"movie", "clip"} {
		rep, err := e.Verify(ctx, name)
		if err != nil || len(rep.Problems) > 0 || rep.Equal == 0 {
			t.Errorf("verify %s: %+v, error %v", name, rep, err)
		}
	}
}
