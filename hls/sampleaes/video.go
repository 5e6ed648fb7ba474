package sampleaes

import (
	"bytes"
	"fmt"

	"github.com/seed-6133abe0/rekey/hls"
)

// video decrypts a stream of H.264 into r.clear.
func (r *reader) video(s *stream) error {
	cuts := cutter{ends: s.ends, to: &s.clearEnds}
	from := 0
	for {
		start, end, ok := nextNAL(s.es, from)
		if from == 0 {
			lead := len(s.es)
			if ok {
				lead = start - 3
			}
			if n := len(s.es[:lead]) - len(bytes.TrimLeft(s.es[:lead], "\x00")); n < lead {
				return r.fail(hls.ErrUnsupported, s.place(n), fmt.Sprintf("PID %d: the segment begins inside a NAL unit", s.pid))
			}
		}
		if !ok {
			break
		}
		if r.isProtected(s.es[start:end]) {
			r.keep(s, &cuts, from, start)
			if err := r.nal(s, &cuts, start, end); err != nil {
				return err
			}
		} else {
			r.keep(s, &cuts, from, end)
		}
		from = end
	}
	r.keep(s, &cuts, from, len(s.es))
	return nil
}

// isProtected tells whether a NAL unit, as it is stored, has a protected block.
// One that is too short for that was never escaped either, and stays as it is.
func (r *reader) isProtected(nal []byte) bool {
	if len(nal) < shortestNAL || !protectedType(nal[0]) {
		return false
	}
	if len(nal) >= 2*shortestNAL { // emulation prevention takes at most one byte of three
		return true
	}
	var u unescaper
	return blocks(len(u.take(make([]byte, 0, 2*shortestNAL), nal, true))) > 0
}

// cutter takes the ends of PES packets from one form of a stream to another.
type cutter struct {
	ends []int  // in the form that is read
	to   *[]int // in the form that is written
}

// each calls f for the pieces of [from, to) between the ends of PES packets, and
// asks at where each such end is written. The last piece ends at to and may be
// empty.
func (c *cutter) each(from, to int, f func(from, to int), at func() int) {
	for len(*c.to) < len(c.ends) && c.ends[len(*c.to)] <= to {
		end := c.ends[len(*c.to)]
		f(from, end)
		from = end
		*c.to = append(*c.to, at())
	}
	f(from, to)
}

// keep copies what is clear.
func (r *reader) keep(s *stream, cuts *cutter, from, to int) {
	cuts.each(from, to,
		func(from, to int) { r.clear = append(r.clear, s.es[from:to]...) },
		func() int { return len(r.clear) - s.base })
}

// nal decrypts one NAL unit.
func (r *reader) nal(s *stream, cuts *cutter, start, end int) error {
	var u unescaper
	at := len(r.clear)
	cuts.each(start, end,
		func(from, to int) { r.clear = u.take(r.clear, s.es[from:to], to == end) },
		func() int { return len(r.clear) - s.base })
	nal := r.clear[at:]
	if zeros := zerosAfter(s.es[end:]); zeros <= 2 && blocks(len(nal)) != blocks(len(nal)+zeros) {
		return r.fail(hls.ErrUnsupported, s.place(end), fmt.Sprintf("PID %d: zeros after a NAL unit leave open whether its last block is protected", s.pid))
	}
	if u.odd > 0 {
		r.odd++
	}
	r.mark(nal[clearLeader:], blocks(len(nal)), pattern)
	if !r.blind {
		r.stored.nal(nal, r.fresh)
	}
	r.key.decryptNAL(r.iv, nal)
	if !r.blind {
		r.decoded.nal(nal, r.fresh)
		r.decoded.escapes(nal, r.fresh)
	}
	s.protect = append(s.protect, span{at - s.base, len(r.clear) - s.base})
	r.samples++
	return nil
}

// zerosAfter counts the zeros after a NAL unit that whoever encrypted it may have
// taken for its own: b begins where it ends. The start code that follows, with its
// zero_byte, is none of them. More than two it would have escaped.
func zerosAfter(b []byte) int {
	n := len(b) - len(bytes.TrimLeft(b, "\x00"))
	if n < len(b) {
		return max(0, n-3)
	}
	return n
}

// encryptVideo makes s.out from the clear form of s.
func (s *stream) encryptVideo(c *encrypter, clear []byte) {
	cuts := cutter{ends: s.clearEnds, to: &s.outEnds}
	at := func() int { return len(s.out) }
	keep := func(from, to int) { s.out = append(s.out, clear[from:to]...) }
	from := 0
	for _, p := range s.protect {
		cuts.each(from, p.from, keep, at)
		c.scratch = append(c.scratch[:0], clear[p.from:p.to]...)
		c.key.encryptNAL(c.iv, c.scratch)
		var e escaper
		cuts.each(p.from, p.to, func(from, to int) { s.out = e.take(s.out, c.scratch[from-p.from:to-p.from]) }, at)
		from = p.to
	}
	cuts.each(from, len(clear), keep, at)
}
