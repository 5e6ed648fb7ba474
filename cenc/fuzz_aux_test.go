package cenc

import (
	"bytes"
	"testing"

	"github.com/seed-6133abe0/rekey/key"
)

// auxSegment is a segment of fixed samples around auxiliary information of any
// kind: the boxes of a traf, or what is put in their place.
func auxSegment(a madeTrack, n int, boxes []byte) []byte {
	return makeSegment(madeTraf{track: a, runs: [][]madeSample{madeRun(n, 100, a.ivSize, 1, nil)}, extra: boxes})
}

// auxOfMedia gives the boxes of auxiliary information and of sample groups in the
// first traf of real media, one after another.
func auxOfMedia(file []byte) (boxes []byte, samples int) {
	r := &reader{object: "seed", b: file}
	for at := 0; at < len(file); {
		moof, err := r.box(at, len(file))
		if err != nil {
			return nil, 0
		}
		at = moof.end
		if moof.typ != typeMoof {
			continue
		}
		err = r.each(moof, func(traf box) error {
			if traf.typ != typeTraf || boxes != nil {
				return nil
			}
			return r.each(traf, func(x box) error {
				switch x.typ {
				case typeSenc, typeSaiz, typeSaio, typeSbgp, typeSgpd, typeCsgp, typeUuid:
					boxes = append(boxes, file[x.start:x.end]...)
				case typeTrun:
					f := r.fields(x)
					f.full()
					samples += int(f.u32())
				}
				return nil
			})
		})
		if err != nil || boxes != nil {
			return boxes, samples
		}
	}
	return nil, 0
}

// FuzzAux: whatever the boxes say of samples that are there, they are refused, or
// rekeyed to samples of the same clear form.
func FuzzAux(f *testing.F) {
	seeds := 0
	for _, m := range packagerMedia(f) {
		if boxes, n := auxOfMedia(m.file); boxes != nil && n < 200 && len(boxes) < 4000 {
			f.Add(boxes, uint8(n), false)
			f.Add(boxes, uint8(n), true)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no auxiliary information in the fixtures")
	}
	narrow, wide := newMadeTrack(1, 8), newMadeTrack(1, 16)
	narrow.kid, wide.kid = key.KID{1}, key.KID{1}
	f.Fuzz(func(t *testing.T, boxes []byte, n uint8, sixteen bool) {
		a := narrow
		if sixteen {
			a = wide
		}
		in := mustInit(t, makeInit(a))
		ch := newChanges(map[key.KID]key.ContentKey{a.kid: a.key})
		rk, err := NewRekeyer(in, ch, Options{})
		if err != nil {
			t.Fatal(err)
		}
		src := auxSegment(a, int(n), boxes)
		res, err := rk.Segment(Place{Object: "segment"}, src)
		if err != nil {
			return
		}
		now, err := in.Rekey(nil, ch)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDecrypter(mustInit(t, now), newKeys(ch), Options{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.Segment("segment", res.Out)
		if err != nil || !bytes.Equal(again.Clear, res.Clear) || len(res.Out) != len(src) {
			t.Errorf("the new object has another clear form: %v", err)
		}
	})
}
