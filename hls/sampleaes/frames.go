package sampleaes

import (
	"crypto/aes"
	"errors"
	"fmt"

	"github.com/seed-6133abe0/rekey/aesbulk"
	"github.com/seed-6133abe0/rekey/hls"
	"github.com/seed-6133abe0/rekey/hls/audio"
)

// audio decrypts a stream of audio frames into r.clear. They may lie across PES
// packets; their length never changes.
func (r *reader) audio(s *stream) error {
	r.clear = append(r.clear, s.es...)
	s.clearEnds, s.outEnds = append(s.clearEnds, s.ends...), append(s.outEnds, s.ends...)
	es := r.clear[s.base:]
	for at := 0; at < len(es); {
		n, p, err := r.frame(codecOf(s.kind), es[at:], s.es[at:])
		if err != nil {
			return r.fail(errorClass(err), s.place(at), fmt.Sprintf("PID %d: %s", s.pid, reasonOf(err)))
		}
		if p.to > p.from {
			s.protect = append(s.protect, span{at + p.from, at + p.to})
		}
		at += n
	}
	return nil
}

func codecOf(streamType uint8) audio.Codec {
	switch streamType {
	case typeAC3:
		return audio.AC3
	case typeEAC3:
		return audio.EAC3
	default:
		return audio.AAC
	}
}

// packed reads packed audio (RFC 8216 §3.4): ID3 tags and frames.
func (r *reader) packed() error {
	r.clear = append(r.clear, r.src...)
	codec := audio.Codec(0)
	for at := 0; at < len(r.src); {
		n, err := audio.ID3(r.src[at:])
		if err != nil {
			return r.fail(errorClass(err), at, reasonOf(err))
		}
		if n > 0 {
			at += n
			continue
		}
		if codec == 0 {
			c, ok := audio.Detect(r.src[at:])
			switch {
			case !ok:
				return r.fail(hls.ErrUnsupported, at, "neither MPEG-2 TS nor packed audio")
			case c == audio.MP3:
				return r.fail(hls.ErrUnsupported, at, "SAMPLE-AES over MP3")
			}
			codec = c
		}
		n, p, err := r.frame(codec, r.clear[at:], r.src[at:])
		if err != nil {
			return r.fail(errorClass(err), at, reasonOf(err))
		}
		if p.to > p.from {
			r.frames = append(r.frames, span{at + p.from, at + p.to})
		}
		at += n
	}
	if codec == 0 {
		return r.fail(hls.ErrMalformed, len(r.src), "ID3 tags and no audio")
	}
	return nil
}

// frame decrypts the frame that begins b, where it lies, and returns its length
// and its protected part. stored is b as it is stored.
func (r *reader) frame(c audio.Codec, b, stored []byte) (n int, p span, err error) {
	if c >= audio.AC3 { // E-AC-3 may stand beside AC-3: each syncframe says what it is
		c = audio.AC3
		if found, ok := audio.Detect(b); ok {
			c = found
		}
	}
	n, header, err := audio.Frame(c, b)
	if err != nil {
		return 0, span{}, err
	}
	if n > len(b) {
		return 0, span{}, &hls.Error{Class: hls.ErrUnsupported, Reason: fmt.Sprintf("%s frame of %d bytes goes on after the segment", c, n)}
	}
	body := wholeBlocks(b[header:n])
	if len(body) == 0 {
		return n, span{}, nil
	}
	from := header + audioLeader
	p = span{from, from + len(body)}
	r.mark(body, len(body)/aes.BlockSize, aes.BlockSize)
	aesbulk.CBCDecrypt(r.key.block, r.iv, body, body)
	r.samples++
	if !r.blind {
		r.decoded.frame(c, b[:n], p, r.fresh)
		r.stored.frame(c, stored[:n], p, r.fresh)
	}
	return n, p, nil
}

// mark notes which blocks of a sample, n that begin b at this distance, are new.
func (r *reader) mark(b []byte, n, distance int) {
	if r.blind {
		return
	}
	r.fresh = r.fresh[:0]
	for i := range n {
		r.fresh = append(r.fresh, r.blocks.add(b[i*distance:]))
	}
}

func errorClass(err error) error {
	if errors.Is(err, hls.ErrUnsupported) {
		return hls.ErrUnsupported
	}
	return hls.ErrMalformed
}

func reasonOf(err error) string {
	var e *hls.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}
