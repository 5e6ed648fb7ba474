package cenc

import (
	"bytes"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// FuzzInit: an init section that is accepted keeps its length when rekeyed, and
// parses again with the new KIDs.
func FuzzInit(f *testing.F) {
	for _, tree := range []struct{ r []rendition }{{renditions(f, fixtures.Library())}, {renditions(f, fixtures.More())}} {
		for _, r := range tree.r {
			f.Add(r.init)
		}
	}
	f.Add(makeInit(newMadeTrack(1, 8), newMadeTrack(2, 16)))
	ch := newChanges(fixtureKeys(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseInit("init.mp4", b)
		if err != nil {
			return
		}
		in.Tracks()
		in.PSSHKIDs()
		for kid, c := range ch {
			in.CheckKey(kid, c.Old)
		}
		out, err := in.Rekey(nil, ch)
		if err != nil {
			return
		}
		again, err := ParseInit("init.mp4", out)
		if err != nil || len(out) != len(b) {
			t.Fatalf("%d bytes became %d: %v", len(b), len(out), err)
		}
		for i, kid := range in.KIDs() {
			if c, ok := ch[kid]; ok && again.KIDs()[i] != c.NewKID {
				t.Errorf("KID %v is still there", kid)
			}
		}
	})
}

// FuzzSegment: an object that is accepted is rekeyed to one of the same length
// and clear form.
func FuzzSegment(f *testing.F) {
	a, b := newMadeTrack(1, 8), newMadeTrack(2, 16)
	a.kid, b.kid = key.KID{1}, key.KID{2}
	subs := [][2]int{{5, 20}, {3, 17}, {0, 55}}
	f.Add(makeSegment(madeTraf{track: a, senc: true, saiz: true, runs: [][]madeSample{madeRun(3, 100, 8, 1, subs)}}))
	f.Add(makeSegment(madeTraf{track: a, senc: true, runs: [][]madeSample{madeRun(2, 20, 8, 1, nil)}},
		madeTraf{track: b, senc: true, saiz: true, piff: true, auxInMdat: true, runs: [][]madeSample{madeRun(2, 20, 16, 1, nil), madeRun(1, 9, 16, 7, nil)}}))
	f.Add(makeSegment(madeTraf{track: b, saiz: true, auxInMdat: true, runs: [][]madeSample{madeRun(3, 100, 16, 1, subs)}}))
	for _, r := range renditions(f, fixtures.Library()) {
		if len(r.segments[0]) < 8000 {
			f.Add(r.segments[0])
		}
	}
	in := mustInit(f, makeInit(a, b))
	ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key, b.kid: b.key})
	now, err := in.Rekey(nil, ch)
	if err != nil {
		f.Fatal(err)
	}
	newIn, keys := mustInit(f, now), newKeys(ch)
	f.Fuzz(func(t *testing.T, src []byte) {
		rk, err := NewRekeyer(in, ch, Options{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := rk.Segment(placeOf(t, "segment", 1, 2), src)
		if err != nil {
			return
		}
		if len(res.Out) != len(src) {
			t.Fatalf("%d bytes became %d", len(src), len(res.Out))
		}
		d, err := NewDecrypter(newIn, keys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.Segment("segment", res.Out)
		if err != nil || !bytes.Equal(again.Clear, res.Clear) {
			t.Errorf("the new object has another clear form: %v", err)
		}
		if len(again.Findings) > 0 && again.Findings[0].Code == FindingIVReuse {
			t.Errorf("new IVs meet: %+v", again.Findings)
		}
	})
}
