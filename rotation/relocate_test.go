package rotation

import "testing"

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
		got, err := (tree{base: c.base, rotation: "r2"}).placeTemplate(c.mpd, c.in)
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
		if got := newRef(c.from, c.to, c.ref, moves); got != c.want {
			t.Errorf("newRef(%s -> %s, %q) = %q, want %q", c.from, c.to, c.ref, got, c.want)
		}
	}
}
