package audio

import "math"

// odds are log10 of probabilities of random bytes.
type odds struct {
	first float64 // to be a frame header
	same  float64 // to be one that repeats the fields of the one before
	end   float64 // to have a length that ends at a given place, for a valid header
}

func (c Codec) odds() odds {
	switch c {
	case AAC:
		// syncword 12 bits, layer 2; 13 of 16 sampling frequencies. The 28 bits of
		// adts_fixed_header repeat. aac_frame_length has 13 bits.
		return odds{math.Log10(13. / 16 / (1 << 14)), -28 * log2, -13 * log2}
	case MP3:
		// Sync 11 bits; 3 of 4 IDs, 1 of 4 layers, 14 of 16 bitrates, 3 of 4 sampling
		// frequencies, 3 of 4 emphases. 22 bits repeat. Of 252 headers at most 12
		// have one length.
		return odds{math.Log10(3. / 4 / 4 * 14 / 16 * 3 / 4 * 3 / 4 / (1 << 11)), -22 * log2, math.Log10(12. / 252)}
	case AC3:
		// syncword 16 bits; 3 of 4 fscod, 38 of 64 frmsizecod, 11 of 32 bsid. 31 bits
		// repeat. Of 114 headers at most 5 have one length.
		return odds{math.Log10(3. / 4 * 38 / 64 * 11 / 32 / (1 << 16)), -31 * log2, math.Log10(5. / 114)}
	default:
		// syncword 16 bits; 3 of 4 strmtyp, 15 of 16 fscod and fscod2, 6 of 32 bsid.
		// 25 bits repeat, in dependent substreams too. frmsiz has 11 bits.
		return odds{math.Log10(3. / 4 * 15 / 16 * 6 / 32 / (1 << 16)), -25 * log2, -11 * log2}
	}
}

const log2 = math.Ln2 / math.Ln10 // log10 of 2

// repeated masks the first bytes of a header to the fields that each frame of one
// stream repeats.
func (c Codec) repeated(b []byte) [6]byte {
	switch c {
	case AAC:
		return [6]byte{b[0], b[1], b[2], b[3] & 0xf0} // adts_fixed_header
	case MP3:
		// ID, layer and protection; sampling frequency; copyright, original and emphasis
		return [6]byte{b[0], b[1], b[2] & 0x0c, b[3] & 0x0f}
	case AC3:
		return [6]byte{b[0], b[1], 0, 0, b[4] & 0xfe, b[5]} // fscod, frmsizecod but its odd bit, bsid, bsmod
	default:
		return [6]byte{b[0], b[1], 0, 0, b[4] & 0xf0, b[5] & 0xf8} // fscod, numblkscod, bsid
	}
}

// weighed sums the odds of what a walk passes.
type weighed struct {
	log10  float64
	before [6]byte
	pieces int
}

// tag weighs ID3 tags: their letters, four bits that a synchsafe size leaves zero,
// and a size of 28 bits that fits in all bytes.
func (w *weighed) tag(all int) {
	if w.pieces < maxWeighed {
		w.pieces++
		w.log10 -= 28*log2 + math.Max(0, 28*log2-math.Log10(float64(all)))
	}
}

// frame weighs a frame header. A frame after the first may repeat the header before
// it or not: the factor 2 is for having two ways.
func (w *weighed) frame(c Codec, b []byte) {
	fields := c.repeated(b)
	switch {
	case w.pieces >= maxWeighed:
	case fields == w.before:
		w.log10 += c.odds().same + log2
	case w.before != [6]byte{}:
		w.log10 += c.odds().first + log2
	default:
		w.log10 += c.odds().first
	}
	w.before = fields
	w.pieces++
}

// end weighs that the last frame ends where the stream does.
func (w *weighed) end(c Codec) { w.log10 += c.odds().end }

// sum weighs the CRC of a frame, where it has one and it is right: a wrong one says
// nothing, for not every encoder makes them.
func (w *weighed) sum(c Codec, frame []byte) {
	if (c == AC3 || c == EAC3) && crc(frame[2:]) == 0 {
		w.log10 -= 16 * log2
	}
}

// crc is the remainder of b by x^16+x^15+x^2+1 (ETSI TS 102 366 §6.1.7): 0 over an
// AC-3 or E-AC-3 syncframe after its syncword.
func crc(b []byte) uint16 {
	var r uint16
	for _, c := range b {
		r ^= uint16(c) << 8
		for range 8 {
			carry := r >> 15
			r = r<<1 ^ carry*0x8005
		}
	}
	return r
}
