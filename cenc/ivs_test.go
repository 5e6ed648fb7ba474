package cenc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed-6133abe0/rekey/fixtures"
	"github.com/seed-6133abe0/rekey/key"
)

// counterBlock is a counter as AES sees it.
type counterBlock struct{ high, low uint64 }

// usage is which counter blocks of one key were used, and by what.
type usage map[counterBlock]string

// add takes the runs that a Decrypter or File saw in one object. A run that meets
// another is an error.
func (u usage) add(list []counters, object string) error {
	for _, c := range list {
		for low := c.low; ; low++ {
			b := counterBlock{c.high, low}
			if where, ok := u[b]; ok {
				return fmt.Errorf("counter block %016x%016x is used in %s and by sample %d of %s", b.high, b.low, where, c.index, object)
			}
			u[b] = object
			if low == c.last {
				break
			}
		}
	}
	return nil
}

// oneKey is a change of every KID to one and the same new key, the worst case
// for counters.
func oneKey(keys map[key.KID]key.ContentKey) (key.Changes, map[key.KID]key.ContentKey) {
	ch, kid, k := key.Changes{}, key.NewKID(), key.NewContentKey()
	for old, was := range keys {
		ch[old] = key.Change{Old: was, New: k, NewKID: kid}
	}
	return ch, map[key.KID]key.ContentKey{kid: k}
}

// usedByFile rekeys a file and decrypts the result; it adds the counters that
// this took, and returns the encrypted bytes.
func (u usage) usedByFile(t *testing.T, m media, ch key.Changes, after map[key.KID]key.ContentKey, ivs uint64) (int64, error) {
	t.Helper()
	f, err := OpenFile(m.name, bytes.NewReader(m.file), int64(len(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := f.Rekey(&out, Place{Object: m.name, IVs: ivs}, ch, FileOptions{}); err != nil {
		t.Fatalf("%s: %v", m.name, err)
	}
	g, err := OpenFile(m.name, bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	w := g.pass(nil, Place{Object: m.name}, nil, FileOptions{})
	if err := w.addKeys(after); err != nil {
		t.Fatal(err)
	}
	res, err := w.run()
	if err != nil || len(res.Kept) > 0 {
		t.Fatalf("%s: kept %v, %v", m.name, res.Kept, err)
	}
	ctr := int64(0)
	if len(w.counters) > 0 {
		ctr = res.Protected
	}
	return ctr, u.add(w.counters, m.name)
}

// TestCountersOfAnAsset rekeys all CTR media there is as one asset under one new
// key: no counter block of AES is used twice. Each file is a track of its own,
// and so is each of the library's renditions, whose segments are its objects.
func TestCountersOfAnAsset(t *testing.T) {
	keys := fixtureKeys(t)
	files := packagerMedia(t)
	for _, m := range files {
		for kid, k := range m.keys {
			keys[kid] = k
		}
	}
	ch, after := oneKey(keys)
	u, track, protected := usage{}, uint16(0), int64(0)
	var first media
	for _, m := range files {
		if m.refuse != "" {
			continue
		}
		n, err := u.usedByFile(t, m, ch, after, placeOf(t, m.name, track, 1).IVs)
		if err != nil {
			t.Fatal(err)
		}
		if protected += n; n > 0 && first.name == "" {
			first = m
		}
		track++
	}
	for _, r := range renditions(t, fixtures.Library()) {
		protected += u.usedBySegments(t, r, ch, after, track)
		track++
	}
	if int64(len(u))*16 < protected || protected < 400_000 {
		t.Errorf("%d counter blocks for %d encrypted bytes", len(u), protected)
	}
	t.Logf("%d tracks, %d bytes, %d counter blocks, each once", track, protected, len(u))
	if _, err := u.usedByFile(t, first, ch, after, placeOf(t, first.name, 0, 1).IVs); err == nil {
		t.Error("a file under a track and number of another was not noticed")
	}
}

func (u usage) usedBySegments(t *testing.T, r rendition, ch key.Changes, after map[key.KID]key.ContentKey, track uint16) (protected int64) {
	t.Helper()
	in := mustInit(t, r.init)
	rk, err := NewRekeyer(in, ch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now, err := in.Rekey(nil, ch)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecrypter(mustInit(t, now), after, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, src := range r.segments {
		res, err := rk.Segment(placeOf(t, r.name, track, uint32(i)), src)
		if err != nil {
			t.Fatal(err)
		}
		res, err = d.Segment(r.name, res.Out)
		if err != nil || res.Samples == 0 {
			t.Fatalf("%d samples, %v", res.Samples, err)
		}
		if err := u.add(d.counters, fmt.Sprintf("%s %d", r.name, i)); err != nil {
			t.Fatal(err)
		}
		protected += res.Protected
	}
	return protected
}

// randomRendition is one object of made samples: of one byte, just under or
// over a block, of many.
func randomRendition(r *rand.Rand, tr madeTrack) rendition {
	ivSize := tr.ivSize
	var runs [][]madeSample
	for range 1 + r.IntN(3) {
		size := [...]int{1, 15, 16, 17, 33, 255, 256, 1 + r.IntN(3000)}[r.IntN(8)]
		var subs [][2]int
		if size > 32 && r.IntN(2) == 0 {
			a := r.IntN(size - 20)
			subs = [][2]int{{a / 2, a - a/2}, {3, size - a - 3}}
		}
		runs = append(runs, madeRun(1+r.IntN(40), size, ivSize, r.Uint64(), subs))
	}
	return rendition{name: fmt.Sprintf("made of %d", ivSize), init: makeInit(tr),
		segments: [][]byte{makeSegment(madeTraf{track: tr, senc: true, saiz: true, runs: runs})}}
}

// TestCountersOfRandomObjects: any two objects of different track or number keep
// apart, at the ends of both too; the same ones meet.
func TestCountersOfRandomObjects(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, ivSize := range []int{8, 16} {
		made := newMadeTrack(1, ivSize)
		ch, after := oneKey(map[key.KID]key.ContentKey{made.kid: made.key})
		u, places := usage{}, map[uint64]bool{}
		for n := range 150 {
			track, number := uint16(r.Uint32()), r.Uint32N(maxNumber+1)
			switch n % 3 { // neighbours, and the ends
			case 0:
				track, number = uint16(n%7), uint32(n/7)
			case 1:
				track, number = []uint16{0, 1, 0xfffe, 0xffff}[r.IntN(4)], []uint32{0, 1, maxNumber - 1, maxNumber}[r.IntN(4)]
			}
			ivs := placeOf(t, "made", track, number).IVs
			x := randomRendition(r, made)
			m := media{name: fmt.Sprintf("%s, %d/%d", x.name, track, number), file: x.file()}
			_, err := u.usedByFile(t, m, ch, after, ivs)
			if again := places[ivs]; again != (err != nil) {
				t.Fatalf("track %d number %d, used before %v: %v", track, number, again, err)
			}
			places[ivs] = true
		}
		if len(places) == 150 || len(u) < 10_000 {
			t.Errorf("%d places and %d blocks are too few to test", len(places), len(u))
		}
	}
	if _, err := StructuredIVs(1, maxNumber+1); err == nil {
		t.Error("a number of more than 24 bits was taken")
	}
	for _, at := range []uint32{0, 1, maxNumber - 1} { // the last sample there can be, and the next object
		last, next := placeOf(t, "a", 3, at).iv(maxIndex), placeOf(t, "b", 3, at+1).iv(0)
		if bytes.Compare(last[:], next[:]) >= 0 {
			t.Errorf("object %d reaches into the next", at)
		}
	}
}
