package hls

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// shapes are playlists in the shapes that Shaka Packager and Bento4 write, with
// made-up keys.
func shapes(t testing.TB) map[string][]byte {
	t.Helper()
	return glob(t, "testdata/*.m3u8")
}

// shapeKID is the nth KID of testdata.
func shapeKID(n byte) key.KID {
	k := key.KID{0xa0 + n, 0xb0 + n}
	for i := range byte(14) {
		k[2+i] = 16*n + i
	}
	return k
}

func TestRekeyShapes(t *testing.T) {
	want := map[string][]key.KID{
		"single_cbcs.m3u8":      {shapeKID(0), shapeKID(1)},
		"single_lead_cenc.m3u8": {shapeKID(0), shapeKID(1)},
		"rotating_cenc.m3u8":    {shapeKID(0), shapeKID(1), shapeKID(2)},
		"fairplay_cbcs.m3u8":    {shapeKID(2)},
		"fairplay_iframes.m3u8": {shapeKID(2)},
		"systems_cenc.m3u8":     {shapeKID(3), shapeKID(4)},
	}
	for name, b := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, string(b))
			if err := p.Unsupported(); err != nil {
				t.Fatal(err)
			}
			kids := namedKIDs(t, p)
			if !slices.Equal(kids, want[name]) {
				t.Fatalf("names %v, want %v", kids, want[name])
			}
			ch := key.Changes{}
			for _, kid := range kids {
				ch[kid] = key.Change{Old: key.NewContentKey(), New: key.NewContentKey(), NewKID: key.NewKID()}
			}
			if out := rekeyTags(t, p, key.Changes{}); !bytes.Equal(out, b) {
				t.Error("changed by no change")
			}
			out := rekeyTags(t, p, ch)
			q := mustParse(t, string(out))
			for i, kid := range namedKIDs(t, q) {
				if kid != ch[kids[i]].NewKID {
					t.Errorf("KID %s became %s", kids[i], kid)
				}
				low := strings.ToLower(string(out))
				if strings.Contains(low, kids[i].String()) || strings.Contains(low, kids[i].UUID()) {
					t.Errorf("KID %s is still spelled out", kids[i])
				}
			}
			if len(out) != len(b) {
				t.Errorf("%d bytes, want %d", len(out), len(b))
			}
			compareMedia(t, p, q)
		})
	}
}

// namedKIDs collects what the tags of a playlist name, in ascending order of the
// first appearance.
func namedKIDs(t *testing.T, p *Playlist) []key.KID {
	t.Helper()
	var kids []key.KID
	for i := range p.Keys {
		named, err := KeyTagKIDs(&p.Keys[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckKeyTag(&p.Keys[i], named); err != nil {
			t.Error(err)
		}
		for _, kid := range named {
			if !slices.Contains(kids, kid) {
				kids = append(kids, kid)
			}
		}
	}
	return kids
}

func rekeyTags(t *testing.T, p *Playlist, ch key.Changes) []byte {
	t.Helper()
	out, err := p.Edit(func(r Ref) (Replacement, error) {
		if r.Key == nil {
			return Replacement{}, nil
		}
		rep, _, err := RekeyKeyTag(r.Key, ch)
		return rep, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// compareMedia checks that a rekey of the tags left segments, ranges, init
// sections and constant IVs alone.
func compareMedia(t *testing.T, p, q *Playlist) {
	t.Helper()
	if len(p.Segments) != len(q.Segments) {
		t.Fatalf("%d segments, want %d", len(q.Segments), len(p.Segments))
	}
	for i, a := range p.Segments {
		b := q.Segments[i]
		if a.URI != b.URI || !sameRange(a.Range, b.Range) || !sameRange(a.Map.Range, b.Map.Range) || len(a.Keys) != len(b.Keys) {
			t.Errorf("segment %d is %+v, want %+v", i, b, a)
			continue
		}
		for j, k := range a.Keys {
			if a.IV(k) != b.IV(b.Keys[j]) || k.KeyFormat != b.Keys[j].KeyFormat {
				t.Errorf("line %d: IV or KEYFORMAT changed", k.Line)
			}
		}
	}
}

func TestSingleFileRanges(t *testing.T) {
	all := shapes(t)
	p := mustParse(t, string(all["single_lead_cenc.m3u8"]))
	want := []ByteRange{{1997, 5853}, {7850, 7777}, {15627, 3221}, {18848, 2300}, {21148, 99}}
	if len(p.Segments) != len(want) {
		t.Fatalf("%d segments, want %d", len(p.Segments), len(want))
	}
	for i, s := range p.Segments {
		if !s.SingleFile() || s.Range == nil || *s.Range != want[i] || *s.Map.Range != (ByteRange{0, 1821}) {
			t.Errorf("segment %d is %+v", i, s)
		}
		if encrypted := i == 2 || i == 3; encrypted != (len(s.Keys) == 3) {
			t.Errorf("segment %d has %d keys", i, len(s.Keys))
		}
	}
	for name, text := range all {
		single := strings.HasPrefix(name, "single") || strings.HasPrefix(name, "systems")
		for i, s := range mustParse(t, string(text)).Segments {
			if s.SingleFile() != single {
				t.Errorf("%s segment %d: SingleFile %v", name, i, !single)
			}
		}
	}
}

func TestSingleFileMoves(t *testing.T) {
	text := string(shapes(t)["single_cbcs.m3u8"])
	p := mustParse(t, text)
	out, err := p.Edit(func(r Ref) (Replacement, error) {
		if r.Role == Segment || r.Role == Map {
			return Replacement{URI: "_rekey/r1/" + r.URI}, nil
		}
		return Replacement{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(text, "hi.mp4", "_rekey/r1/hi.mp4"); string(out) != want {
		t.Errorf("edited to\n%s", out)
	}
	for i, s := range mustParse(t, string(out)).Segments {
		if !s.SingleFile() || !sameRange(s.Range, p.Segments[i].Range) {
			t.Errorf("segment %d is %+v", i, s)
		}
	}
	// One sub-range of the file moved, and the one that goes on from it did not.
	first := p.Segments[0].Line
	if _, err := p.Edit(func(r Ref) (Replacement, error) {
		if r.Line == first {
			return Replacement{URI: "moved.mp4"}, nil
		}
		return Replacement{}, nil
	}); err == nil {
		t.Error("half a file moved without an error")
	}
}
