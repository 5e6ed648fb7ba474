package key_test

import (
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

func TestSpelledAt(t *testing.T) {
	kid, err := key.ParseKID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		at   int
		n    int
	}{
		{"skd://" + kid.String(), 6, 32},
		{"x" + strings.ToUpper(kid.UUID()) + "/y", 1, 36},
		{kid.String() + "0", 0, 0},      // part of a longer run
		{"a" + kid.String(), 1, 0},      // the same before it
		{kid.UUID()[:35], 0, 0},         // cut short
		{"-" + kid.String()[:31], 1, 0}, // one digit less
		{"zz" + kid.String() + "zz", 2, 32},
	} {
		got, n := key.SpelledAt(c.text, c.at)
		if n != c.n || n > 0 && got != kid {
			t.Errorf("SpelledAt(%q, %d) = %s, %d, want length %d", c.text, c.at, got, n, c.n)
		}
	}
	for _, old := range []string{kid.String(), kid.UUID(), strings.ToUpper(kid.UUID())} {
		now := key.SpellLike(old, key.KID{0xab})
		back, err := key.ParseKID(now)
		if err != nil || back != (key.KID{0xab}) || len(now) != len(old) || strings.ToUpper(old) == old != (strings.ToUpper(now) == now) {
			t.Errorf("SpellLike(%q) = %q", old, now)
		}
	}
}
