package endtoend

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/services"
)

// unsound is a copy of an asset of the library with one fault.
type unsound struct {
	from  string // folder of the library
	spoil func(t *testing.T, ctx context.Context, l *lab)
	// object and reason are what the refusal must name.
	object, reason string
	// opaque is true where the keys it uses cannot be read any more.
	opaque bool
}

func edited(object string, edit func(*testing.T, []byte) []byte) func(*testing.T, context.Context, *lab) {
	return func(t *testing.T, ctx context.Context, l *lab) {
		t.Helper()
		l.change(t, ctx, object, func(b []byte) []byte { return edit(t, b) })
	}
}

// unsounds are by the folder they stand in.
func unsounds() map[string]unsound {
	cut := func(_ *testing.T, b []byte) []byte { return b[:len(b)*2/3] }
	swap := func(old, now string) func(*testing.T, []byte) []byte {
		return func(t *testing.T, b []byte) []byte { return replace(t, old, now)(b) }
	}
	return map[string]unsound{
		"live": {
			from: "clip", object: "live/vlo/stream.m3u8", reason: "ENDLIST",
			spoil: edited("live/vlo/stream.m3u8", swap("#EXT-X-ENDLIST\n", "")),
		},
		"gone": {
			from: "movie", object: "gone/lo/003.m4s", reason: "missing",
			spoil: func(t *testing.T, ctx context.Context, l *lab) {
				if err := l.media.Delete(ctx, "gone/lo/003.m4s"); err != nil {
					t.Fatal(err)
				}
			},
		},
		"mixed": {
			from: "other", object: "mixed/stream.mpd", reason: "default_KID",
			spoil: edited("mixed/stream.mpd", swap("0f1e-2d3c4b5a6978", "0f1e-2d3c4b5a6979")),
		},
		"torn": {from: "other", opaque: true, object: "torn/stream.mpd", reason: "refused", spoil: edited("torn/stream.mpd", cut)},
		"doctype": {
			from: "other", opaque: true, object: "doctype/stream.mpd", reason: "document type declaration",
			spoil: edited("doctype/stream.mpd", swap("<MPD ", "<!DOCTYPE MPD [<!ENTITY a \"b\">]><MPD ")),
		},
		"noinit": {from: "other", opaque: true, object: "noinit/video/init.mp4", reason: "malformed", spoil: edited("noinit/video/init.mp4", cut)},
	}
}

// says wants a line of a text that names both object and reason.
func says(t *testing.T, text, object, reason string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.Contains(line, object) && strings.Contains(line, reason) {
			return
		}
	}
	t.Errorf("no line names %q and %q:\n%s", object, reason, text)
}

func TestInvariant8RefuseLoudly(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	t.Run("live", func(t *testing.T) {
		t.Parallel()
		ctx := bounded(t)
		l := labOn(t, minio)
		l.upload(t, ctx, fixtures.More(), ".", "")
		for _, mpd := range []string{"cbcs/stream.mpd", "leadclear/stream.mpd"} {
			l.change(t, ctx, mpd, replace(t, `type="static"`, `type="dynamic"`))
		}
		l.index(t, ctx)
		before := tree(t, ctx, l.media, "")
		a := l.rekey(t, ctx, nil, "compromise", "--kid", cbcsKID, "--kid", leadKID, "--reason", "test", "--wait")
		if a.code != 4 {
			t.Errorf("exit %d, want 4", a.code)
		}
		says(t, a.stdout, "cbcs/stream.mpd", "dynamic")
		says(t, a.stdout, "leadclear/stream.mpd", "dynamic")
		sameTree(t, "refused assets", tree(t, ctx, l.media, ""), before)
	})
	t.Run("found by the scan", func(t *testing.T) { t.Parallel(); refuseUnsound(t, minio, true) })
	t.Run("broken after the scan", func(t *testing.T) { t.Parallel(); refuseUnsound(t, minio, false) })
	t.Run("key object", func(t *testing.T) { t.Parallel(); refuseKeyObject(t, minio) })
}

func refuseUnsound(t *testing.T, minio services.MinIO, scanLast bool) {
	ctx := bounded(t)
	l := labOn(t, minio).stock(t, ctx)
	all := unsounds()
	for name, tc := range all {
		l.upload(t, ctx, fixtures.Library(), tc.from, name)
	}
	l.scan(t, ctx)
	for _, tc := range all {
		tc.spoil(t, ctx, l)
	}
	var scanned string
	if scanLast {
		scanned = l.succeed(t, ctx, l.rekey(t, ctx, nil, "scan"))
	}
	before := tree(t, ctx, l.media, "")
	w := l.start(t, ctx, "worker")
	a := l.rekey(t, ctx, nil, "compromise", "--reason", "test", "--wait",
		"--kid", movieVideo, "--kid", otherVideo, "--key-uri", "live/key.bin")
	if a.code != 4 {
		t.Errorf("exit %d, want 4\n%s%s", a.code, a.stdout, a.stderr)
	}
	// Every asset that depends on this key is sound; that there may be others is
	// said all the same.
	sound := l.rekey(t, ctx, nil, "compromise", "--reason", "test", "--wait", "--kid", shortVideo)
	if want := map[bool]int{true: 4, false: 0}[scanLast]; sound.code != want {
		t.Errorf("exit %d, want %d\n%s%s", sound.code, want, sound.stdout, sound.stderr)
	}
	w.stop(t, ctx)
	for name, tc := range all {
		if scanLast {
			says(t, scanned, tc.object, tc.reason)
		}
		if tc.opaque && scanLast {
			// Which keys it uses is unknown, so that no rotation can take it in;
			// a run names it all the same.
			says(t, sound.stderr, name, "not known")
		} else {
			says(t, a.stdout, tc.object, tc.reason)
		}
	}
	after := tree(t, ctx, l.media, "")
	for k, sum := range after {
		asset, _, _ := strings.Cut(k, "/")
		if _, refused := all[asset]; refused && before[k] != sum {
			t.Errorf("%s of a refused asset changed", k)
		}
	}
	for _, sound := range []string{"movie/_rekey/", "other/_rekey/"} {
		if len(tree(t, ctx, l.media, sound)) == 0 {
			t.Errorf("nothing under %s: sound assets are not held back", sound)
		}
	}
}

// A key object that is no key cannot be registered: the scan says so, and its
// URI names no key. Broken after the scan, it refuses its asset.
func refuseKeyObject(t *testing.T, minio services.MinIO) {
	ctx := bounded(t)
	l := labOn(t, minio)
	for _, name := range []string{"early", "late"} {
		l.upload(t, ctx, fixtures.Library(), "clip", name)
	}
	longer := func(b []byte) []byte { return append(b, '\n') }
	l.change(t, ctx, "early/key.bin", longer)
	says(t, l.succeed(t, ctx, l.rekey(t, ctx, nil, "scan")), "early/key.bin", "17 bytes")
	l.change(t, ctx, "late/key.bin", longer)
	before := tree(t, ctx, l.media, "")
	if a := l.rekey(t, ctx, nil, "--json", "compromise", "--key-uri", "early/key.bin", "--reason", "test", "--wait"); a.code != 1 || !strings.Contains(a.stderr, `"class":"no-key"`) {
		t.Errorf("exit %d, want 1 and no-key\n%s", a.code, a.stderr)
	}
	a := l.rekey(t, ctx, nil, "compromise", "--key-uri", "late/key.bin", "--reason", "test", "--wait")
	if a.code != 4 {
		t.Errorf("exit %d, want 4", a.code)
	}
	says(t, a.stdout, "late/key.bin", "17 bytes")
	sameTree(t, "refused assets", tree(t, ctx, l.media, ""), before)
}
