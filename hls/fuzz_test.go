package hls

import (
	"bytes"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// FuzzPlaylist: what parses is byte-identical after an edit that changes nothing,
// and after one that writes each reference as it was.
func FuzzPlaylist(f *testing.F) {
	for _, b := range playlists(f) {
		f.Add(b)
	}
	for _, b := range shapes(f) {
		f.Add(b)
	}
	f.Add([]byte(messy))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse("p", b)
		if err != nil {
			return
		}
		for i := range p.Keys {
			kids, _ := KeyTagKIDs(&p.Keys[i])
			_ = CheckKeyTag(&p.Keys[i], kids)
			if r, updated, err := RekeyKeyTag(&p.Keys[i], key.Changes{}); updated || (err == nil && r != Replacement{}) {
				t.Fatalf("tag of line %d changed by no change", p.Keys[i].Line)
			}
		}
		for _, fn := range []func(Ref) (Replacement, error){
			keep,
			func(r Ref) (Replacement, error) { return Replacement{URI: r.URI}, nil },
		} {
			out, err := p.Edit(fn)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, b) {
				t.Fatalf("edited to %q", out)
			}
		}
	})
}

// FuzzAttributeList: spans lie in the text, hold the values, and stand in order.
func FuzzAttributeList(f *testing.F) {
	f.Add(`METHOD=AES-128,URI="../key.bin",IV=0x0f1e2d3c4b5a69788796a5b4c3d2e1f0`)
	f.Add(` A = "x,y" , B=1.5,C=640x360 `)
	f.Add(`A="`)
	f.Fuzz(func(t *testing.T, s string) {
		as, err := parseAttributes(s, 0)
		if err != nil {
			return
		}
		last := 0
		for _, a := range as {
			if a.at.start < last || a.at.end < a.at.start || a.at.end > len(s) || s[a.at.start:a.at.end] != a.value {
				t.Fatalf("attribute %+v of %q", a, s)
			}
			last = a.at.end
		}
	})
}
