package sampleaes

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"math"

	"github.com/seed-6133abe0/rekey/evidence"
	"github.com/seed-6133abe0/rekey/hls/audio"
)

// tally counts what the samples of one segment show, taken for clear media. Only
// what protected blocks decide counts: clear bytes say nothing of the key.
type tally struct {
	bytes int64

	windows int64 // places of three bytes, all protected, in NAL units
	codes   int   // what emulation prevention rules out, and protected bytes are in it

	ends, goodEnds int // AAC frames whose last bytes are protected
	sums, goodSums int // checksums of AC-3 and E-AC-3
	written        int // checksums in clear bytes that are not zero
	unwritten      int // and those that are

	aac, h264 skew
}

func (t *tally) look(n int) { t.bytes += int64(n) }

// nal takes one NAL unit without the second layer of emulation prevention. fresh
// says which blocks count.
func (t *tally) nal(nal []byte, fresh []bool) {
	t.look(len(fresh) * aes.BlockSize)
	for i, ok := range fresh {
		if at := clearLeader + pattern*i; ok {
			t.h264.add(nal[at-1], nal[at:at+aes.BlockSize])
		}
	}
}

// escapes takes a decrypted NAL unit, whose first layer, which its encoder wrote,
// must be there. Of what is stored it would say nothing: that is escaped whatever
// it is.
func (t *tally) escapes(nal []byte, fresh []bool) {
	for i, ok := range fresh {
		if at := clearLeader + pattern*i; ok {
			t.windows += aes.BlockSize - 2
			t.codes += startCodes(nal[at-2 : min(len(nal), at+aes.BlockSize+2)])
		}
	}
}

// startCodes counts what cannot stand in a NAL unit (ISO/IEC 14496-10 §7.4.1):
// 000000, 000001, 000002, and 000003 before anything above 03.
func startCodes(b []byte) (n int) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || len(b)-i < 3 {
			return n
		}
		b = b[i+1:]
		if b[0] == 0 && (b[1] < 3 || b[1] == 3 && len(b) > 2 && b[2] > 3) {
			n++
		}
	}
}

// frame takes one audio frame and its protected part. fresh says which blocks
// count.
func (t *tally) frame(c audio.Codec, b []byte, p span, fresh []bool) {
	t.look(p.to - p.from)
	// CBC makes the last block, as it is stored, depend on all those before it: a
	// frame whose last block was there before was there before.
	isNew := fresh[len(fresh)-1]
	switch c {
	case audio.AAC:
		for i, ok := range fresh {
			if at := p.from + aes.BlockSize*i; ok {
				t.aac.add(b[at-1], b[at:at+aes.BlockSize])
			}
		}
		if p.to == len(b) && isNew {
			t.ends++
			t.goodEnds += one(endsBlock(b[len(b)-2:]))
		}
	case audio.AC3: // ETSI TS 102 366 §4.4.1.2, §4.4.6.2: crc1 over 5/8 of the frame, crc2 over the rest
		if !isNew {
			return
		}
		words := len(b) / 2
		first := 2 * (words>>1 + words>>3)
		t.checkWord(b[2:4])
		if first >= p.from+aes.BlockSize {
			t.sum(b[2:first])
		}
		if p.to >= first+aes.BlockSize {
			t.sum(b[first:])
		}
	case audio.EAC3: // §E.1.3.5.2: crc2 over all
		if !isNew {
			return
		}
		if p.to <= len(b)-2 {
			t.checkWord(b[len(b)-2:])
		}
		t.sum(b[2:])
	}
}

// checkWord looks at a checksum that stands in clear bytes: an encoder that writes
// none leaves zero.
func (t *tally) checkWord(b []byte) {
	zero := b[0]|b[1] == 0
	t.written += one(!zero)
	t.unwritten += one(zero)
}

func (t *tally) sum(b []byte) {
	t.sums++
	t.goodSums += one(crc16(b) == 0)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// endsBlock tells whether two bytes can be the last ones of a raw_data_block
// (ISO/IEC 14496-3 §4.4.2.1): the element ID_END, 111, and zeros to the end of the
// byte.
func endsBlock(b []byte) bool {
	v := binary.BigEndian.Uint16(b)
	if v&0xff == 0 {
		return false
	}
	for v&1 == 0 {
		v >>= 1
	}
	return v&7 == 7
}

// crc16 is the CRC of AC-3: x¹⁶+x¹⁵+x²+1 (ETSI TS 102 366 §6.1.7).
func crc16(b []byte) (crc uint16) {
	for _, c := range b {
		// Eight steps of this polynomial come to two shifts of the byte that goes out,
		// and its parity.
		x := crc>>8 ^ uint16(c)
		odd := x ^ x>>4
		odd ^= odd >> 2
		odd = (odd ^ odd>>1) & 1
		crc = crc<<8 ^ x<<2 ^ x<<1 ^ odd<<15 ^ odd<<1 ^ odd
	}
	return crc
}

// stake is the part of each segment's evidence that is not claimed. Segments may
// repeat each other under one IV (a slate, silence), and under a wrong key too,
// so that products of their claims claim too much; what one segment claims beyond
// what chance does once in 10^9 stands alone.
const stake = 9

// weigh turns the counts of one segment into evidence: what fair bets on real
// media, against random bytes, win in sum. What real media may do is never against
// the key: a rule that is broken far more often than chance breaks it counts for
// nothing.
func (t *tally) weigh() (e evidence.Evidence) {
	const (
		isCode   = (3 + 252.0/256) / (256 * 256 * 256) // a random place is a code
		endsWell = 0.25 * 255 / 256                    // a random frame ends as a block does
		sumFits  = 1.0 / (1 << 16)
	)
	e.Look(t.bytes)
	won := bet(t.goodEnds, t.ends, 0.97, endsWell) + t.aac.won() + t.h264.won()
	if t.written > 0 || t.unwritten == 0 {
		won += bet(t.goodSums, t.sums, 0.97, sumFits)
		if t.sums >= 4 && t.goodSums <= t.sums/8 { // chance fits one now and then
			e.Against += t.sums - t.goodSums
		}
	}
	if share := float64(t.goodEnds) / float64(t.ends); t.ends >= 16 && share > 0.05 && share < 0.36 {
		e.Against += t.ends - t.goodEnds
	}
	expected := float64(t.windows) * isCode
	switch {
	case t.codes == 0:
		won += expected * math.Log10E
	case float64(t.codes) <= 3+4*expected:
		e.Against += t.codes
	}
	if won > 2*stake { // the key is right: it is the media that breaks its codec's rules
		e.Against = 0
	}
	e.ForLog10 = 0 - min(300, max(0, won-stake))
	return e
}

// bet is log10 of what a fair bet wins that each of n does what right media does
// with probability right, and random bytes with random, if good of them do.
func bet(good, n int, right, random float64) float64 {
	return float64(good)*math.Log10(right/random) + float64(n-good)*math.Log10((1-right)/(1-random))
}

// blockSet tells blocks apart, as they are stored. Like blocks decrypt alike under
// a wrong key too: of those only one counts. It takes some for alike that are
// not, which only costs evidence.
type blockSet struct{ bits [1 << 14]uint64 }

func (s *blockSet) add(b []byte) (isNew bool) {
	h := binary.LittleEndian.Uint64(b)
	slot, bit := h>>6&(1<<14-1), uint64(1)<<(h&63)
	isNew = s.bits[slot]&bit == 0
	s.bits[slot] |= bit
	return isNew
}

// skew counts halves of bytes by the half before them. Entropy-coded media is
// nearly as random as ciphertext, but not quite.
type skew struct {
	halves [16][16]uint32
	any    bool
}

func (s *skew) add(before byte, b []byte) {
	s.any = true
	before &= 15
	for _, c := range b {
		s.halves[before][c>>4]++
		before = c & 15
		s.halves[c>>4][before]++
	}
}

// orders is how many bits before it may foretell a bit, at most.
const orders = 4

// won is log10 of what a fair bet wins that the bits are not even: each is foretold
// from those seen after the same one to four bits, the money spread over the four
// (the estimator of Krichevsky and Trofimov). What it foretells of even bits wins
// 10^n with a chance of 10^-n at most, however the counts come about.
func (s *skew) won() float64 {
	if !s.any {
		return 0
	}
	best := math.Inf(-1)
	bits := s.bits()
	for order := orders; order > 0; order-- {
		var ln float64
		for _, b := range bits[:1<<order] {
			zeros, _ := math.Lgamma(b[0] + 0.5)
			ones, _ := math.Lgamma(b[1] + 0.5)
			all, _ := math.Lgamma(b[0] + b[1] + 1)
			ln += zeros + ones - all - math.Log(math.Pi) + (b[0]+b[1])*math.Ln2
		}
		best = max(best, ln*math.Log10E-math.Log10(orders))
		for i := range 1 << (order - 1) { // forget the bit that lies furthest back
			far := bits[i+1<<(order-1)]
			bits[i][0], bits[i][1] = bits[i][0]+far[0], bits[i][1]+far[1]
		}
	}
	return best
}

// bits counts bits by the four before them.
func (s *skew) bits() (n [1 << orders][2]float64) {
	for before := range s.halves {
		for half, times := range s.halves[before] {
			state := before<<4 | half
			for i := 3; i >= 0; i-- {
				n[state>>(i+1)&(1<<orders-1)][state>>i&1] += float64(times)
			}
		}
	}
	return n
}
