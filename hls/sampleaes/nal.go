package sampleaes

import (
	"bytes"
	"crypto/aes"
)

// H.264 under SAMPLE-AES (Apple §2.2): the type byte and 31 more are clear; then
// one block of 16 bytes is protected and up to 144 bytes are clear, again and
// again; a block is protected only while more than 16 bytes remain.
const (
	clearLeader = 32
	shortestNAL = 49 // a NAL unit of 48 bytes or fewer is all clear
	pattern     = 160
)

// protectedType tells whether NAL units that begin with b are encrypted: coded
// slices of a picture (ISO/IEC 14496-10 table 7-1), types 1 and 5.
func protectedType(b byte) bool {
	t := b & 0x1f
	return t == 1 || t == 5
}

// blocks is the number of protected blocks in a clear NAL unit of n bytes.
func blocks(n int) int {
	if n < shortestNAL {
		return 0
	}
	return (n - clearLeader - aes.BlockSize + pattern - 1) / pattern
}

// nextNAL finds the first NAL unit of the byte stream b (ISO/IEC 14496-10 annex
// B) that begins at from or after it: b[start:end], with zeros and start codes
// left out. ok is false where there is none.
func nextNAL(b []byte, from int) (start, end int, ok bool) {
	i := bytes.Index(b[from:], []byte{0, 0, 1})
	if i < 0 {
		return 0, 0, false
	}
	start = from + i + 3
	end = len(b)
	if n := bytes.Index(b[start:], []byte{0, 0, 1}); n >= 0 {
		end = start + n
	}
	for end > start && b[end-1] == 0 { // trailing_zero_8bits, zero_byte
		end--
	}
	return start, end, true
}

// unescaper takes emulation prevention off one NAL unit, which comes in any
// number of pieces.
type unescaper struct {
	zeros int
	// odd counts what no encoder writes: 000002, and a 03 without need.
	odd     int
	removed bool // the last byte was an emulation prevention byte
}

// take appends piece to dst without its emulation prevention bytes. last says
// that the NAL unit ends with it: 000003 at the very end stays, for no clear NAL
// unit ends in a zero.
func (u *unescaper) take(dst, piece []byte, last bool) []byte {
	for len(piece) > 0 {
		if u.zeros == 0 && !u.removed { // nothing to watch for up to the next zero
			n := bytes.IndexByte(piece, 0)
			if n < 0 {
				return append(dst, piece...)
			}
			dst = append(dst, piece[:n+1]...)
			piece, u.zeros = piece[n+1:], 1
			continue
		}
		c := piece[0]
		piece = piece[1:]
		if u.removed && c > 3 {
			u.odd++
		}
		u.removed = false
		switch {
		case u.zeros >= 2 && c == 3 && !(last && len(piece) == 0):
			u.zeros, u.removed = 0, true
			continue
		case u.zeros >= 2 && c <= 3:
			u.odd++
		}
		if c == 0 {
			u.zeros++
		} else {
			u.zeros = 0
		}
		dst = append(dst, c)
	}
	return dst
}

// escaper puts emulation prevention on one NAL unit, which comes in any number of
// pieces (ISO/IEC 14496-10 §7.4.1).
type escaper struct{ zeros int }

// take appends piece to dst; an emulation prevention byte goes with the byte that
// needs it.
func (e *escaper) take(dst, piece []byte) []byte {
	for len(piece) > 0 {
		if e.zeros == 0 {
			n := bytes.IndexByte(piece, 0)
			if n < 0 {
				return append(dst, piece...)
			}
			dst = append(dst, piece[:n+1]...)
			piece, e.zeros = piece[n+1:], 1
			continue
		}
		c := piece[0]
		piece = piece[1:]
		if e.zeros == 2 && c <= 3 {
			dst = append(dst, 3)
			e.zeros = 0
		}
		if c == 0 {
			e.zeros++
		} else {
			e.zeros = 0
		}
		dst = append(dst, c)
	}
	return dst
}
