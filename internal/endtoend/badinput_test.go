package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/internal/services"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/rotation"
	"github.com/seed-6133abe0/rekey/store"
)

// wrong is a key that no fixture has.
const wrong = "00112233445566778899aabbccddeeff"

// spoiled is a library with one fault, and what must come of it.
type spoiled struct {
	// keys edits the imported key lines; media edits the library, before the
	// scan or after the plan.
	keys             func(string) string
	media, afterPlan func(t *testing.T, ctx context.Context, l *lab)
	key              string
	asset            string
	object           string
	reasons          []string // any of them
	refused          bool     // in the plan already; else it fails
}

func withoutPlayReady(t *testing.T, ctx context.Context, l *lab) {
	t.Helper()
	for _, track := range []string{"video", "audio"} {
		l.change(t, ctx, "other/"+track+"/init.mp4", replace(t, "pssh", "free"))
	}
	// The MPD's copies are not looked at for check values, and stay.
}

func corrupt(object string, edit func([]byte) []byte) func(*testing.T, context.Context, *lab) {
	return func(t *testing.T, ctx context.Context, l *lab) { t.Helper(); l.change(t, ctx, object, edit) }
}

func flipAt(typ string, offset int) func([]byte) []byte {
	return func(b []byte) []byte { b[bytes.Index(b, []byte(typ))+4+offset] ^= 0x80; return b }
}

func spoils() map[string]spoiled {
	wrongKey := func(kid string) func(string) string {
		return func(lines string) string {
			before, after, _ := strings.Cut(lines, kid+":")
			return before + kid + ":" + wrong + after[32:]
		}
	}
	return map[string]spoiled{
		"wrong key, by CHECKSUM": {
			keys: wrongKey(movieVideo), key: movieVideo, asset: "movie",
			object: "movie/hi/init.mp4", reasons: []string{"CHECKSUM"},
		},
		"wrong key, by the media": {
			keys: wrongKey(otherVideo), media: withoutPlayReady, key: otherVideo, asset: "other",
			object: "other/video/001.m4s", reasons: []string{"old key is wrong"},
		},
		"wrong key of a clip": {
			media: corrupt(clipKey, func([]byte) []byte { return []byte("not the clip key") }),
			key:   clipKey, asset: "clip", object: "clip/vhi/seg_000.ts", reasons: []string{"wrong key", "padding", "key is wrong"},
		},
		"truncated segment": {
			media: corrupt("movie/hi/004.m4s", func(b []byte) []byte { return b[:len(b)-1000] }),
			key:   movieVideo, asset: "movie", object: "movie/hi/004.m4s", reasons: []string{"mdat", "malformed"},
		},
		"flipped senc": {
			media: corrupt("movie/hi/004.m4s", flipAt("senc", 4)), // the high bit of sample_count
			key:   movieVideo, asset: "movie", object: "movie/hi/004.m4s", reasons: []string{"senc"},
		},
		"flipped trun": {
			media: corrupt("movie/lo/002.m4s", flipAt("trun", 4)),
			key:   movieVideo, asset: "movie", object: "movie/lo/002.m4s", reasons: []string{"trun"},
		},
		"truncated clip segment": {
			media: corrupt("clip/vhi/seg_003.ts", func(b []byte) []byte { return b[:len(b)-5] }),
			key:   clipKey, asset: "clip", object: "clip/vhi/seg_003.ts", reasons: []string{"multiple of 16"}, refused: true,
		},
		"flipped last block of a clip segment": {
			media: corrupt("clip/vlo/seg_010.ts", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
			key:   clipKey, asset: "clip", object: "clip/vlo/seg_010.ts", reasons: []string{"padding"},
		},
		"segment gone after the plan": {
			afterPlan: func(t *testing.T, ctx context.Context, l *lab) {
				if err := l.media.Delete(ctx, "movie/hi/003.m4s"); err != nil {
					t.Fatal(err)
				}
			},
			key: movieVideo, asset: "movie", object: "movie/hi/003.m4s", reasons: []string{"no such object"},
		},
	}
}

func TestInvariant10BadInput(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	for name, tc := range spoils() {
		t.Run(name, func(t *testing.T) { t.Parallel(); tc.run(t, minio) })
	}
}

func (tc spoiled) run(t *testing.T, minio services.MinIO) {
	ctx := bounded(t)
	l := labOn(t, minio)
	l.upload(t, ctx, fixtures.Library(), tc.asset, tc.asset)
	if tc.media != nil {
		tc.media(t, ctx, l)
	}
	lines := string(fixtures.Keys())
	if tc.keys != nil {
		lines = tc.keys(lines)
	}
	l.succeed(t, ctx, l.rekey(t, ctx, []byte(lines), "keys", "import", "-"))
	l.scan(t, ctx)
	e := l.engine(t)
	l.work(t, ctx, e)
	p := plan(t, ctx, e, kid(t, tc.key))
	if tc.afterPlan != nil {
		tc.afterPlan(t, ctx, l)
	}
	before := tree(t, ctx, l.media, "")
	a := asset(t, drive(t, ctx, e, p.Rotation, journal.Failed), tc.asset)
	want := journal.AssetFailed
	if tc.refused {
		want = journal.AssetRefused
	}
	if a.State != want || a.Object != tc.object {
		t.Errorf("asset is %s at %s: %s", a.State, a.Object, a.Reason)
	}
	said := false
	for _, r := range tc.reasons {
		said = said || strings.Contains(a.Reason, r)
	}
	if !said {
		t.Errorf("reason %q says none of %q", a.Reason, tc.reasons)
	}
	tc.unpublished(t, ctx, l, e, p, before)
}

// unpublished wants every object that stood to stand as it was, and no manifest
// and no key object to be new. Where the plan itself failed nothing is new.
func (tc spoiled) unpublished(t *testing.T, ctx context.Context, l *lab, e *rotation.Engine, p rotation.Planned, before map[string]string) {
	t.Helper()
	after := tree(t, ctx, l.media, "")
	for k, sum := range before {
		if after[k] != sum {
			t.Errorf("%s changed", k)
		}
	}
	for k := range after {
		_, was := before[k]
		if !was && (p.Plans[0].Refusal != nil || catalog.IsManifest(k) || strings.HasSuffix(k, "key.bin")) {
			t.Errorf("%s was published", k)
		}
	}
	// Wrong keys and faults in what the proof looks at are found before
	// anything is written.
	if tc.keys != nil && p.Plans[0].Refusal == nil {
		t.Error("the wrong key got past the plan")
	}
	for _, err := range e.Journal().Parts(ctx, p.Rotation, tc.asset) {
		if err != nil {
			t.Error(err)
		}
	}
}

// A bit that flips inside a CENC payload cannot be told from media: there is no
// integrity check, and in CTR it flips the same bit of the clear media. It must
// come out as exactly that, and harm nothing else. The bit lies in the middle of
// the last sample of hi/002.m4s.
func TestInvariant10FlippedPayloadStaysThatFlip(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	l := stocked(t, ctx)
	e := l.engine(t)
	l.work(t, ctx, e)
	p := l.player(e)
	want := truth(t, ctx, p, entryManifests...)
	const object = "movie/hi/002.m4s"
	l.change(t, ctx, object, func(b []byte) []byte { b[len(b)-200] ^= 0x10; return b })
	flipped := truth(t, ctx, p, "movie/stream.mpd")
	for name, sum := range flipped {
		if (sum != want[name]) != (name == object) {
			t.Errorf("%s: the flip is not in one segment only", name)
		}
	}
	l.scan(t, ctx)
	started := plan(t, ctx, e, kid(t, movieVideo))
	if _, err := e.Drive(ctx, started.Rotation); err != nil {
		t.Fatal(err)
	}
	a, err := e.Status(ctx, started.Rotation)
	if err != nil {
		t.Fatal(err)
	}
	if got := asset(t, a, "movie"); got.State != journal.AssetVerified {
		t.Fatalf("movie is %s: %s: %s", got.State, got.Object, got.Reason)
	}
	if err := p.plays(ctx, "movie/stream.mpd", flipped); err != nil {
		t.Error(err)
	}
}

// A record in the control prefix that cannot be read stops the command with the
// record's name, and nothing is published.
func TestInvariant10BadControlRecord(t *testing.T) {
	t.Parallel()
	minio := services.StartMinIO(t)
	for name, tc := range map[string]struct {
		prefix, class string
		body          string
	}{
		"plan not JSON":     {prefix: "rotations/%/plan/", class: "corrupt", body: "{\"rotation\": \"r"},
		"plan out of range": {prefix: "rotations/%/plan/", class: "corrupt", body: `{"rotation":"%","asset":"movie","parts":[{"n":0,"track":7}]}`},
		"part not JSON":     {prefix: "rotations/%/parts/", class: "corrupt", body: "not a record"},
		"state not JSON":    {prefix: "rotations/%/state.json", class: "corrupt", body: "[]"},
		"key not JSON":      {prefix: "keys/", class: "corrupt", body: "\x00\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := bounded(t)
			l := labOn(t, minio).stock(t, ctx)
			e := l.engine(t)
			p := plan(t, ctx, e, kid(t, movieVideo))
			for _, part := range partsOf(p) {
				if err := workerOf(e).Work(ctx, part, true); err != nil {
					t.Fatal(err)
				}
			}
			bad := l.spoilRecord(t, ctx, e, p, tc.prefix, tc.body)
			before := tree(t, ctx, l.media, "")
			a := l.rekey(t, ctx, nil, "--json", "resume", p.Rotation, "--wait")
			var line struct{ Error, Class string }
			if err := json.Unmarshal([]byte(strings.TrimSpace(a.stderr)), &line); err != nil {
				t.Fatalf("stderr %q: %v", a.stderr, err)
			}
			if a.code != 1 || line.Class != tc.class || !strings.Contains(line.Error, bad) {
				t.Errorf("exit %d, class %q, error %q; want 1, %q and %s", a.code, line.Class, line.Error, tc.class, bad)
			}
			sameTree(t, "media", tree(t, ctx, l.media, ""), before)
		})
	}
}

// spoilRecord overwrites the record under a prefix and returns its name.
func (l *lab) spoilRecord(t *testing.T, ctx context.Context, e *rotation.Engine, p rotation.Planned, prefix, body string) string {
	t.Helper()
	prefix = strings.ReplaceAll(prefix, "%", p.Rotation)
	if prefix == "keys/" {
		prefix += p.Plans[0].Keys[0].NewKID.String()
	}
	for info, err := range e.Control.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Control.Put(ctx, info.Key, []byte(strings.ReplaceAll(body, "%", p.Rotation)), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		return info.Key
	}
	t.Fatalf("no record under %s", prefix)
	return ""
}
