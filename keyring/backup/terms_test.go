package backup

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestTerms: they tell everything that decides who can open a backup, and a name
// cannot pass for another holder.
func TestTerms(t *testing.T) {
	b := makeBackup(t, 2, 3, nil)
	holders := func(names ...string) Options {
		o := Options{Threshold: 2, Created: time.Unix(1000, 0)}
		for i, n := range names {
			o.Holders = append(o.Holders, Holder{n, b.private[i].PublicKey()})
		}
		return o
	}
	base := holders("anna", "ben")
	print := Fingerprint(b.private[0].PublicKey())
	if got := base.Terms(); !strings.HasPrefix(got, `any 2 of 2: "anna" `+print+`, "ben" `) {
		t.Errorf("terms: %s", got)
	}
	swapped := holders("anna", "ben")
	swapped.Holders[0].Key, swapped.Holders[1].Key = swapped.Holders[1].Key, swapped.Holders[0].Key
	lower := holders("anna", "ben", "cleo")
	higher := holders("anna", "ben", "cleo")
	higher.Threshold = 3
	faked := holders(`anna" `+print+`, "ben`, "cleo")
	seen := map[string]int{}
	for i, o := range []Options{base, holders("anna", "bea"), swapped, lower, higher, faked} {
		if err := o.Check(); err != nil {
			t.Errorf("options %d: %v", i, err)
		}
		if j, ok := seen[o.Terms()]; ok {
			t.Errorf("options %d and %d have the same terms", i, j)
		}
		if len(TermsDigest(o.Terms())) != 64 {
			t.Error("no digest")
		}
		seen[o.Terms()] = i
	}
	if strings.HasPrefix(faked.Terms(), `any 2 of 2: "anna" `) {
		t.Errorf("a name passes for a holder: %s", faked.Terms())
	}
	none := base
	none.Threshold = 3
	long := base
	long.Comment = strings.Repeat("x", maxText+1)
	keyless := base
	keyless.Holders = append([]Holder{{Name: "eve"}}, base.Holders...)
	for i, o := range []Options{{}, none, long, keyless, holders("anna", "anna"), holders("anna", "")} {
		if err := o.Check(); !errors.Is(err, ErrOptions) {
			t.Errorf("bad options %d: %v", i, err)
		}
	}
}
