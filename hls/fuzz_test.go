package hls

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// FuzzPlaylist: what parses is byte-identical after an edit that changes nothing
// and after one that writes each reference as it was; after a random edit it says
// what was wanted, and the way back gives the same bytes again.
func FuzzPlaylist(f *testing.F) {
	for _, b := range everything(f) {
		f.Add(b, uint64(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		p, err := ParseWith("p", b, somewhere)
		if err != nil {
			return
		}
		checkKeyTags(t, p)
		for _, fn := range []func(Ref) (Replacement, error){
			keep,
			func(r Ref) (Replacement, error) { return Replacement{URI: r.URI, Range: r.Range}, nil },
		} {
			out, err := p.Edit(fn)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, b) {
				t.Fatalf("edited to %q", out)
			}
		}
		want := wander(rand.New(rand.NewPCG(seed, 1)), p)
		out, err := p.Edit(replay(want))
		if err != nil {
			return
		}
		q, err := ParseWith("p", out, somewhere)
		if err != nil {
			t.Fatal(err)
		}
		checkEdited(t, p, q, want)
		back, ok := undo(p, want)
		if !ok {
			return
		}
		if out, err = q.Edit(replay(back)); err != nil || !bytes.Equal(out, b) {
			t.Fatalf("came back as %q (%v)", out, err)
		}
	})
}

// undo is the way back; there is none where the old text had variables, digits that
// are not needed, or a KEYID that is none.
func undo(p *Playlist, done []Replacement) ([]Replacement, bool) {
	back := make([]Replacement, len(done))
	for i, r := range p.Refs {
		s := p.spots[i]
		if done[i].URI != "" {
			back[i].URI = r.URI
		}
		if done[i].Range != nil {
			back[i].Range = r.Range
		}
		if done[i].KeyID != "" {
			back[i].KeyID = p.text[s.keyID.start:s.keyID.end]
			if _, err := key.ParseIV(back[i].KeyID); err != nil {
				return nil, false
			}
		}
		rng := "@" + p.text[s.rng.start:s.rng.end]
		if strings.Contains(r.URI+rng+back[i].KeyID, variableStart) || strings.Contains(rng, "@0") && rng != "@0" {
			return nil, false
		}
	}
	return back, true
}

func checkKeyTags(t *testing.T, p *Playlist) {
	t.Helper()
	for i := range p.Keys {
		kids, _ := KeyTagKIDs(&p.Keys[i])
		_ = CheckKeyTag(&p.Keys[i], kids)
		if r, updated, err := RekeyKeyTag(&p.Keys[i], key.Changes{}); updated || (err == nil && r != Replacement{}) {
			t.Fatalf("tag of line %d changed by no change", p.Keys[i].Line)
		}
	}
}

// FuzzAttributeList: spans lie in the text, hold the values, and stand in order.
func FuzzAttributeList(f *testing.F) {
	f.Add(`METHOD=AES-128,URI="../key.bin",IV=0x0f1e2d3c4b5a69788796a5b4c3d2e1f0`)
	f.Add(` A = "x,y" , B=1.5,C=640x360 `)
	f.Add(`A="`)
	f.Add(`A=,B="",x-y.z_1=a b`)
	for _, b := range everything(f) {
		for line := range strings.Lines(string(b)) {
			if tag, list, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(tag, "#EXT-X-") {
				f.Add(strings.TrimSpace(list))
			}
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		as, err := parseAttributes(s, 0)
		if err != nil {
			return
		}
		last := 0
		for i, a := range as {
			if a.at.start < last || a.at.end < a.at.start || a.at.end > len(s) || s[a.at.start:a.at.end] != a.value {
				t.Fatalf("attribute %+v of %q", a, s)
			}
			if got, ok := as[:i].find(a.name); ok {
				t.Fatalf("attribute %+v twice in %q", got, s)
			}
			last = a.at.end
		}
	})
}

// FuzzVariables: a text without variable references stays; one with them has none
// of the defined names left where the values hold none, and what is filled in is
// not looked at again.
func FuzzVariables(f *testing.F) {
	f.Add("{$a}/{$b}.ts?{$a}", "x", "y")
	f.Add("{${$a}}", "b}", "{$a}")
	f.Add("{$a", "}", "{$")
	f.Add("{$c}", "", "")
	f.Fuzz(func(t *testing.T, text, a, b string) {
		vars := Variables{"a": a, "b": b}
		const limit = 1 << 16
		out, undefined := vars.fill(text, limit)
		if undefined != nil {
			if name := text[undefined.start:undefined.end]; name == "{$a}" || name == "{$b}" || !strings.HasSuffix(name, "}") {
				t.Fatalf("%q is not defined in %q", name, text)
			}
			return
		}
		if len(out) > limit {
			return
		}
		// A replacer finds the same references, since one cannot lie within another.
		if want := strings.NewReplacer("{$a}", a, "{$b}", b).Replace(text); out != want {
			t.Fatalf("%q became %q, want %q", text, out, want)
		}
	})
}
