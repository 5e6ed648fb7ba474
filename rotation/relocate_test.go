package rotation

import (
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/journal"
	"github.com/seed-6133abe0/rekey/key"
)

func TestPlaceStandsBesideEarlierTrees(t *testing.T) {
	for _, c := range []struct{ base, in, want string }{
		{"m", "m/v1/1.ts", "m/_rekey/r2/v1/1.ts"},
		{"m", "m/_rekey/r1/v1/1.ts", "m/_rekey/r2/v1/1.ts"},
		{"", "m/v1/1.ts", "_rekey/r2/m/v1/1.ts"},
		{"", "m/_rekey/r1/1.ts", "_rekey/r2/m/1.ts"},
	} {
		if got := (tree{base: c.base, rotation: "r2"}).place(c.in); got != c.want {
			t.Errorf("place(%q) under %q = %q, want %q", c.in, c.base, got, c.want)
		}
	}
}

func TestPlaceTemplate(t *testing.T) {
	for _, c := range []struct{ base, mpd, in, want string }{
		{"m", "m/s.mpd", "hi/seg_$Number$.m4s", "_rekey/r2/hi/seg_$Number$.m4s"},
		{"m", "m/s.mpd", "$RepresentationID$/seg-$Number%05d$.m4s?a=$Time$", "_rekey/r2/$RepresentationID$/seg-$Number%05d$.m4s?a=$Time$"},
		{"m", "m/s.mpd", "_rekey/r1/hi/$Time$.m4s", "_rekey/r2/hi/$Time$.m4s"},
		{"m", "m/dash/s.mpd", "../v/$Time$.m4s", "../_rekey/r2/v/$Time$.m4s"},
		{"", "s.mpd", "v/$Time$.m4s", "_rekey/r2/v/$Time$.m4s"},
		{"", "m/s.mpd", "v/$Time$.m4s", "../_rekey/r2/m/v/$Time$.m4s"},
		{"a b", "a b/s.mpd", "v/$Time$.m4s", "_rekey/r2/v/$Time$.m4s"},
		{"m", "m/s.mpd", "../_rekey/r1/m/v/$Time$.m4s", "_rekey/r2/v/$Time$.m4s"},
		{"m/x", "m/x/s.mpd", "../v/$Time$.m4s", ""},
	} {
		got, err := (tree{base: c.base, rotation: "r2"}).placeTemplate(catalog.Space{}, c.mpd, c.in)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("placeTemplate(%q, %q) under %q = %q, %v, want %q", c.mpd, c.in, c.base, got, err, c.want)
		}
	}
}

func TestNewRefChangesOnlyWhatMoves(t *testing.T) {
	moves := map[string]string{
		"m/hi.m3u8":   "m/_rekey/r/hi.m3u8",
		"m/hi/1.m4s":  "m/_rekey/r/hi/1.m4s",
		"m/other.bin": "m/_rekey/r/other.bin",
	}
	for _, c := range []struct{ from, to, ref, want string }{
		{"m/master.m3u8", "m/master.m3u8", "hi.m3u8", "_rekey/r/hi.m3u8"},
		{"m/master.m3u8", "m/master.m3u8", "./hi.m3u8?t=1", "_rekey/r/hi.m3u8?t=1"},
		{"m/master.m3u8", "m/master.m3u8", "./audio.m3u8", "./audio.m3u8"},
		{"m/hi.m3u8", "m/_rekey/r/hi.m3u8", "hi/1.m4s", "hi/1.m4s"},
		{"m/hi.m3u8", "m/_rekey/r/hi.m3u8", "./hi/./1.m4s", "./hi/./1.m4s"},
		{"m/hi.m3u8", "m/_rekey/r/hi.m3u8", "hi/2.m4s", "../../hi/2.m4s"},
		{"m/hi.m3u8", "m/_rekey/r/hi.m3u8", "https://cdn.example/x", "https://cdn.example/x"},
	} {
		if got := newRef(catalog.Space{}, c.from, c.to, c.ref, moves); got != c.want {
			t.Errorf("newRef(%s -> %s, %q) = %q, want %q", c.from, c.to, c.ref, got, c.want)
		}
	}
}

// TestAbsoluteReferences keep their way to the media root.
func TestAbsoluteReferences(t *testing.T) {
	space, err := catalog.NewSpace([]string{"https://cdn.example/vod/"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	moves := map[string]string{"m/hi/1 a.m4s": "m/_rekey/r/hi/1 a.m4s"}
	for _, c := range []struct{ ref, want string }{
		{"https://cdn.example/vod/m/hi/1%20a.m4s?t=1", "https://cdn.example/vod/m/_rekey/r/hi/1%20a.m4s?t=1"},
		{"//cdn.example/vod/m/hi/1%20a.m4s", "//cdn.example/vod/m/_rekey/r/hi/1%20a.m4s"},
		{"/vod/m/hi/1%20a.m4s", "/vod/m/_rekey/r/hi/1%20a.m4s"},
		{"https://cdn.example/vod/m/hi/2.m4s", "https://cdn.example/vod/m/hi/2.m4s"},
		{"https://other.example/vod/m/hi/1%20a.m4s", "https://other.example/vod/m/hi/1%20a.m4s"},
	} {
		if got := newRef(space, "m/hi.m3u8", "m/_rekey/r/hi.m3u8", c.ref, moves); got != c.want {
			t.Errorf("newRef(%q) = %q, want %q", c.ref, got, c.want)
		}
	}
	for _, c := range []struct{ base, in, want string }{
		{"m", "https://cdn.example/vod/m/$Number%05d$.m4s?a", "https://cdn.example/vod/m/_rekey/r2/$Number%05d$.m4s?a"},
		{"m", "/vod/m/_rekey/r1/$Time$.m4s", "/vod/m/_rekey/r2/$Time$.m4s"},
		{"", "//cdn.example/vod/m/$Time$.m4s", "//cdn.example/vod/_rekey/r2/m/$Time$.m4s"},
		{"m", "https://other.example/m/$Time$.m4s", ""},
	} {
		got, err := (tree{base: c.base, rotation: "r2"}).placeTemplate(space, "m/s.mpd", c.in)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("placeTemplate(%q) under %q = %q, %v, want %q", c.in, c.base, got, err, c.want)
		}
	}
}

func TestNewKeyURI(t *testing.T) {
	templates := []string{"https://k.example/{kid}/x?{kid}", "skd://{kid}"}
	kid := key.KID{0xab}
	digits := kid.String()
	for _, c := range []struct{ old, want string }{
		{"https://old.example/1", "https://k.example/" + digits + "/x?" + digits},
		{"http://old.example/1", "https://k.example/" + digits + "/x?" + digits},
		{"//old.example/1", "https://k.example/" + digits + "/x?" + digits},
		{"skd://1", "skd://" + digits},
		{"com.vendor:1", ""},
	} {
		if got, ok := newKeyURI(templates, c.old, kid); got != c.want || ok != (c.want != "") {
			t.Errorf("newKeyURI(%q) = %q, %v, want %q", c.old, got, ok, c.want)
		}
	}
}

// TestShift: an insertion belongs to the packets before it.
func TestShift(t *testing.T) {
	grown := []journal.Growth{{At: 100, By: 10}, {At: 200, By: 1}}
	for _, c := range []struct{ offset, length, wantOffset, wantLength int64 }{
		{0, 99, 0, 99},
		{0, 100, 0, 110},
		{100, 50, 110, 50},
		{100, 100, 110, 101},
		{101, 99, 111, 100},
		{200, 5, 211, 5},
		{0, 300, 0, 311},
	} {
		got := shift(hls.ByteRange{Offset: c.offset, Length: c.length}, grown)
		if got.Offset != c.wantOffset || got.Length != c.wantLength {
			t.Errorf("shift(%d@%d) = %d@%d, want %d@%d", c.length, c.offset, got.Length, got.Offset, c.wantLength, c.wantOffset)
		}
	}
}
