package audio

import (
	"bytes"
	"fmt"
)

// Stream is what Walk saw.
type Stream struct {
	Codec  Codec
	Frames int // whole ones
	// End is where the walk ended: the length of what it walked, or the place of
	// what is no tag and no whole frame.
	End int
	// ChanceLog10 is log10 of the probability that random bytes would have been
	// walked as well: 0 where nothing was seen.
	ChanceLog10 float64
}

// maxWeighed bounds how many frames count as evidence in one stream: more would
// only make a small number smaller.
const maxWeighed = 16

// An ID3v1 tag ends some MP3 files.
const id3v1 = 128

// Walk follows ID3 tags and frames of one codec through b to its exact end; AC-3
// and E-AC-3 may alternate, and Stream.Codec is that of the first frame. An
// error says what is wrong at Stream.End; the Stream beside it says what was right
// before.
func Walk(b []byte) (s Stream, err error) {
	var w weighed
	defer func() { s.ChanceLog10 = w.log10 }()
	for s.End < len(b) {
		rest := b[s.End:]
		tags, err := ID3(rest)
		if err != nil {
			return s, malformed(s.End, "ID3 tag is cut or cannot be")
		}
		if tags > 0 {
			w.tag(len(b))
			s.End += tags
			continue
		}
		c, ok := Detect(rest)
		switch {
		case s.Codec == 0 && !ok:
			return s, malformed(s.End, "no tag and no audio frame begins here")
		case s.Codec == 0:
			s.Codec = c
		case s.Codec < AC3 || c < AC3: // AC-3 may have dependent substreams in E-AC-3
			c = s.Codec
		}
		n, _, err := Frame(c, rest)
		if err != nil {
			if s.Codec == MP3 && len(rest) == id3v1 && bytes.HasPrefix(rest, []byte("TAG")) {
				s.End = len(b)
				break
			}
			return s, malformed(s.End, fmt.Sprintf("no %s frame begins here, after %d", s.Codec, s.Frames))
		}
		w.frame(c, rest)
		if n > len(rest) {
			return s, malformed(s.End, fmt.Sprintf("%s frame of %d bytes is cut after %d", c, n, len(rest)))
		}
		if s.Frames == 0 {
			w.sum(s.Codec, rest[:n])
		}
		s.Frames++
		s.End += n
	}
	if s.Frames == 0 {
		return s, malformed(s.End, "no audio frame")
	}
	w.end(s.Codec)
	return s, nil
}
