package aes128

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/seed-6133abe0/rekey/hls"
)

// ISO/IEC 14496-12 §4.2: size and type, then a 64-bit size if size is 1, then an
// extended type if type is uuid.
const (
	boxHeader  = 8
	largeSize  = 8
	uuidHeader = 16
)

// boxTypes is how many types isBox knows.
const boxTypes = 17

// isBox knows the boxes that stand at the top level of init sections and media
// segments.
func isBox(t string) bool {
	switch t {
	case "ftyp", "styp", "otyp", "moov", "moof", "mdat", "imda", "sidx", "ssix", "emsg", "prft",
		"mfra", "meta", "pdin", "free", "skip", "uuid":
		return true
	default:
		return false
	}
}

// maxBoxes bounds how many boxes count as evidence in one segment.
const maxBoxes = 8

// lookBoxes takes b for fMP4 (RFC 8216 §3.3) where it begins with a known box, and
// follows the sizes of the boxes to the end. Boxes of unknown types may stand
// among them (§4.2: they are ignored and skipped).
func lookBoxes(b []byte) sight {
	s := sight{class: hls.ErrMalformed}
	count := 0
	fail := func(reason string) sight {
		s.reason = reason
		return s
	}
	for s.at < len(b) {
		rest := b[s.at:]
		if len(rest) < boxHeader {
			return fail(fmt.Sprintf("box header is cut after %d bytes", len(rest)))
		}
		kind := rest[4:boxHeader]
		known := isBox(string(kind))
		if !known && (count == 0 || !printable(kind)) {
			return fail("no box begins here")
		}
		size, toEnd, err := boxSize(rest)
		if err != "" {
			return fail(err)
		}
		s.format = "fMP4"
		if count++; count <= maxBoxes {
			s.log10 += boxOdds(known, len(b))
		}
		if size > uint64(len(rest)) {
			// The header may still be chance's: its size says nothing.
			if count <= maxBoxes {
				s.log10 += max(0, 32*log2-math.Log10(float64(len(b))))
			}
			s.cut = true
			return fail(fmt.Sprintf("%q box of %d bytes is cut after %d", kind, size, len(rest)))
		}
		s.at += int(size)
		if s.at == len(b) && !toEnd && count <= maxBoxes {
			// The last size is the one of len(b) that ends where the bytes end.
			s.log10 -= min(math.Log10(float64(len(b))), 32*log2)
		}
	}
	s.whole = count > 0
	return s
}

// boxSize reads the size of the box that begins b; toEnd: it says that the box
// goes to the end. Where it cannot be, err says why.
func boxSize(b []byte) (size uint64, toEnd bool, err string) {
	header := uint64(boxHeader)
	size = uint64(binary.BigEndian.Uint32(b))
	switch size {
	case 0:
		size, toEnd = uint64(len(b)), true
	case 1:
		header += largeSize
		if len(b) < boxHeader+largeSize {
			return 0, false, "box header is cut before its 64-bit size"
		}
		size = binary.BigEndian.Uint64(b[boxHeader:])
	}
	if string(b[4:boxHeader]) == "uuid" {
		header += uuidHeader
	}
	if size < header {
		return 0, false, fmt.Sprintf("box of %d bytes is shorter than its header", size)
	}
	return size, toEnd, ""
}

// boxOdds is the chance of a box header in random bytes, of which there are n: a
// known or printable type of 32 bits, and one of the sizes of 32 bits that fit.
func boxOdds(known bool, n int) float64 {
	types := float64(boxTypes)
	if !known {
		types = 95 * 95 * 95 * 95
	}
	return math.Log10(types) - 32*log2 + min(0, math.Log10(float64(n))-32*log2)
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}
