package cenc

import "slices"

// maxSamples bounds the samples of one object, and so the memory a small
// hostile object can claim; a minute of PCM, one sample a frame, would reach it.
const maxSamples = 1 << 21

// sample is one sample of an encrypted track that has auxiliary information:
// places in the object, all of them checked.
type sample struct {
	data, size int
	iv         int // where its IV stands
	copies     [2]int
	subs       int // where its subsample table stands
	nsubs      int // 0: the whole sample is protected
	track      int // index in Init.tracks
	index      int // among all samples of the object
}

// span is a run of bytes, from inclusive, to exclusive.
type span struct{ from, to int }

// segment is what a scan finds in one object. It is reused from object to
// object and allocates only to grow.
type segment struct {
	reader
	in       *Init
	samples  []sample // in the order of their data
	total    int      // samples of all tracks, with auxiliary information or not
	mismatch int      // samples whose copies of the IV differ

	mdats []span
	spans []span // sample data and IVs: must not overlap
	traf  traf
}

// scan finds every protected sample of an object.
func (s *segment) scan(in *Init, object string, b []byte) error {
	s.in, s.object, s.b = in, object, b
	s.path, s.samples, s.mdats, s.spans = s.path[:0], s.samples[:0], s.mdats[:0], s.spans[:0]
	s.total, s.mismatch = 0, 0
	moofs, err := s.scanTop()
	if err != nil {
		return err
	}
	if moofs == 0 {
		return s.malformed(0, "no moof")
	}
	at := 0
	for i := 0; i < moofs; {
		x, err := s.box(at, len(b))
		if err != nil {
			return err
		}
		at = x.end
		if x.typ != typeMoof {
			continue
		}
		s.push(typeMoof, i)
		i++
		if err := s.scanMoof(x); err != nil {
			return err
		}
		s.pop()
	}
	byData := func(a, b sample) int { return a.data - b.data }
	if !slices.IsSortedFunc(s.samples, byData) {
		slices.SortStableFunc(s.samples, byData)
	}
	return s.checkSpans()
}

// scanTop lists the mdats, which may stand on either side of their moof.
func (s *segment) scanTop() (moofs int, err error) {
	for at := 0; at < len(s.b); {
		x, err := s.box(at, len(s.b))
		if err != nil {
			return 0, err
		}
		at = x.end
		switch x.typ {
		case typeMoof:
			moofs++
		case typeMdat:
			s.mdats = append(s.mdats, span{x.body, x.end})
		case typeMoov, typePssh:
			return 0, s.unsupported(x.start, "%v in a segment", x.typ)
		}
	}
	return moofs, nil
}

func (s *segment) scanMoof(moof box) error {
	trafs, base := 0, moof.start
	for at := moof.body; at < moof.end; {
		x, err := s.box(at, moof.end)
		if err != nil {
			return err
		}
		at = x.end
		switch x.typ {
		case typePssh:
			s.push(typePssh, 0)
			return s.unsupported(x.start, "pssh inside moof: keys that change within the track")
		case typeTraf:
			s.push(typeTraf, trafs)
			trafs++
			if base, err = s.scanTraf(moof, x, base); err != nil {
				return err
			}
			s.pop()
		}
	}
	return nil
}

// checkSpans refuses samples and IVs that lie in each other's bytes: decrypting
// one would change another.
func (s *segment) checkSpans() error {
	slices.SortFunc(s.spans, func(a, b span) int { return a.from - b.from })
	for i := 1; i < len(s.spans); i++ {
		if s.spans[i].from < s.spans[i-1].to {
			return s.malformed(s.spans[i].from, "samples or their IVs overlap")
		}
	}
	return nil
}

// inMdat tells whether a run of bytes lies within the payload of one mdat.
func (s *segment) inMdat(x span) bool {
	for _, m := range s.mdats {
		if x.from >= m.from && x.to <= m.to {
			return true
		}
	}
	return false
}
