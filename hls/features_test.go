package hls

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// features are playlists for the tags that testdata's packagers do not write.
func features(t testing.TB) map[string][]byte {
	return glob(t, "testdata/features/*.m3u8")
}

func glob(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("glob %s: %d files, err %v", pattern, len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	return files
}

// published are the playlists of the HLS fixtures.
func published(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir("../fixtures/hls", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".m3u8" {
			return err
		}
		b, err := os.ReadFile(name)
		files[name] = b
		return err
	})
	if err != nil || len(files) < 20 {
		t.Fatalf("%d playlists in fixtures/hls, err %v", len(files), err)
	}
	return files
}

// everything is all real and made-up playlists at hand.
func everything(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"messy": []byte(messy)}
	for _, set := range []map[string][]byte{playlists(t), shapes(t), features(t), published(t)} {
		for name, b := range set {
			all[name] = b
		}
	}
	return all
}

// somewhere has the variables and the parameters that the playlists ask for.
var somewhere = Context{
	Imported: Variables{"cdn": "https://cdn.example", "keys": "keys"},
	Query:    "a=1&token=s%2f%3F&ext=ts",
}

func parseSomewhere(t testing.TB, name string, b []byte) *Playlist {
	t.Helper()
	p, err := ParseWith(name, b, somewhere)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told prints what a playlist says.
func told(p *Playlist) string {
	var out []string
	for _, r := range p.Refs {
		s := fmt.Sprintf("%d %v: %s", r.Line, r.Role, r.Target)
		if r.Range != nil {
			s += fmt.Sprintf(" [%d+%d]", r.Range.Offset, r.Range.Length)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func TestFeatures(t *testing.T) {
	for name, want := range map[string]string{
		"multivariant.m3u8": `6 other: /steering?video=1
8 other: https://cdn.example/v1/more.json
9 session key: skd://c0ffee
10 rendition: https://cdn.example/v1/audio/en.m3u8
12 rendition: ../angles/c.m3u8
13 rendition: //cdn.example/subs/en.m3u8
16 variant stream: hi%20res.m3u8?token=a%2Fb&x=1#t
20 variant stream: https://cdn.example/v1/../v2/https://cdn.example/v1/audio/lo.m3u8
21 I-frame playlist: iframes.m3u8
22 image playlist: images.m3u8`,
		"variables.m3u8": `10 key: https://cdn.example/v_1-x.key?t=s/?
11 media initialization section: v_1-x/init.mp4 [0+100]
13 media segment: v_1-x/a.mp4?t=s/?
16 media segment: v_1-x/v_1-x.mp4 [100+20]
19 media segment: v_1-x/v_1-x.mp4 [120+30]
21 media segment: {$}/{$ }/{$a b}/{$c`,
		"events.m3u8": `7 other: ads/one.m3u8?a=1,2
8 other: https://ads.example/list.json?id={1}
12 media segment: /absolute/path/1.ts
15 media segment: https://other.example/2.ts
18 media segment: missing.ts
23 media segment: //cdn.example/3.ts
26 media segment: ../up/%E6%97%A5%2F4.ts?sig=a/../b&c="d"
28 media segment: a b'c,d;e=f.ts`,
		"lowlatency.m3u8": `7 media initialization section: init.mp4
8 key: data:text/plain;base64,o7MwMTIzNDU2Nzg5Ojs8PQ==
9 partial segment: 266.mp4 [0+20000]
10 partial segment: 266.mp4 [20000+23000]
11 partial segment: 266.mp4 [43000+18000]
13 media segment: 266.mp4
14 partial segment: 267.0.mp4
15 partial segment: 267.1.mp4
17 media segment: 267.mp4
18 partial segment: 268.0.mp4
19 preload hint: 268.mp4
20 preload hint: init2.mp4
21 rendition report: ../1M/waitForMSN.m3u8`,
		"aes_ranges.m3u8": `5 key: keys/one.bin
6 media initialization section: all.mp4 [0+832]
8 key: keys/two.bin
10 media segment: all.mp4 [832+16]
13 media segment: all.mp4 [848+32]
15 media initialization section: clear.mp4
18 media segment: all.mp4 [4294967296+4294967296]
21 media segment: all.mp4 [8589934592+9]`,
		"untidy.m3u8": `7 key: ../key.bin
10 media segment: v1/a.ts
13 media segment: v1/b.ts?q=1 [1+5]`,
	} {
		p := parseSomewhere(t, name, features(t)[name])
		if got := told(p); got != want {
			t.Errorf("%s says\n%s\nwant\n%s", name, got, want)
		}
		// The last of variables.m3u8 leads nowhere: it is no reference to anything.
		if err := p.Unsupported(); (err != nil) != (name == "variables.m3u8") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPartsAndViews(t *testing.T) {
	p := parseSomewhere(t, "", features(t)["lowlatency.m3u8"])
	if len(p.Parts) != 6 || len(p.Segments) != 2 {
		t.Fatalf("%d parts of %d segments", len(p.Parts), len(p.Segments))
	}
	for i, s := range p.Parts {
		if want := uint64(266 + i/3); i < 5 && s.Sequence != want || s.Gap != (i == 3) || len(s.Keys) != 1 || s.Map == nil {
			t.Errorf("part %d is %+v", i, s)
		}
	}
	p = parseSomewhere(t, "", features(t)["aes_iframes.m3u8"])
	for i, s := range p.Segments {
		if s.View != (i < 2) {
			t.Errorf("segment %d: View %v", i, s.View)
		}
	}
	for name, b := range published(t) {
		for _, s := range parseSomewhere(t, name, b).Segments {
			if want := strings.HasSuffix(name, "iframes.m3u8") && len(s.Keys) > 0; s.View != want {
				t.Errorf("%s line %d: View %v", name, s.Line, s.View)
			}
		}
	}
}

func TestEverythingIsSupported(t *testing.T) {
	for name, b := range everything(t) {
		p := parseSomewhere(t, name, b)
		if err := p.Unsupported(); err != nil && name != "variables.m3u8" {
			t.Error(err)
		}
	}
}

// blank hides what an edit of references, KIDs and ranges may change, by another
// reading of the lines than the package's.
func blank(line string) string {
	attribute := regexp.MustCompile(`\b((?:URI|X-ASSET-URI|X-ASSET-LIST|SERVER-URI|BYTERANGE) *= *)"[^"]*"`)
	keyID := regexp.MustCompile(`\b(KEYID=)0[xX][0-9a-fA-F]+`)
	rng := regexp.MustCompile(`^(\s*#EXT-X-BYTERANGE: *)[0-9@]+`)
	uri := regexp.MustCompile(`^(\s*)[^#\s].*?(\s*)$`)
	line = attribute.ReplaceAllString(line, `$1""`)
	line = keyID.ReplaceAllString(line, "${1}0x")
	line = rng.ReplaceAllString(line, "${1}")
	return uri.ReplaceAllString(line, "$1$2")
}

// TestEditTouchesOnlyWhatItMay moves every reference, key and range.
func TestEditTouchesOnlyWhatItMay(t *testing.T) {
	for name, b := range everything(t) {
		p := parseSomewhere(t, name, b)
		touched := map[int]bool{}
		out, err := p.Edit(func(r Ref) (Replacement, error) {
			touched[r.Line] = true
			n := Replacement{URI: "_rekey/r1/" + strings.ReplaceAll(r.Target, "{$", "%7B$")}
			if r.Range != nil {
				n.Range = &ByteRange{3 * r.Range.Offset, 3 * r.Range.Length}
			}
			if r.Key != nil && r.Key.KeyID != "" {
				n.KeyID = "0x" + strings.Repeat("5", 32)
			}
			return n, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		was, now := strings.Split(string(b), "\n"), strings.Split(string(out), "\n")
		if len(was) != len(now) {
			t.Fatalf("%s: %d lines, want %d", name, len(now), len(was))
		}
		for i := range was {
			tag := strings.TrimLeft(was[i], " \t")
			switch changed := was[i] != now[i]; {
			case touched[i+1] != changed && !strings.HasPrefix(tag, "#EXT-X-BYTERANGE"):
				t.Errorf("%s line %d: changed %v", name, i+1, changed)
			case blank(was[i]) != blank(now[i]):
				t.Errorf("%s line %d: %q became %q", name, i+1, was[i], now[i])
			}
		}
		q := parseSomewhere(t, name, out)
		for i, r := range p.Refs {
			if r.Range != nil && *q.Refs[i].Range != (ByteRange{3 * r.Range.Offset, 3 * r.Range.Length}) {
				t.Errorf("%s line %d: range %+v", name, r.Line, *q.Refs[i].Range)
			}
		}
	}
}

// wander gives each reference a random replacement, or none.
func wander(rnd *rand.Rand, p *Playlist) []Replacement {
	words := []string{"a", "ä/..", "b.ts?x=1", "{$x}", "?{$token}", "data:,", "#", "{", "$", " ", "//h/"}
	out := make([]Replacement, len(p.Refs))
	for i, r := range p.Refs {
		if rnd.IntN(3) == 0 {
			out[i].URI = words[rnd.IntN(len(words))] + words[rnd.IntN(len(words))]
		}
		if r.Range != nil && rnd.IntN(3) == 0 {
			out[i].Range = &ByteRange{rnd.Int64N(9), 1 + rnd.Int64N(9)}
		}
		if r.Key != nil && p.spots[i].keyID != (span{}) && rnd.IntN(3) == 0 {
			out[i].KeyID = fmt.Sprintf("0x%032x", rnd.Uint64())
		}
	}
	return out
}

// replay gives Edit the replacements in order.
func replay(rs []Replacement) func(Ref) (Replacement, error) {
	return func(Ref) (Replacement, error) {
		n := rs[0]
		rs = rs[1:]
		return n, nil
	}
}

func TestRandomEditsSayWhatWasWanted(t *testing.T) {
	all := everything(t)
	edits, refused := 0, 0
	for i := range uint64(12) {
		for name, b := range all {
			p := parseSomewhere(t, name, b)
			want := wander(rand.New(rand.NewPCG(i, 0)), p)
			out, err := p.Edit(replay(want))
			if err != nil {
				refused++
				continue
			}
			edits++
			checkEdited(t, p, parseSomewhere(t, name, out), want)
		}
	}
	if edits < refused/20 || edits < 100 {
		t.Errorf("%d edits and %d refused", edits, refused)
	}
}

// checkEdited compares an edited playlist with what was asked for.
func checkEdited(t *testing.T, p, q *Playlist, want []Replacement) {
	t.Helper()
	if len(q.Refs) != len(p.Refs) || len(q.Segments) != len(p.Segments) || len(q.Keys) != len(p.Keys) {
		t.Fatal("another playlist")
	}
	for i, r := range p.Refs {
		got := q.Refs[i]
		uri, rng := r.URI, r.Range
		if want[i].URI != "" {
			uri = want[i].URI
		}
		if want[i].Range != nil {
			rng = want[i].Range
		}
		if got.URI != uri || (got.Range == nil) != (rng == nil) || rng != nil && *got.Range != *rng {
			t.Fatalf("line %d: %+v, want %q %+v", r.Line, got, uri, rng)
		}
		if r.Key != nil && want[i].KeyID != "" && got.Key.KeyID != want[i].KeyID {
			t.Fatalf("line %d: KEYID %q", r.Line, got.Key.KeyID)
		}
	}
	for i, s := range p.Segments {
		if len(s.Keys) != len(q.Segments[i].Keys) || s.Sequence != q.Segments[i].Sequence || s.View != q.Segments[i].View {
			t.Fatalf("segment %d is %+v", i, q.Segments[i])
		}
	}
	if !slices.Equal(keyLines(p), keyLines(q)) {
		t.Fatal("key tags in other lines")
	}
}

func keyLines(p *Playlist) (lines []int) {
	for _, k := range p.Keys {
		lines = append(lines, k.Line)
	}
	return lines
}
