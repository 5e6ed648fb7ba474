package catalog_test

import (
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
)

// resolve is of a media root without origins.
func resolve(from, ref string) (string, error) { return catalog.Space{}.Resolve(from, ref) }

func TestResolve(t *testing.T) {
	for _, c := range []struct{ from, ref, want string }{
		{"movie/master.m3u8", "hi.m3u8", "movie/hi.m3u8"},
		{"movie/master.m3u8", "./v1/hi.m3u8?x=1#y", "movie/v1/hi.m3u8"},
		{"movie/v1/hi.m3u8", "../key.bin", "movie/key.bin"},
		{"master.m3u8", "a%20b/%E2%82%AC.ts", "a b/€.ts"},
		{"a/b.m3u8", "../../x.ts", ""},
		{"a/b.m3u8", "..", ""},
		{"a/b.m3u8", "https://cdn.example/x.ts", ""},
		{"a/b.m3u8", "//cdn.example/x.ts", ""},
		{"a/b.m3u8", "/x.ts", ""},
		{"a/b.m3u8", "skd://x/{}", ""},
		{"a/b.m3u8", "data:text/plain,x", ""},
		{"a/b.m3u8", "?q", ""},
		{"a/b.m3u8", "%zz", ""},
	} {
		got, err := resolve(c.from, c.ref)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("Resolve(%q, %q) = %q, %v, want %q", c.from, c.ref, got, err, c.want)
		}
	}
	if _, err := resolve("a/b", "../../c"); !errors.Is(err, catalog.ErrOutside) {
		t.Errorf("a path above the root: %v, want ErrOutside", err)
	}
}

func TestRelativeLeadsBack(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"m/master.m3u8", "m/hi.m3u8", "hi.m3u8"},
		{"m/master.m3u8", "m/_rekey/r1/hi.m3u8", "_rekey/r1/hi.m3u8"},
		{"m/_rekey/r1/hi.m3u8", "m/audio/1.m4s", "../../audio/1.m4s"},
		{"m.m3u8", "a b/1.ts", "a%20b/1.ts"},
		{"m.m3u8", "a:b.ts", "./a:b.ts"},
		{"a/b/c.m3u8", "a/b", "../b"},
	} {
		got := catalog.Relative(c.from, c.to)
		if got != c.want {
			t.Errorf("Relative(%q, %q) = %q, want %q", c.from, c.to, got, c.want)
		}
		if back, err := resolve(c.from, got); err != nil || back != c.to {
			t.Errorf("Resolve(%q, %q) = %q, %v, want %q", c.from, got, back, err, c.to)
		}
	}
}

func FuzzRelative(f *testing.F) {
	f.Add("m/master.m3u8", "m/_rekey/r/hi €.m3u8")
	f.Fuzz(func(t *testing.T, from, ref string) {
		to, err := resolve(from, ref)
		if err != nil {
			return
		}
		if back, err := resolve(from, catalog.Relative(from, to)); err != nil || back != to {
			t.Fatalf("from %q: %q spelled %q leads to %q, %v", from, to, catalog.Relative(from, to), back, err)
		}
	})
}

func TestLogicalNamesComeBack(t *testing.T) {
	for _, c := range []struct{ in, logical, tree string }{
		{"m/v1/1.ts", "m/v1/1.ts", ""},
		{"m/_rekey/r1/v1/1.ts", "m/v1/1.ts", "r1"},
		{"_rekey/r1/m/1.ts", "m/1.ts", "r1"},
		{"m/_rekey/1.ts", "m/_rekey/1.ts", ""},
	} {
		if got := catalog.Logical(c.in); got != c.logical {
			t.Errorf("Logical(%q) = %q, want %q", c.in, got, c.logical)
		}
		if got := catalog.TreeOf(c.in); got != c.tree {
			t.Errorf("TreeOf(%q) = %q, want %q", c.in, got, c.tree)
		}
	}
}

func TestCommonDir(t *testing.T) {
	for _, c := range []struct {
		keys []string
		want string
	}{
		{[]string{"m/a.mpd"}, "m"},
		{[]string{"m/a.mpd", "m/hls/b.m3u8"}, "m"},
		{[]string{"m/x/a.mpd", "m2/x/b.m3u8"}, ""},
		{[]string{"a.mpd"}, ""},
		{nil, ""},
	} {
		if got := catalog.CommonDir(c.keys...); got != c.want {
			t.Errorf("CommonDir(%q) = %q, want %q", c.keys, got, c.want)
		}
	}
}
