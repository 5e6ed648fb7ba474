package cenc

import (
	"fmt"

	"github.com/seed-6133abe0/rekey/key"
)

// fragments goes through a fragmented file. A window is the boxes from the first
// that is not written yet to where all samples of its moofs are at hand, so that
// mdat may stand on either side of moof.
func (w *filePass) fragments() error {
	from, reach := -1, -1 // where the window begins, how far its moofs point
	for _, x := range w.file.top {
		switch {
		case x.typ == typeMoov:
			if from >= 0 {
				r := &reader{object: w.file.object}
				return r.unsupported(x.start, "moov after media in a fragmented file")
			}
			if err := w.copyTo(x.end); err != nil {
				return err
			}
			continue
		case x.typ == typeMoof:
			end, err := w.reach(x)
			if err != nil {
				return err
			}
			reach = max(reach, end)
		case x.typ != typeMdat && from < 0:
			if err := w.copyTo(x.end); err != nil {
				return err
			}
			continue
		}
		if from < 0 {
			from = x.start
		}
		if reach >= 0 && reach <= x.end {
			if err := w.fragment(from, x.end); err != nil {
				return err
			}
			from, reach = -1, -1
		}
	}
	if reach > w.file.size {
		r := &reader{object: w.file.object}
		return r.malformed(w.file.size, "the file ends at %d, before its samples do", w.file.size)
	}
	return w.copyTo(w.file.size)
}

// reach is where the media of one moof ends.
func (w *filePass) reach(moof box) (int, error) {
	b, err := w.file.window(moof.start, moof.end)
	if err != nil {
		return 0, err
	}
	w.seg.reset(w.in, w.file.object, b, moof.start, 0)
	w.seg.probe, w.seg.reach = true, moof.end
	defer func() { w.seg.probe = false }()
	w.seg.push(typeMoof, 0)
	err = w.seg.scanMoof(moof)
	return w.seg.reach, err
}

// fragment does one window.
func (w *filePass) fragment(from, to int) error {
	src, err := w.file.window(from, to)
	if err != nil {
		return err
	}
	w.seg.reset(w.in, w.file.object, src, from, w.samples)
	if err := w.seg.scanWindow(); err != nil {
		return err
	}
	w.samples = w.seg.total
	w.countTracks()
	w.mismatch += w.seg.mismatch
	if err := w.place.check(&w.seg); err != nil {
		return err
	}
	if _, err := w.prepare(w.seg.samples, from, src); err != nil {
		return err
	}
	w.clear = grow(w.clear, len(src))
	out := w.inPlace(src)
	w.transform(w.seg.samples, from, src, w.clear, out, w.place)
	w.putIVs(w.seg.samples, w.clear, from, w.place, true)
	blankNames(w.clear, from, w.seg.kidAt, w.seg.pssh)
	if err := w.weighWindow(w.seg.samples, from, to); err != nil {
		return err
	}
	if out != nil {
		if err := w.finishFragment(out, from); err != nil {
			return err
		}
	}
	if err := w.wrong(false); err != nil {
		return err
	}
	return w.write(out, w.clear)
}

// finishFragment writes names and IVs, reads the fragment again and compares.
func (w *filePass) finishFragment(out []byte, from int) error {
	w.putIVs(w.seg.samples, out, from, w.place, false)
	putKIDs(out, from, w.seg.kidAt, w.changes)
	names, err := w.seg.rekeyPSSH(out, w.seg.pssh, naming{changes: w.changes})
	if err != nil {
		return err
	}
	w.named(names)
	w.check.reset(w.in, w.file.object, out, from, w.seg.first)
	if err := w.check.scanWindow(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return w.verify(w.seg.samples, w.check.samples, from, out, w.clear)
}

// fragmentKIDs lists the KIDs that one moof names in its sample groups or by
// PIFF's override, and those in its pssh boxes. b is the moof alone.
func fragmentKIDs(in *Init, object string, b []byte, moof box) (kids, boxes []key.KID, err error) {
	var s segment
	s.reset(in, object, b, moof.start, 0)
	s.probe = true
	s.push(typeMoof, 0)
	if err := s.scanMoof(moof); err != nil {
		return nil, nil, err
	}
	for _, at := range s.kidAt {
		kids = appendKID(kids, key.KID(s.bytes(at, at+16)))
	}
	return kids, psshKIDs(nil, s.pssh), nil
}

// SegmentKIDs lists the KIDs that the moofs of a segment name themselves: for
// media, in sample groups, and in pssh boxes; each once. b may be only the
// beginning of the segment: what is not there whole is not looked at, and moofs
// counts what was.
func SegmentKIDs(in *Init, object string, b []byte) (kids, boxes []key.KID, moofs int, err error) {
	r := &reader{object: object, b: b}
	for at := 0; at < len(b); {
		x, err := r.box(at, len(b))
		if err != nil {
			break // it goes on past what is here, or Segment will say what is wrong
		}
		at = x.end
		if x.typ != typeMoof {
			continue
		}
		moofs++
		media, more, err := fragmentKIDs(in, object, b[x.start:x.end], x)
		if err != nil {
			return nil, nil, 0, err
		}
		for _, kid := range media {
			kids = appendKID(kids, kid)
		}
		for _, kid := range more {
			boxes = appendKID(boxes, kid)
		}
	}
	return kids, boxes, moofs, nil
}
