package hls

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// library returns the fixtures that match the pattern; none is a failure.
func library(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(fixtures.Library(), pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("glob %q: %d files, err %v", pattern, len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := fs.ReadFile(fixtures.Library(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}

func playlists(t testing.TB) map[string][]byte {
	t.Helper()
	all := library(t, "*/*.m3u8")
	for name, b := range library(t, "*/*/*.m3u8") {
		all[name] = b
	}
	return all
}

func mustParse(t testing.TB, text string) *Playlist {
	t.Helper()
	p, err := Parse("p.m3u8", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLibraryPlaylistsAreSupported(t *testing.T) {
	for name, b := range playlists(t) {
		p, err := Parse(name, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Unsupported(); err != nil {
			t.Error(err)
		}
		if want := strings.HasSuffix(name, "master.m3u8"); p.Multivariant != want {
			t.Errorf("%s: Multivariant %v, want %v", name, p.Multivariant, want)
		}
		if !p.Multivariant && len(p.Segments) != 4 {
			t.Errorf("%s: %d segments, want 4", name, len(p.Segments))
		}
	}
}

func TestKeysInForce(t *testing.T) {
	p := mustParse(t, `#EXTM3U
#EXT-X-MEDIA-SEQUENCE:18446744073709551610
#EXTINF:1,
clear0.ts
#EXT-X-KEY:METHOD=AES-128,URI="k0",IV=0X000102030405060708090A0B0C0D0E0F
#EXTINF:1,
a.ts
#EXTINF:1,
b.ts
#EXT-X-KEY:METHOD=NONE
#EXTINF:1,
clear1.ts
#EXT-X-KEY:METHOD=AES-128,URI="k1"
#EXT-X-DISCONTINUITY
#EXTINF:1,
c.ts
#EXT-X-GAP
#EXTINF:1,
gap.ts
#EXT-X-ENDLIST
`)
	if err := p.Unsupported(); err != nil {
		t.Fatal(err)
	}
	explicit, err := key.ParseIV("0x000102030405060708090a0b0c0d0e0f")
	if err != nil {
		t.Fatal(err)
	}
	const first = 18446744073709551610
	want := []struct {
		uri, key string
		iv       key.IV
		gap      bool
	}{
		{"clear0.ts", "", key.IV{}, false},
		{"a.ts", "k0", explicit, false},
		{"b.ts", "k0", explicit, false},
		{"clear1.ts", "", key.IV{}, false},
		{"c.ts", "k1", key.SequenceIV(first + 4), false},
		{"gap.ts", "k1", key.SequenceIV(first + 5), true},
	}
	if len(p.Segments) != len(want) {
		t.Fatalf("%d segments, want %d", len(p.Segments), len(want))
	}
	for i, w := range want {
		s := p.Segments[i]
		if s.URI != w.uri || s.Gap != w.gap || s.Sequence != first+uint64(i) {
			t.Errorf("segment %d is %+v", i, s)
		}
		switch {
		case w.key == "" && s.Keys != nil:
			t.Errorf("%s: has keys, want clear", s.URI)
		case w.key != "" && (len(s.Keys) != 1 || s.Keys[0].URI != w.key || s.IV(s.Keys[0]) != w.iv):
			t.Errorf("%s: keys %+v, want %s with %v", s.URI, s.Keys, w.key, w.iv)
		}
	}
	if len(p.Keys) != 3 {
		t.Errorf("%d key tags, want 3", len(p.Keys))
	}
}

func TestKeyFormatsAndMap(t *testing.T) {
	p := mustParse(t, `#EXTM3U
#EXT-X-MAP:URI="i0.mp4"
#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AAECAwQFBgcICQoLDA0ODw=="
#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="skd://1",KEYFORMAT="com.apple.streamingkeydelivery"
#EXTINF:1,
a.m4s
#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="skd://2",KEYFORMAT="com.apple.streamingkeydelivery"
#EXT-X-MAP:URI="i1.mp4",BYTERANGE="100@20"
#EXTINF:1,
#EXT-X-BYTERANGE:10@5
b.m4s
#EXTINF:1,
#EXT-X-BYTERANGE:7
b.m4s
#EXT-X-ENDLIST
`)
	if err := p.Unsupported(); err != nil {
		t.Fatal(err)
	}
	a, b, c := p.Segments[0], p.Segments[1], p.Segments[2]
	if a.Map.URI != "i0.mp4" || a.Map.Keys != nil || len(a.Keys) != 2 || a.Keys[1].URI != "skd://1" {
		t.Errorf("first segment is %+v", a)
	}
	if b.Map.URI != "i1.mp4" || len(b.Map.Keys) != 2 || *b.Map.Range != (ByteRange{20, 100}) {
		t.Errorf("map of the second segment is %+v", b.Map)
	}
	if len(b.Keys) != 2 || b.Keys[1].URI != "skd://2" || b.Keys[0].KeyFormat != FormatIdentity {
		t.Errorf("keys of the second segment are %+v", b.Keys)
	}
	if *b.Range != (ByteRange{5, 10}) || *c.Range != (ByteRange{15, 7}) {
		t.Errorf("ranges are %+v and %+v", b.Range, c.Range)
	}
}

func TestMultivariantRefs(t *testing.T) {
	p := mustParse(t, `#EXTM3U
#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k.bin"
#EXT-X-SESSION-DATA:DATA-ID="com.example",URI="data.json"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x, \ y",URI="audio.m3u8"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="c",NAME="cc",INSTREAM-ID="CC1"
#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1,mp4a"

# a comment between
../v/hi.m3u8?token=1&x=%20
#EXT-X-I-FRAME-STREAM-INF:URI="i.m3u8",BANDWIDTH=1
#EXT-X-CONTENT-STEERING:SERVER-URI="/steer"
`)
	want := []string{
		"session key k.bin 2", "other data.json 3", "rendition audio.m3u8 4",
		"variant stream ../v/hi.m3u8?token=1&x=%20 9", "I-frame playlist i.m3u8 10", "other /steer 11",
	}
	var got []string
	for _, r := range p.Refs {
		got = append(got, fmt.Sprintf("%v %s %d", r.Role, r.URI, r.Line))
	}
	if !p.Multivariant || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("refs are\n%s", strings.Join(got, "\n"))
	}
	if err := p.Unsupported(); err != nil {
		t.Error(err)
	}
}

func TestUnsupportedByNameAndLine(t *testing.T) {
	const head, end = "#EXTM3U\n", "#EXT-X-ENDLIST\n"
	const aes = "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n"
	tests := []struct{ name, text, want string }{
		{"live", head + "#EXTINF:1,\na.ts\n", "no EXT-X-ENDLIST"},
		{"part", head + aes + "#EXT-X-PART:DURATION=1,URI=\"p.ts\"\n" + end, "line 3, column 1: not supported: EXT-X-PART under METHOD AES-128 (EXT-X-KEY of line 2)"},
		{"part of TS", head + "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXT-X-PART:DURATION=1,URI=\"p.ts\"\n" + end, "line 3, column 1: not supported: EXT-X-PART under METHOD SAMPLE-AES"},
		{"CTR without map", head + "#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI=\"k\"\n#EXTINF:1,\n a.ts\n" + end, "line 4, column 2: not supported: METHOD SAMPLE-AES-CTR without EXT-X-MAP (EXT-X-KEY of line 2)"},
		{"two keys", head + aes + "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"x\"\n#EXTINF:1,\na.ts\n" + end, "line 5, column 1: not supported: keys of several KEYFORMATs under AES-128"},
		{"skip", head + "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n" + end, "line 2, column 1: not supported: EXT-X-SKIP"},
		{"map", head + aes + "#EXT-X-MAP:URI=\"i\"\n#EXTINF:1,\na.mp4\n" + end, "line 3, column 1: not supported: EXT-X-MAP under AES-128 without an IV"},
		{"method", head + "#EXT-X-KEY:METHOD=ROT13,URI=\"k\"\n" + end, "line 2, column 1: not supported: METHOD \"ROT13\""},
		{"format", head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",KEYFORMAT=\"x\"\n" + end, "line 2, column 1: not supported: AES-128 with KEYFORMAT"},
		{"inline key", head + "#EXT-X-KEY:METHOD=AES-128,URI=\"data:;base64,U0VDUkVUU0VDUkVUU0VDUg==\"\n" + end, "line 2, column 1: not supported: AES-128 key inside the playlist"},
		{"map range", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:9@3\na.mp4\n#EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"9\"\n" + end, "line 5, column 35: not supported: BYTERANGE of EXT-X-MAP has no offset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := mustParse(t, tt.text).Unsupported()
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "U0VDUkVU") {
				t.Error("error quotes a key URI")
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	const head = "#EXTM3U\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", "line 1, column 1: malformed: first line"},
		{"no header", "#EXTINF:1,\na.ts\n", "line 1, column 1: malformed: first line"},
		{"header suffix", "#EXTM3U8\n", "line 1, column 1: malformed: first line"},
		{"stray URI", head + "a.ts\n", "line 2, column 1: malformed: URI without an EXTINF"},
		{"no segment URI", head + "#EXTINF:1,\n", "EXTINF of line 2 has no URI"},
		{"no variant URI", head + "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", "line 3, column 1: malformed: EXT-X-STREAM-INF of line 2"},
		{"no variant URI at end", head + "#EXT-X-STREAM-INF:BANDWIDTH=1\n", "EXT-X-STREAM-INF of line 2"},
		{"both kinds", head + "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n#EXT-X-ENDLIST\n", "media playlist's tag in line 4"},
		{"key without method", head + "#EXT-X-KEY:URI=\"k\"\n", "line 2, column 1: malformed: key tag has no METHOD"},
		{"key without URI", head + "#EXT-X-KEY:METHOD=AES-128\n", "line 2, column 1: malformed: key tag has no URI"},
		{"session key none", head + "#EXT-X-SESSION-KEY:METHOD=NONE\n", "METHOD=NONE"},
		{"IV", head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x12\n", "line 2, column 38: malformed: IV"},
		{"twice", head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",URI=\"l\"\n", "attribute URI appears twice"},
		{"open quote", head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\n", "no end of the quoted-string of attribute URI"},
		{"unquoted URI", head + "#EXT-X-MAP:URI=k\n", "not a quoted-string"},
		{"map without URI", head + "#EXT-X-MAP:BYTERANGE=\"1@0\"\n", "EXT-X-MAP has no URI"},
		{"captions with a URI", head + "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,URI=\"a\"\n", "line 2, column 40: malformed: EXT-X-MEDIA of TYPE=CLOSED-CAPTIONS has a URI"},
		{"subtitles without a URI", head + "#EXT-X-MEDIA:TYPE=SUBTITLES\n", "EXT-X-MEDIA of TYPE=SUBTITLES has no URI"},
		{"images without a URI", head + "#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1\n", "required attribute URI is missing"},
		{"long IV", head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x000102030405060708090a0b0c0d0e0f00\n", "IV is not 0x and 32 hex digits"},
		{"METHOD twice", head + "#EXT-X-KEY:METHOD=NONE,URI=\"k\",METHOD=AES-128\n", "line 2, column 32: malformed: attribute METHOD appears twice"},
		{"no comma", head + "#EXT-X-KEY:METHOD=AES-128 URI=\"k\"\n", "no comma after attribute METHOD"},
		{"no name", head + "#EXT-X-KEY:,METHOD=NONE\n", "line 2, column 12: malformed: attribute name expected"},
		{"no equals sign", head + "#EXT-X-KEY:METHOD\n", "no value after attribute METHOD"},
		{"quote in a value", head + "#EXT-X-KEY:METHOD=\"a\"b\n", "no comma after attribute METHOD"},
		{"control in a value", head + "#EXT-X-KEY:METHOD=\"a\tb\"\n", "control characters"},
		{"too many attributes", head + "#EXT-X-KEY:" + manyAttributes() + "\n", "more than 256 attributes"},
		{"indented", head + " \t #EXT-X-KEY:METHOD=AES-128\n", "line 2, column 4: malformed"},
		{"map range", head + "#EXT-X-MAP:URI=\"i\",BYTERANGE=\"1@\"\n", "line 2, column 31: malformed: BYTERANGE of EXT-X-MAP is not <n>[@<o>]"},
		{"range", head + "#EXT-X-BYTERANGE:x\n", "not <n>[@<o>]"},
		{"range overflow", head + "#EXT-X-BYTERANGE:9223372036854775807@1\n", "not <n>[@<o>]"},
		{"range continues nothing", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:5\na\n", "has no offset"},
		{"range continues another", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:5@0\na\n#EXTINF:1,\n#EXT-X-BYTERANGE:5\nb\n", "line 6, column 18: malformed: EXT-X-BYTERANGE has no offset"},
		{"range continues a whole resource", head + "#EXTINF:1,\na\n#EXTINF:1,\n#EXT-X-BYTERANGE:5\na\n", "line 5, column 18: malformed: EXT-X-BYTERANGE has no offset"},
		{"range continues the map", head + "#EXT-X-MAP:URI=\"a\",BYTERANGE=\"9@0\"\n#EXTINF:1,\n#EXT-X-BYTERANGE:5\na\n", "line 4, column 18: malformed: EXT-X-BYTERANGE has no offset"},
		{"range twice", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:5@0\n#EXT-X-BYTERANGE:6@0\na\n", "line 4, column 1: malformed: EXT-X-BYTERANGE of line 3 has no URI"},
		{"negative range", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:5@-1\na\n", "line 3, column 18: malformed: EXT-X-BYTERANGE is not"},
		{"map range overflow", head + "#EXT-X-MAP:URI=\"a\",BYTERANGE=\"9223372036854775807@1\"\n", "line 2, column 31: malformed: BYTERANGE"},
		{"range chain overflow", head + "#EXTINF:1,\n#EXT-X-BYTERANGE:9223372036854775807@0\na\n#EXTINF:1,\n#EXT-X-BYTERANGE:5\na\n", "overflows"},
		{"sequence", head + "#EXT-X-MEDIA-SEQUENCE:-1\n", "not a decimal-integer"},
		{"late sequence", head + "#EXTINF:1,\na\n#EXT-X-MEDIA-SEQUENCE:1\n", "after the first segment"},
		{"sequence overflow", head + "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na\n#EXTINF:1,\nb\n", "line 6, column 1: malformed: media sequence number overflows"},
		{"control character", head + "#EXTINF:1,\na\x00b\n", "line 3, column 1: malformed: URI has control characters"},
		{"not UTF-8", head + "#EXTINF:1,\na\xffb\n", "not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("p.m3u8", []byte(tt.text))
			var e *Error
			if !errors.Is(err, ErrMalformed) || !errors.As(err, &e) || e.Object != "p.m3u8" || e.Line == 0 {
				t.Fatalf("error %v, want an *Error of class ErrMalformed", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

// TestErrorsQuoteNoKeys: a key in the playlist whose quotation marks are lost is
// read as something else.
func TestErrorsQuoteNoKeys(t *testing.T) {
	const secret = "U0VDUkVUc2VjcmV0U0VDUg"
	for _, list := range []string{
		"METHOD=AES-128,URI=data:;base64," + secret,
		"METHOD=AES-128,URI=data:;base64," + secret + "==," + secret + "==",
		"METHOD=AES-128,URI=\"data:;base64," + secret,
		"METHOD=AES-128,URI=\"data:;base64\"," + secret,
		"METHOD=AES-128,URI=\"data:;base64\"" + secret,
		"METHOD=AES-128,URI=\"data:;base64," + secret + "\\\"",
		"METHOD=AES-128,URI=\"data:;base64," + secret + "==\",IV=1",
		"METHOD=AES-128,URI=\"data:;base64," + secret + "==\",URI",
		"METHOD=X,URI=\"data:;base64," + secret + "==\"",
		"METHOD=AES-128,IV=0x" + secret,
		"METHOD=AES-128,URI=\"data:;base64," + secret + "==\"",
		"METHOD=SAMPLE-AES," + secret + "=\"",
	} {
		p, err := Parse("p", []byte("#EXTM3U\n#EXT-X-KEY:"+list+"\n#EXT-X-ENDLIST\n"))
		if err == nil {
			err = p.Unsupported()
		}
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error %v", list, err)
		}
	}
}

func manyAttributes() string {
	var b strings.Builder
	for i := range maxAttributes + 1 {
		fmt.Fprintf(&b, "A%d=1,", i)
	}
	return b.String()
}

func TestLimits(t *testing.T) {
	for name, b := range map[string][]byte{
		"bytes": append([]byte("#EXTM3U\n"), bytes.Repeat([]byte{'#'}, MaxPlaylistBytes)...),
		"lines": append([]byte("#EXTM3U\n"), bytes.Repeat([]byte{'\n'}, MaxPlaylistLines)...),
	} {
		if _, err := Parse("p", b); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: error %v, want ErrLimit", name, err)
		}
	}
	var keys strings.Builder
	keys.WriteString("#EXTM3U\n")
	for i := range maxKeyFormats + 1 {
		fmt.Fprintf(&keys, "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\",KEYFORMAT=\"%d\"\n", i)
	}
	if _, err := Parse("p", []byte(keys.String())); !errors.Is(err, ErrLimit) {
		t.Errorf("key formats: error %v, want ErrLimit", err)
	}
	// 100 MB are refused without being read.
	huge := make([]byte, 100<<20)
	if n := testing.AllocsPerRun(1, func() { _, _ = Parse("p", huge) }); n > 10 {
		t.Errorf("%v allocations for a playlist over the limit", n)
	}
}

// TestMemoryOfLargePlaylists: what is kept of a playlist is at most 8 times as
// large, whatever its lines are.
func TestMemoryOfLargePlaylists(t *testing.T) {
	for name, line := range map[string]string{
		"segments": "#EXTINF:4,\n#EXT-X-BYTERANGE:100@%08d\nsegments/all.mp4\n",
		"keys":     "#EXT-X-KEY:METHOD=AES-128,URI=\"key-%08d.bin\"\n",
		"events":   "#EXT-X-DATERANGE:X-ASSET-URI=\"%08d\",X-ASSET-LIST=\"list\"\n",
	} {
		text := []byte("#EXTM3U\n")
		for i := 0; len(text) < 2<<20; i++ {
			text = fmt.Appendf(text, line, i)
		}
		text = append(text, "#EXT-X-ENDLIST\n"...)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p, err := Parse(name, text)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 8*int64(len(text)) {
			t.Errorf("%s: %d bytes kept of %d", name, kept, len(text))
		}
		runtime.KeepAlive(p)
	}
}
