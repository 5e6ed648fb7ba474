package cenc

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

func rekeySegment(t *testing.T, in *Init, ch key.Changes, src []byte) Result {
	t.Helper()
	rk, err := NewRekeyer(in, ch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := rk.Segment(Place{Object: "segment"}, src)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestNamesOfTheDefaultKey: a fragment may name the track's own key once more, in
// a sample group or in PIFF's override.
func TestNamesOfTheDefaultKey(t *testing.T) {
	a, b := newMadeTrack(1, 8), newMadeTrack(1, 8)
	run := madeRun(3, 100, 8, 1, nil)
	sgpd := func(x madeTrack) []byte {
		return fullBox("sgpd", 1, 0, []byte("seig"), be(4, 20), be(4, 1), be(2, 0), be(1, 1), be(1, 8), x.kid[:])
	}
	sbgp := fullBox("sbgp", 0, 0, []byte("seig"), be(4, 1), be(4, 3), be(4, 0x10001))
	override := func(x madeTrack) []byte {
		return boxed("uuid", []byte(piffSenc), be(4, 1), be(3, 1), be(1, 8), x.kid[:], be(4, 3), run[0].iv, run[1].iv, run[2].iv)
	}
	for name, tc := range map[string]madeTraf{
		"group of the same KID":     {track: a, senc: true, extra: join(sgpd(a), sbgp)},
		"group of another KID":      {track: b, senc: true, extra: join(sgpd(b), sbgp)},
		"group that nobody uses":    {track: a, senc: true, extra: sgpd(a)},
		"override by the same KID":  {track: a, extra: override(a)},
		"override by another KID":   {track: b, extra: override(b)},
		"two old keys, one new one": {track: b, senc: true, extra: join(sgpd(b), sbgp)},
	} {
		t.Run(name, func(t *testing.T) {
			tc.runs = [][]madeSample{run}
			src := makeSegment(tc)
			ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key, b.kid: b.key})
			if name == "two old keys, one new one" {
				c := ch[a.kid]
				c.Old = b.key
				ch[b.kid] = c
			}
			res := rekeySegment(t, mustInit(t, makeInit(a)), ch, src)
			if res.Samples != 3 || !bytes.Contains(res.Clear, clearOf(tc)) {
				t.Errorf("%d samples; right: %v", res.Samples, bytes.Contains(res.Clear, clearOf(tc)))
			}
			if bytes.Contains(res.Out, tc.track.kid[:]) {
				t.Error("the old KID still stands in the fragment")
			}
		})
	}
}

// TestSamplesOfNoBytes may lie anywhere, even in another sample.
func TestSamplesOfNoBytes(t *testing.T) {
	a, b := newMadeTrack(1, 8), newMadeTrack(2, 8)
	src := makeSegment(madeTraf{track: a, senc: true, runs: [][]madeSample{madeRun(1, 100, 8, 1, nil)}},
		madeTraf{track: b, senc: true, runs: [][]madeSample{madeRun(1, 0, 8, 9, nil)}})
	i := bytes.Index(src, []byte("trun"))
	src = at(src, "trun", 1, 12, src[i+12:i+16]...)
	ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key, b.kid: b.key})
	if res := rekeySegment(t, mustInit(t, makeInit(a, b)), ch, src); res.Samples != 1 {
		t.Errorf("%d samples, want the one with bytes", res.Samples)
	}
}

// TestPatternThatRunsOn: media whose packager lets the pattern of cens run on over
// subsamples is read so by what its IVs show, and its successors still are.
func TestPatternThatRunsOn(t *testing.T) {
	a := newMadeTrack(1, 16)
	b := makeInit(a)
	b = at(at(b, "schm", 0, 8, []byte("cens")...), "tenc", 0, 4, 1, 0, 0, 0, 0, 0x11)
	in := mustInit(t, b)
	src, clear := runningOn(a, 20)
	for turn := range 3 {
		keys := map[key.KID]key.ContentKey{a.kid: a.key}
		ch := newChanges(keys)
		res := rekeySegment(t, in, ch, src)
		if res.Readings.Pattern != PatternRunsOn || !bytes.Contains(res.Clear, clear) {
			t.Fatalf("rotation %d: read as %v; right: %v", turn+1, res.Readings, bytes.Contains(res.Clear, clear))
		}
		next, err := in.Rekey(nil, ch)
		if err != nil {
			t.Fatal(err)
		}
		in, src = mustInit(t, next), bytes.Clone(res.Out)
		a.kid, a.key = ch[a.kid].NewKID, ch[a.kid].New
	}
}

// runningOn is a segment of n samples with two subsamples of three blocks each,
// under a 1:1 pattern over all six, with IVs that count them.
func runningOn(a madeTrack, n int) (segment, clear []byte) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var run []madeSample
	var stored []byte
	for i := range n {
		one := make([]byte, 2*(5+48))
		for j := range one {
			one[j] = byte(rnd.Uint32())
		}
		clear = append(clear, one...)
		iv := join(be(8, 7), be(8, uint64(6*i)))
		for block := 0; block < 6; block += 2 {
			from := 5 + 16*block
			if block >= 3 {
				from += 5
			}
			var ctr, stream [aes.BlockSize]byte
			copy(ctr[:], iv)
			binary.BigEndian.PutUint64(ctr[8:], uint64(6*i+block/2))
			a.key.Block().Encrypt(stream[:], ctr[:])
			for j, x := range stream {
				one[from+j] ^= x
			}
		}
		stored = append(stored, one...)
		run = append(run, madeSample{clear: one, iv: iv, subs: [][2]int{{5, 48}, {5, 48}}})
	}
	segment = makeSegment(madeTraf{track: a, senc: true, runs: [][]madeSample{run}})
	copy(segment[len(segment)-len(stored):], stored)
	return segment, clear
}
