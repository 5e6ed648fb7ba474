package cenc

import "slices"

// maxSamples bounds the samples of one object, and so the memory a small
// hostile object can claim; a minute of PCM, one sample a frame, would reach it.
const maxSamples = 1 << 21

// sampleBytes is the memory of a sample; a hostile object must not claim many
// times its own size in samples of a byte or none.
const sampleBytes = 64

// sample is one protected sample: places in the object, all of them checked.
type sample struct {
	data   int // where its bytes begin
	iv     int // where its IV stands; 0 where the IV is constant
	copies [2]int
	subs   int // where its subsample table stands
	size   uint32
	prot   int32 // index in segment.prots
	index  int32 // among all samples of the object
	nsubs  uint16
	known  bool // has auxiliary information
}

func (sm *sample) end() int { return sm.data + int(sm.size) }

// span is a run of bytes, from inclusive, to exclusive.
type span struct{ from, to int }

// segment is what a scan finds in one object, or in one window of a file. It is
// reused and allocates only to grow.
type segment struct {
	reader
	in       *Init
	samples  []sample     // the protected ones, in the order of their data
	bare     []sample     // without the IV that their protection asks for
	prots    []protection // in.prots, then those of the trafs' groups
	first    int          // index of the window's first sample
	total    int          // samples of all tracks, protected or not
	mismatch int          // samples whose copies of the IV differ

	kidAt []int // where a KID stands in moof: seig, PIFF's override
	pssh  []psshBox

	mdats  []span
	spans  []span // sample data and IVs: must not overlap
	traf   traf
	groups []groupRun
	held   int              // bytes in side
	side   []piece          // auxiliary information outside the window
	load   func(span) error // appends such a piece to side; nil: there are none

	// probe has the scan stop at what a moof alone can tell: how far its media
	// reaches, and the KIDs it names.
	probe bool
	reach int
}

// piece is a run of the object's bytes kept beside the window.
type piece struct {
	from int
	b    []byte
}

// reset makes s ready for one object; first is the index of its first sample.
func (s *segment) reset(in *Init, object string, b []byte, base, first int) {
	s.in, s.object, s.b, s.base = in, object, b, base
	s.path, s.samples, s.mdats, s.spans = s.path[:0], s.samples[:0], s.mdats[:0], s.spans[:0]
	s.prots = append(s.prots[:0], in.prots...)
	s.bare = s.bare[:0]
	s.kidAt, s.pssh, s.side = s.kidAt[:0], s.pssh[:0], s.side[:0]
	s.first, s.total, s.mismatch, s.held = first, first, 0, 0
}

// scan finds every protected sample of an object that is a segment.
func (s *segment) scan(in *Init, object string, b []byte) error {
	s.reset(in, object, b, 0, 0)
	return s.scanWindow()
}

// scanWindow finds the samples of the moofs in the window.
func (s *segment) scanWindow() error {
	moofs, err := s.scanTop()
	if err != nil {
		return err
	}
	if moofs == 0 {
		return s.malformed(s.base, "no moof")
	}
	at := s.base
	for i := 0; i < moofs; {
		x, err := s.box(at, s.end())
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
	s.sort()
	return s.checkSpans()
}

// sort puts the samples in the order of their data.
func (s *segment) sort() {
	byData := func(a, b sample) int { return a.data - b.data }
	if !slices.IsSortedFunc(s.samples, byData) {
		slices.SortStableFunc(s.samples, byData)
	}
}

// scanTop lists the mdats, which may stand on either side of their moof.
func (s *segment) scanTop() (moofs int, err error) {
	for at := s.base; at < s.end(); {
		x, err := s.box(at, s.end())
		if err != nil {
			return 0, err
		}
		at = x.end
		switch x.typ {
		case typeMoof:
			moofs++
		case typeMdat:
			s.mdats = append(s.mdats, span{x.body, x.end})
		case typeMoov:
			return 0, s.unsupported(x.start, "%v in a segment", x.typ)
		case typePssh, typeUuid:
			if s.isPSSH(x) {
				return 0, s.unsupported(x.start, "pssh beside moof, where no player reads it")
			}
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
		s.padPSSH(s.pssh, x)
		switch {
		case s.isPSSH(x):
			s.push(x.typ, len(s.pssh))
			if s.pssh, err = s.appendPSSH(s.pssh, x); err == nil {
				err = s.pssh[len(s.pssh)-1].unsupported
			}
		case x.typ == typeTraf:
			s.push(typeTraf, trafs)
			trafs++
			base, err = s.scanTraf(moof, x, base)
		default:
			continue
		}
		if err != nil {
			return err
		}
		s.pop()
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
	// They are in the order of the object.
	i, found := slices.BinarySearchFunc(s.mdats, x.from, func(m span, at int) int { return m.from - at })
	if !found {
		i--
	}
	return i >= 0 && x.to <= s.mdats[i].to
}

// at gives the object's bytes from offset from on, of which n are there: in the
// window, or in a piece beside it.
func (s *segment) at(from, n int) []byte {
	if from >= s.base && from+n <= s.end() {
		return s.b[from-s.base:]
	}
	i, found := slices.BinarySearchFunc(s.side, from, func(p piece, at int) int { return p.from - at })
	if !found {
		i--
	}
	return s.side[i].b[from-s.side[i].from:]
}
