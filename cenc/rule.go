package cenc

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/seed-6133abe0/rekey/evidence"
)

// rule names the structure that a codec's samples are known to have.
type rule uint8

const (
	ruleNone rule = iota
	ruleH264      // NAL units: ISO/IEC 14496-10 §7.3.1
	ruleHEVC      // NAL units: ISO/IEC 23008-2 §7.3.1
	ruleAAC       // raw_data_block: ISO/IEC 14496-3 §4.4.2
)

// codec is what a sample entry says of the structure of its clear samples.
type codec struct {
	rule    rule
	nalSize int // bytes of a NAL unit's length field
}

// tally counts what the clear samples of one object show. Only bytes in
// protected ranges count: clear bytes say nothing about the key.
type tally struct {
	bytes int64

	lengthLog10 float64 // of the chance that random length fields fit so
	brokenChain int     // chains broken by a protected length field
	header      int     // NAL headers, forbidden_zero_bit clear
	badHeader   int
	ends        int // NAL ends
	zeroEnds    int
	windows     int64 // byte positions looked at for three-byte codes
	codes       int   // codes that emulation prevention rules out

	starts     int // AAC frames, by their first element
	badStarts  int
	blockEnds  int // AAC frames, by their end
	goodBlocks int

	first firsts
	// assumed is true where how the samples are read was not shown by the media:
	// what their first bytes say of the key says nothing of that.
	assumed bool
}

// look takes one clear sample; ranges are its encrypted ranges, size bytes.
func (t *tally) look(c codec, data []byte, ranges []span, size int) {
	t.bytes += int64(size)
	switch c.rule {
	case ruleH264, ruleHEVC:
		t.lookNAL(data, ranges, c.nalSize)
	case ruleAAC:
		t.lookAAC(data, ranges)
	}
}

// lookNAL follows the chain of NAL units (ISO/IEC 14496-15 §4.2.2).
func (t *tally) lookNAL(data []byte, ranges []span, lengthSize int) {
	lengthProtected := false
	for at := 0; at < len(data); {
		for len(ranges) > 0 && ranges[0].to <= at {
			ranges = ranges[1:]
		}
		if len(ranges) == 0 {
			return
		}
		n, rest := uint64(0), len(data)-at-lengthSize
		if rest >= 0 {
			for _, b := range data[at : at+lengthSize] {
				n = n<<8 | uint64(b)
			}
		}
		protected := ranges[0].from <= at && ranges[0].to >= at+lengthSize
		lengthProtected = lengthProtected || ranges[0].from < at+lengthSize
		if rest < 0 || n > uint64(rest) {
			if lengthProtected {
				t.brokenChain++
			}
			return
		}
		if protected {
			t.lengthLog10 += math.Log10(float64(rest+1)) - float64(lengthSize)*math.Log10(256)
		}
		from := at + lengthSize
		at = from + int(n)
		if n > 0 {
			t.lookUnit(data, span{from, at}, ranges)
		}
	}
}

// lookUnit takes one NAL unit.
func (t *tally) lookUnit(data []byte, nal span, ranges []span) {
	for _, r := range ranges {
		if r.from >= nal.to {
			return
		}
		from, to := max(r.from, nal.from), min(r.to, nal.to)
		if from >= to {
			continue
		}
		if from == nal.from {
			if data[from]&0x80 != 0 {
				t.badHeader++
			} else {
				t.header++
			}
		}
		part := data[from:to]
		t.windows += int64(len(part))
		if to != nal.to {
			t.codes += startCodes(part)
			continue
		}
		// The NAL unit ends here. Zeros at its end are one thing, codes another;
		// three and more are stuffing, which no random bytes are.
		body := bytes.TrimRight(part, "\x00")
		t.codes += startCodes(body)
		switch len(part) - len(body) {
		case 0:
			t.ends++
		case 1, 2:
			t.ends++
			t.zeroEnds++
		}
	}
}

// startCodes counts what cannot stand in a NAL unit: 000000, 000001, 000002,
// and 000003 before anything above 03.
func startCodes(b []byte) (n int) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || len(b)-i < 3 {
			return n
		}
		b = b[i+1:]
		if b[0] != 0 {
			continue
		}
		if b[1] < 3 || b[1] == 3 && len(b) > 2 && b[2] > 3 {
			n++
		}
	}
}

// lookAAC takes one raw_data_block. It begins with the id of a syntactic
// element, of which END (7) comes only last, and it ends with that id, 111, and
// zeros to the end of the byte.
func (t *tally) lookAAC(data []byte, ranges []span) {
	if len(data) < 2 || len(ranges) == 0 {
		return
	}
	if ranges[0].from == 0 && ranges[0].to > 0 {
		if data[0]>>5 == idEnd {
			t.badStarts++
		} else {
			t.starts++
		}
	}
	last := ranges[len(ranges)-1]
	if last.from > len(data)-2 || last.to != len(data) {
		return
	}
	t.blockEnds++
	if endsBlock(data[len(data)-2:]) {
		t.goodBlocks++
	}
}

// idEnd is the id of the syntactic element that ends a raw_data_block.
const idEnd = 7

// endsBlock tells whether two bytes can be the last ones of a raw_data_block.
func endsBlock(b []byte) bool {
	v := binary.BigEndian.Uint16(b)
	if v&0xff == 0 {
		return false
	}
	for v&1 == 0 {
		v >>= 1
	}
	return v&7 == idEnd
}

// weigh turns the counts of one object into evidence. Some real media break
// their own rules all over (zeros after every NAL unit, no emulation
// prevention); a wrong key breaks them at the rate of random bytes. What is
// broken far more often than that counts for nothing.
func (t *tally) weigh() (e evidence.Evidence) {
	const (
		endsZero = 1.0 / 256                           // a random byte is 0
		isCode   = (3 + 252.0/256) / (256 * 256 * 256) // a random position is a code
		endsWell = 0.25 * 255 / 256                    // a random frame ends as a block does
	)
	e.Look(t.bytes)
	credit(&e, t.first.log10())
	skewed := e.ForLog10 < -15 && !t.assumed
	defer func() {
		if skewed { // the key is right: it is the media that breaks its codec's rules
			e.Against = 0
		}
	}()
	e.Against += t.brokenChain + t.badHeader + t.badStarts
	if e.Against == 0 {
		credit(&e, t.lengthLog10)
		credit(&e, float64(t.header)*math.Log10(0.5))
		credit(&e, float64(t.starts)*math.Log10(7.0/8))
	}
	switch {
	case t.zeroEnds == 0 && t.ends >= 16: // with fewer, one zero would not have counted against
		credit(&e, float64(t.ends)*math.Log10(1-endsZero))
	case t.zeroEnds*16 <= t.ends:
		e.Against += t.zeroEnds
	}
	expected := float64(t.windows) * isCode
	switch {
	case t.codes == 0:
		credit(&e, expected*-math.Log10E)
	case float64(t.codes) <= 3+4*expected:
		e.Against += t.codes
	}
	if t.blockEnds > 0 {
		n, share := float64(t.blockEnds), float64(t.goodBlocks)/float64(t.blockEnds)
		switch {
		case share > 0.9: // a bet that 97 of 100 frames do
			credit(&e, hedged(n*math.Log10E*(share*math.Log(0.97/endsWell)+(1-share)*math.Log(0.03/(1-endsWell)))))
		case n >= 48 && share > 0.05 && share < 0.36:
			e.Against += t.blockEnds - t.goodBlocks
		}
	}
	return e
}

// credit records a pass of probability 10^log10, kept within what a float64 holds.
func credit(e *evidence.Evidence, log10 float64) {
	if log10 < 0 {
		e.Pass(0, math.Pow(10, max(log10, -300)))
	}
}
