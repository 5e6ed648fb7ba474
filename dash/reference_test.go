package dash

import (
	"math"
	"testing"
)

func TestJoinBaseAndClean(t *testing.T) {
	for _, tt := range []struct{ base, ref, want string }{
		{"", "a.mp4", ""}, {"", "v/", "v/"}, {"v/", "w", "v/"}, {"v/", "w/x", "v/w/"}, {"v/", "../", ""},
		{"", "../", "../"}, {"../", "../a/", "../../a/"}, {"v/", "./", "v/"}, {"v/", "?q=/", "v/"},
		{"v/", "https://h/a/b", "https://h/a/"}, {"v/", "/a/b", "/a/"}, {"", "https://h", "https://h/"}, {"https://h/a/", "../../b/c", "https://h/b/"},
		{"https://h/a/", "/b/", "https://h/b/"}, {"https://h/a/", "//i/b/", "https://i/b/"}, {"/a/", "//i/b/?c=/", "//i/b/"}, {"//h/a/", "b/", "//h/a/b/"}, {"/a/", "../../b/", "/b/"}, {"a/b/", "../../../c/", "../c/"},
	} {
		if got := joinBase(tt.base, tt.ref); got != tt.want {
			t.Errorf("joinBase(%q, %q) = %q, want %q", tt.base, tt.ref, got, tt.want)
		}
	}
	for in, want := range map[string]string{
		"": "", "a": "a", "./a": "a", "a/./b": "a/b", "a/../b": "b", "a/..": "", "..": "../", "../../a": "../../a",
		"a//b": "a//b", "a/..//b": "b", "a?b/../c": "a?b/../c", "http://h/../a": "http://h/a", "/a/../../b": "/b", "//h/./a//b": "//h/a//b", "/": "/", "https://h/..": "https://h/", ".": "",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRelative(t *testing.T) {
	for _, tt := range []struct {
		base, target, want string
		ok                 bool
	}{
		{"", "a/b", "a/b", true}, {"v/", "v/a", "a", true}, {"v/", "w/a", "../w/a", true}, {"v/w/", "v/a", "../a", true},
		{"v/", "v/a:b/c", "./a:b/c", true}, {"v/", "https://h/a", "https://h/a", true}, {"v/", "v/?q", "./?q", true},
		{"../", "a", "", false}, {"../v/", "../w/a?x=/..", "../w/a?x=/..", true}, {"v/", "v", "../v", true},
		{"https://h/a/", "https://h/b/c", "../b/c", true}, {"https://h/a/", "https://i/b/c", "https://i/b/c", true},
		{"https://h/a/", "b/c", "", false}, {"/a/b/", "/a/c", "../c", true}, {"/a/", "c", "", false}, {"/a/", "https://h/c", "https://h/c", true}, {"a/", "/c", "/c", true},
		{"//h/", "//h/a/b?c", "a/b?c", true},
	} {
		got, ok := relative(tt.base, tt.target)
		if got != tt.want || ok != tt.ok {
			t.Errorf("relative(%q, %q) = %q, %v; want %q, %v", tt.base, tt.target, got, ok, tt.want, tt.ok)
		}
		if ok && clean(join(tt.base, got)) != clean(tt.target) {
			t.Errorf("relative(%q, %q) = %q leads to %q", tt.base, tt.target, got, join(tt.base, got))
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]uint64{
		"PT0S": 0, "PT24.000S": 24e9, "PT0H0M24.5S": 24.5e9, "P1DT1H1M1.000000001S": 90061e9 + 1, " PT2M ": 120e9,
		"PT0.0000000019S": 1, "P2D": 172800e9,
	} {
		if got, ok := parseDuration(in); !ok || got != want {
			t.Errorf("parseDuration(%q) = %d, %v; want %d", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "P", "PT", "10", "PT1", "PT-1S", "-PT1S", "P1Y", "P1M", "PT1.5M", "PT1.S", "PT1.xS", "PT1S1M", "PT99999999999999999999S", "PT18446744073.8S"} {
		if got, ok := parseDuration(in); ok {
			t.Errorf("parseDuration(%q) = %d, want an error", in, got)
		}
	}
}

func TestCeilDiv(t *testing.T) {
	for _, tt := range []struct {
		a, b, c, want uint64
		ok            bool
	}{
		{10, 1, 3, 4, true}, {9, 1, 3, 3, true}, {0, 5, 7, 0, true}, {math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, true},
		{math.MaxUint64, 2, 1, 0, false}, {1, 1, 0, 0, false},
	} {
		if got, ok := ceilDiv(tt.a, tt.b, tt.c); ok != tt.ok || ok && got != tt.want {
			t.Errorf("ceilDiv(%d, %d, %d) = %d, %v", tt.a, tt.b, tt.c, got, ok)
		}
	}
}

func TestSpellAs(t *testing.T) {
	for _, tt := range []struct{ old, base, target, want string }{
		{"a", "https://h/v/", "https://h/w/b", "../w/b"}, {"https://h/v/a", "https://h/v/", "https://h/w/b", "https://h/w/b"},
		{"//h/v/a", "https://h/v/", "https://h/w/b", "//h/w/b"}, {"/v/a", "https://h/v/", "https://h/w/b", "/w/b"},
		{"/v/a", "v/", "/w/b", "/w/b"}, {"//h/a", "", "//h/b", "//h/b"}, {"/v/a", "https://h/v/", "https://i/w", "https://i/w"},
	} {
		got, ok := spellAs(tt.old, tt.base, tt.target)
		if !ok || got != tt.want || clean(join(tt.base, got)) != clean(tt.target) && tt.target[0] != '/' {
			t.Errorf("spellAs(%q, %q, %q) = %q, %v; want %q", tt.old, tt.base, tt.target, got, ok, tt.want)
		}
	}
}
