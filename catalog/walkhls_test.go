package catalog_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/key"
	"github.com/seed-6133abe0/rekey/store"
)

// objects are the sizes of what the playlists of these tests lead to: what is in
// them is nothing to the catalogue.
var objects = map[string]int{
	"a/key.bin": 16, "a/k2.bin": 16, "a/all.ts": 96, "a/1.ts": 32, "a/2.ts": 48, "a/odd.ts": 33, "a/init.mp4": 64,
}

func walk(t *testing.T, playlists map[string]string, o catalog.Options) *catalog.Asset {
	t.Helper()
	dir := t.TempDir()
	for name, size := range objects {
		// G is the sync byte of MPEG-2 TS.
		write(t, filepath.Join(dir, name), strings.Repeat("G", size))
	}
	for name, text := range playlists {
		if !strings.Contains(text, "EXT-X-STREAM-INF") {
			text = "#EXT-X-TARGETDURATION:4\n" + text + "\n#EXT-X-ENDLIST\n"
		}
		write(t, filepath.Join(dir, name), "#EXTM3U\n"+text+"\n")
	}
	media, err := store.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	entry := "a/s.m3u8"
	if _, ok := playlists["a/master.m3u8"]; ok {
		entry = "a/master.m3u8"
	}
	a, err := catalog.Walk(t.Context(), media, "a", []string{entry}, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const (
	keyLine  = `#EXT-X-KEY:METHOD=AES-128,URI="key.bin",IV=0x00000000000000000000000000000001` + "\n"
	k2Line   = `#EXT-X-KEY:METHOD=AES-128,URI="k2.bin",IV=0x00000000000000000000000000000002` + "\n"
	saesLine = `#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key.bin",IV=0x00000000000000000000000000000001` + "\n"
	noneLine = "#EXT-X-KEY:METHOD=NONE\n"
)

func ranged(r string) string { return "#EXTINF:4,\n#EXT-X-BYTERANGE:" + r + "\nall.ts\n" }

// TestRangesOfEncryptedObjects: each sub-range is a message with its own key and
// IV, and together they are the object, or the asset is refused by name.
func TestRangesOfEncryptedObjects(t *testing.T) {
	for name, c := range map[string]struct {
		playlists map[string]string
		messages  int
		refusal   string
	}{
		"whole":            {map[string]string{"a/s.m3u8": keyLine + "#EXTINF:4,\nall.ts"}, 1, ""},
		"ranges":           {map[string]string{"a/s.m3u8": keyLine + ranged("32@0") + ranged("64@32")}, 2, ""},
		"continued":        {map[string]string{"a/s.m3u8": keyLine + ranged("32@0") + ranged("32") + ranged("32")}, 3, ""},
		"keys change":      {map[string]string{"a/s.m3u8": keyLine + ranged("32@0") + k2Line + ranged("32") + noneLine + ranged("32")}, 3, ""},
		"map":              {map[string]string{"a/s.m3u8": keyLine + `#EXT-X-MAP:URI="all.ts",BYTERANGE="32@0"` + "\n" + ranged("64@32")}, 2, ""},
		"clear":            {map[string]string{"a/s.m3u8": keyLine + "#EXTINF:4,\n1.ts\n" + noneLine + ranged("32@8")}, 0, ""},
		"gap between":      {map[string]string{"a/s.m3u8": keyLine + ranged("32@0") + ranged("32@64")}, 2, "bytes 32 to 63"},
		"gap at the end":   {map[string]string{"a/s.m3u8": keyLine + ranged("32@0") + ranged("32@32")}, 2, "bytes 64 to 95"},
		"overlap":          {map[string]string{"a/s.m3u8": keyLine + ranged("64@0") + ranged("64@32")}, 2, "overlap at offset 32"},
		"past the end":     {map[string]string{"a/s.m3u8": keyLine + ranged("32@0") + ranged("80@32")}, 1, "goes past its end at 96"},
		"no block":         {map[string]string{"a/s.m3u8": keyLine + ranged("33@0") + ranged("63@33")}, 2, "multiple of 16"},
		"whole, no block":  {map[string]string{"a/s.m3u8": keyLine + "#EXTINF:4,\nodd.ts"}, -1, "multiple of 16"},
		"whole and ranges": {map[string]string{"a/s.m3u8": keyLine + "#EXTINF:4,\nall.ts\n" + ranged("96@0")}, 1, "one playlist lists it whole"},
		"two IVs":          {map[string]string{"a/s.m3u8": keyLine + "#EXTINF:4,\nall.ts\n" + k2Line + "#EXTINF:4,\nall.ts"}, 1, "different keys or IVs"},
	} {
		t.Run(name, func(t *testing.T) {
			a := walk(t, c.playlists, catalog.Options{})
			checkRefusal(t, a, c.refusal)
			n := -1
			for _, s := range a.Tracks[0].Segments {
				if s.Key == "a/all.ts" {
					n = len(s.Messages)
					if s.Messages == nil && !s.KID.IsZero() {
						n = 1
					}
				}
			}
			if n != c.messages {
				t.Errorf("%d messages, want %d: %+v", n, c.messages, a.Tracks[0].Segments)
			}
		})
	}
}

func checkRefusal(t *testing.T, a *catalog.Asset, want string) {
	t.Helper()
	if want == "" {
		if len(a.Refusals) > 0 {
			t.Errorf("refused: %+v", a.Refusals)
		}
		return
	}
	for _, r := range a.Refusals {
		if strings.Contains(r.Reason, want) && r.Object != "" {
			return
		}
	}
	t.Errorf("refusals %+v, want one that says %q", a.Refusals, want)
}

// TestIFrameRanges: ranges of an I-frame playlist are of segments that another
// playlist lists (RFC 8216 §6.3.6).
func TestIFrameRanges(t *testing.T) {
	master := "#EXT-X-STREAM-INF:BANDWIDTH=1\ns.m3u8\n" + `#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"`
	iframes := func(key, body string) string { return "#EXT-X-I-FRAMES-ONLY\n" + key + body }
	for name, c := range map[string]struct{ segments, iframes, refusal string }{
		"of segments":    {keyLine + "#EXTINF:4,\nall.ts", iframes(keyLine, ranged("33@5")+ranged("10@60")), ""},
		"of ranges":      {keyLine + ranged("32@0") + ranged("64@32"), iframes(keyLine, ranged("10@40")), ""},
		"across ranges":  {keyLine + ranged("32@0") + ranged("64@32"), iframes(keyLine, ranged("10@30")), "another key than the segment around it"},
		"of nothing":     {keyLine + "#EXTINF:4,\n1.ts", iframes(keyLine, ranged("10@40")), "no playlist lists as a segment"},
		"another key":    {keyLine + "#EXTINF:4,\nall.ts", iframes(k2Line, ranged("33@5")), "another key than the segment around it"},
		"past the end":   {keyLine + "#EXTINF:4,\nall.ts", iframes(keyLine, ranged("33@80")), "goes past its end"},
		"with tables":    {saesLine + "#EXTINF:4,\nall.ts", iframes(saesLine, `#EXT-X-MAP:URI="all.ts",BYTERANGE="12@0"`+"\n"+ranged("33@5")), ""},
		"whole segments": {keyLine + "#EXTINF:4,\nall.ts", iframes(keyLine, "#EXTINF:4,\nall.ts"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := walk(t, map[string]string{"a/master.m3u8": master, "a/s.m3u8": c.segments, "a/i.m3u8": c.iframes}, catalog.Options{})
			checkRefusal(t, a, c.refusal)
		})
	}
}

type names map[string]key.KID

func (n names) KIDOfURI(_ context.Context, uri string) (key.KID, bool, error) {
	kid, ok := n[uri]
	return kid, ok, nil
}

// TestKeyURIs: a key goes by what its tag says, then by what the keyring knows of
// its URI, then by the URI.
func TestKeyURIs(t *testing.T) {
	known := key.NewKID()
	space, err := catalog.NewSpace([]string{"https://cdn.example/vod/"}, []string{"https://ads.example/"})
	if err != nil {
		t.Fatal(err)
	}
	o := catalog.Options{
		Space: space, Keys: names{"https://keys.example/1": known, "a/k2.bin": known},
		Renews: func(uri string) bool { return strings.HasPrefix(uri, "https:") },
	}
	tag := func(method, uri string) string {
		return "#EXT-X-KEY:METHOD=" + method + `,URI="` + uri + `",IV=0x00000000000000000000000000000001` + "\n#EXTINF:4,\n1.ts"
	}
	for name, c := range map[string]struct {
		playlist, refusal string
		kid               key.KID
		objects, uris     int
	}{
		"object":         {tag("AES-128", "key.bin"), "", key.KIDFromURI("a/key.bin"), 1, 0},
		"known object":   {tag("AES-128", "k2.bin"), "", known, 1, 0},
		"at an origin":   {tag("AES-128", "https://cdn.example/vod/a/key.bin?t=1"), "", key.KIDFromURI("a/key.bin"), 1, 0},
		"known server":   {tag("AES-128", "https://keys.example/1"), "", known, 0, 1},
		"unknown server": {tag("SAMPLE-AES", "https://keys.example/2"), "", key.KIDFromURI("https://keys.example/2"), 0, 1},
		"no template":    {tag("SAMPLE-AES", "skd://2"), "new_key_uri", key.KIDFromURI("skd://2"), 0, 1},
		"size":           {tag("AES-128", "1.ts"), "want 16", key.KIDFromURI("a/1.ts"), 1, 0},
		"missing":        {tag("AES-128", "no.bin"), "missing", key.KIDFromURI("a/no.bin"), 0, 0},
		"outside":        {tag("AES-128", "../../key.bin"), "leaves the media root", key.KIDFromURI("../../key.bin"), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := walk(t, map[string]string{"a/s.m3u8": c.playlist}, o)
			checkRefusal(t, a, c.refusal)
			if len(a.Keys) != c.objects || len(a.KeyURIs) != c.uris || !a.Tracks[0].Uses(c.kid) {
				t.Errorf("keys %+v, URIs %+v, track %+v; want KID %s", a.Keys, a.KeyURIs, a.Tracks[0], c.kid)
			}
		})
	}
}

// TestVariables: a child's URIs are found with its parent's variables, by the scan
// too.
func TestVariables(t *testing.T) {
	a := walk(t, map[string]string{
		"a/master.m3u8": `#EXT-X-DEFINE:NAME="dir",VALUE="."` + "\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$dir}/s.m3u8?n=1",
		"a/s.m3u8":      `#EXT-X-DEFINE:IMPORT="dir"` + "\n" + `#EXT-X-DEFINE:QUERYPARAM="n"` + "\n" + keyLine + "#EXTINF:4,\n{$dir}/{$n}.ts",
	}, catalog.Options{})
	checkRefusal(t, a, "")
	if s := a.Tracks[0].Segments; len(s) != 1 || s[0].Key != "a/1.ts" {
		t.Errorf("segments %+v", s)
	}
}

// TestRangesOfOneObjectInTwoPlaylists: whoever lists an object first has it, under
// all the keys that any playlist names for it.
func TestRangesOfOneObjectInTwoPlaylists(t *testing.T) {
	a := walk(t, map[string]string{
		"a/master.m3u8": "#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nb.m3u8",
		"a/a.m3u8":      keyLine + ranged("32@0"),
		"a/b.m3u8":      keyLine + ranged("32@0") + k2Line + ranged("64@32"),
	}, catalog.Options{})
	checkRefusal(t, a, "")
	k2 := key.KIDFromURI("a/k2.bin")
	for _, track := range a.Tracks {
		if len(track.Segments) > 0 && (!track.Uses(k2) || len(track.Segments[0].Messages) != 2) {
			t.Errorf("track %+v does not know that its object is under %s too", track, k2)
		}
	}
}

// TestOpaqueKeyURIs: FairPlay's URI over fMP4 may say nothing of the KID. It gets
// a successor where the configuration has one, and else is a finding.
func TestOpaqueKeyURIs(t *testing.T) {
	media, _ := library(t, func(dir string) {
		for _, name := range []string{"movie/hi.m3u8", "movie/lo.m3u8"} {
			file := filepath.Join(dir, name)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tags := regexp.MustCompile(`(?m)^(#EXT-X-KEY:.*\n)+`)
			write(t, file, tags.ReplaceAllString(string(b), `#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="skd://movie1",KEYFORMAT="com.apple.streamingkeydelivery"`+"\n"))
		}
	})
	entries := []string{"movie/master.m3u8", "movie/stream.mpd"}
	for _, renews := range []bool{false, true} {
		a, err := catalog.Walk(t.Context(), media, "movie", entries, catalog.Options{Renews: func(string) bool { return renews }})
		if err != nil {
			t.Fatal(err)
		}
		checkRefusal(t, a, "")
		if (len(a.KeyURIs) == 1) != renews || (len(a.Findings) == 1) == renews {
			t.Errorf("renews %v: URIs %+v, findings %q", renews, a.KeyURIs, a.Findings)
		}
	}
}
