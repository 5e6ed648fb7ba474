package catalog_test

import (
	"errors"
	"testing"

	"github.com/seed-6133abe0/rekey/catalog"
)

func TestSpaceLocates(t *testing.T) {
	s, err := catalog.NewSpace(
		[]string{"https://cdn.example/vod/", "http://b.example", "https://cdn.example/vod/deep"},
		[]string{"https://ads.example/clips"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref, key, prefix string
		class            error
	}{
		{"hi.m3u8", "m/hi.m3u8", "", nil},
		{"https://cdn.example/vod/m/a%20b.ts?x=1", "m/a b.ts", "https://cdn.example/vod/", nil},
		{"HTTP://CDN.example/vod/m/1.ts", "m/1.ts", "HTTP://CDN.example/vod/", nil},
		{"//cdn.example/vod/m/1.ts", "m/1.ts", "//cdn.example/vod/", nil},
		{"/vod/m/1.ts", "m/1.ts", "/vod/", nil},
		{"/other/1.ts", "other/1.ts", "/", nil},
		{"https://cdn.example/vod/deep/1.ts", "1.ts", "https://cdn.example/vod/deep/", nil},
		{"https://cdn.example/vod/../secret", "", "", catalog.ErrOutside},
		{"https://cdn.example/vod/", "", "", catalog.ErrOutside},
		{"https://cdn.example/vodka/1.ts", "", "", catalog.ErrOutside},
		{"https://cdn.example:8443/vod/1.ts", "", "", catalog.ErrOutside},
		{"https://ads.example/clips/1.ts", "", "", catalog.ErrExternal},
		{"//ads.example/clips/1.ts", "", "", catalog.ErrExternal},
		{"https://ads.example/other/1.ts", "", "", catalog.ErrOutside},
		{"ftp://cdn.example/vod/1.ts", "", "", catalog.ErrOutside},
		{"skd://x", "", "", catalog.ErrOutside},
		{"data:text/plain,x", "", "", catalog.ErrOutside},
	} {
		l, err := s.Locate("m/master.m3u8", c.ref)
		if l.Key != c.key || l.Prefix != c.prefix || !errors.Is(err, c.class) {
			t.Errorf("Locate(%q) = %+v, %v; want key %q, prefix %q, %v", c.ref, l, err, c.key, c.prefix, c.class)
		}
		if err == nil && l.Prefix+l.Rest != c.ref {
			t.Errorf("Locate(%q) = %+v: prefix and rest are not the reference", c.ref, l)
		}
	}
}

func TestSpaceRefusesWhatIsNoPlace(t *testing.T) {
	for _, u := range []string{"", "cdn.example", "/vod/", "s3://bucket/", "https://", "https://cdn.example/?x=1", "https://u:p@cdn.example/", "https://cdn.example/#f"} {
		if _, err := catalog.NewSpace([]string{u}, nil); err == nil {
			t.Errorf("NewSpace takes the origin %q", u)
		}
		if _, err := catalog.NewSpace(nil, []string{u}); err == nil {
			t.Errorf("NewSpace takes the external place %q", u)
		}
	}
}
