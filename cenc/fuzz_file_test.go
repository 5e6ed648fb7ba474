package cenc

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// FuzzFile: a whole file that is taken is rekeyed to one of the same length and
// clear form; all others are refused with an *Error.
func FuzzFile(f *testing.F) {
	keys, seeds := map[key.KID]key.ContentKey{}, 0
	for _, m := range wholeMedia(f) {
		if m.keys == nil || len(m.file) > 60_000 {
			continue
		}
		for kid, k := range m.keys {
			keys[kid] = k
		}
		f.Add(firstFragments(m.file, 1))
		seeds++
		if len(m.file) < 22_000 {
			f.Add(m.file)
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	ch := newChanges(keys)
	after := newKeys(ch)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		out, clear, res, err := rekeyFile("file", b, ch)
		if !bytes.Equal(b, before) {
			t.Fatal("Rekey wrote to its source")
		}
		if err != nil {
			var typed *Error
			if !errors.As(err, &typed) || typed.Object == "" {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		if len(out) != len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(out))
		}
		for i, x := range []struct {
			b    []byte
			keys map[key.KID]key.ContentKey
		}{{b, keys}, {out, after}} {
			again, dec, err := tryDecrypt("file", x.b, x.keys)
			if errors.Is(err, ErrWrongKey) {
				// Of broken media the evidence may tip with the IVs, by which equal
				// beginnings are told apart.
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, clear) || dec.Samples != res.Samples || dec.Protected != res.Protected {
				t.Errorf("side %d: another clear form, or %d samples of %d bytes where there were %d of %d", i, dec.Samples, dec.Protected, res.Samples, res.Protected)
			}
			for _, f := range dec.Findings {
				if i == 1 && f.Code == FindingIVReuse {
					t.Errorf("new IVs meet: %+v", f)
				}
			}
		}
	})
}

// firstFragments cuts a fragmented file after its first n moofs and their mdats;
// a progressive one stays whole.
func firstFragments(b []byte, n int) []byte {
	r := &reader{object: "seed", b: b}
	for at := 0; at < len(b); {
		x, err := r.box(at, len(b))
		if err != nil {
			return b
		}
		if at = x.end; x.typ == typeMoof {
			n--
		} else if x.typ == typeMdat && n == 0 {
			return b[:at]
		}
	}
	return b
}
